"""Proxies between a cluster's members, so that one can be cut off from the others while clients reach it.

A member says who it is in the header `X-Server-From` of whatever concerns raft: the streams that it opens,
and the messages that it sends without one. Connections are kept and used for several requests, so each
request is looked at, not only a connection's first. What comes without the header (probes, questions about
versions) elects nobody.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

from tests.etcd import Cluster
from tests.proxy import Proxy, reset

DIALER = re.compile(rb"X-Server-From: ([0-9a-f]+)\r\n")


class PeerProxy(Proxy):
    """In front of one member's peer port; knows which of the other members opened which connection."""

    def __init__(self, port: int) -> None:
        super().__init__(port)
        self._shut_out: set[bytes] = set()
        self._dialers: dict[asyncio.StreamWriter, bytes] = {}

    def shut_out(self, member_id: int) -> None:
        """Let nothing more in from that member, and reset what it has open."""
        dialer = f"{member_id:x}".encode()
        self._shut_out.add(dialer)
        for onward, other in self._dialers.items():
            if other == dialer:
                reset(onward)

    def let_through(self) -> None:
        """Let everybody in again."""
        self._shut_out.clear()
        super().let_through()

    def allows(self, chunk: bytes, onward: asyncio.StreamWriter) -> bool:
        """Whether it comes from a member that is let in."""
        if found := DIALER.search(chunk):
            self._dialers = {o: dialer for o, dialer in self._dialers.items() if not o.is_closing()}
            self._dialers[onward] = found[1]
        return self._dialers.get(onward) not in self._shut_out


@asynccontextmanager
async def between(cluster: Cluster) -> AsyncIterator[list[PeerProxy]]:
    """Put a proxy before each member's peer port, for a cluster that was never started yet."""
    async with AsyncExitStack() as stack:
        proxies = [PeerProxy(int(member.peer_url.rpartition(":")[2])) for member in cluster.members]
        for proxy in proxies:
            await stack.enter_async_context(proxy)
        cluster.advertise([proxy.url for proxy in proxies])
        yield proxies


def isolate(lone: int, proxies: Sequence[PeerProxy], member_ids: Sequence[int]) -> None:
    """Cut the member of that index off: nobody reaches it, and it reaches nobody."""
    for index, proxy in enumerate(proxies):
        if index == lone:
            proxy.refuse()
        else:
            proxy.shut_out(member_ids[lone])


def reunite(proxies: Iterable[PeerProxy]) -> None:
    """Let all members reach each other again."""
    for proxy in proxies:
        proxy.let_through()
