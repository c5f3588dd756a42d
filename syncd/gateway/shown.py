"""Which certificate each endpoint showed when it was last connected to: bytes, not looked into here."""

from __future__ import annotations

import ssl
from collections.abc import Sequence
from weakref import WeakSet

import aiohttp
from aiohttp.connector import Connection
from aiohttp.tracing import Trace
from yarl import URL


class Shown:
    """`certificates` are in DER, by the endpoint's URL; only of those that were connected to."""

    def __init__(self, endpoints: Sequence[str]) -> None:
        self.certificates: dict[str, bytes] = {}
        self._endpoints = {URL(url).origin(): url for url in endpoints}
        self._looked_at: WeakSet[ssl.SSLObject] = WeakSet()

    def note(self, url: URL, connection: Connection) -> None:
        """Remember what was shown when `connection` was made for a request to `url`."""
        tls = connection.transport and connection.transport.get_extra_info("ssl_object")
        # A connection that was kept tells of the past: etcd may have shown another certificate since.
        if not tls or tls in self._looked_at:
            return
        self._looked_at.add(tls)
        if certificate := tls.getpeercert(binary_form=True):
            self.certificates[self._endpoints[url.origin()]] = certificate


class Connector(aiohttp.TCPConnector):
    """aiohttp's, for as many connections as wanted; what endpoints show is noted in `shown`."""

    def __init__(self, shown: Shown, *, force_close: bool = False) -> None:
        super().__init__(limit=0, force_close=force_close)
        self._shown = shown

    async def connect(
        self,
        req: aiohttp.ClientRequest,
        traces: list[Trace],
        timeout: aiohttp.ClientTimeout,  # noqa: ASYNC109 - aiohttp's
    ) -> Connection:
        """As ever: a connection that was kept, or a new one."""
        connection = await super().connect(req, traces, timeout)
        self._shown.note(req.url, connection)
        return connection
