"""A steady load on a cluster: every kind of write that etcd knows, in bursts, drawn from a seed.

It goes to the members directly, so it goes on while the daemon sees nothing. What etcd acknowledged, and
changed the mirrored range, is told to the history; what was refused, or not answered, is only counted.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Protocol

from tests.calls import RefusedError, prefix_end
from tests.reliability.members import Answer, Members, SilentError, b64, revision

GROUPS = (b"/c/a/", b"/c/b/", b"/c/c/")
OUTSIDE = b"/o/"
FOLDERS = 12
KEYS = 10
"""Keys in each folder of a group: some hundred in all."""

BURST_SECONDS = 0.25
LEASE_SECONDS = (1, 4)
TXN_KEYS = 12
LARGE_BYTES = (8 << 10, 48 << 10)
BINARY = (b"\xff", b"\xfe\x00", b"\x80raw")
"""Ends of keys that are not UTF-8."""

KINDS = {"put": 62, "delete": 12, "txn": 10, "folder": 2, "lease": 4, "outside": 10}
"""What is written, and how often."""


class Acknowledging(Protocol):
    """Who wants to know what etcd acknowledged."""

    def acknowledged(self, revision: int, at: float) -> None:
        """The write of that revision was acknowledged at that time, or before."""


class Writer:
    """Writes about `rate` revisions a second until cancelled, or paused."""

    def __init__(
        self, members: Members, history: Acknowledging, draw: random.Random, rate: float = 60.0
    ) -> None:
        self._members = members
        self._history = history
        self._draw = draw
        self._rate = rate
        self._turn = asyncio.Lock()
        self._lease = "0"
        self.written = 0
        """Writes acknowledged."""
        self.failed = 0
        """Writes refused, or not answered."""

    async def run(self) -> None:
        """Write until cancelled."""
        began = time.monotonic()
        bursts = 0
        while True:
            for _ in range(round(self._draw.expovariate(1 / (self._rate * BURST_SECONDS)))):
                async with self._turn:
                    await self._write()
            bursts += 1
            behind = time.monotonic() - began - bursts * BURST_SECONDS
            if behind > 1:  # what an outage prevented isn't made up for
                began, bursts, behind = time.monotonic(), 0, 0.0
            await asyncio.sleep(max(-behind, 0.0))

    @asynccontextmanager
    async def paused(self) -> AsyncIterator[None]:
        """No write is under way, and none begins, until left."""
        async with self._turn:
            yield

    async def mark(self, generation: int) -> int:
        """Say in every group which generation this is; the revision of that. Only while paused."""
        puts = [_put(group + b"!generation", str(generation).encode()) for group in GROUPS]
        answer = await self._members.insist("/kv/txn", {"success": puts})
        self._history.acknowledged(revision(answer), time.monotonic())
        return revision(answer)

    async def _write(self) -> None:
        kind = self._draw.choices(tuple(KINDS), tuple(KINDS.values()))[0]
        try:
            if kind == "lease":
                ttl = self._draw.randint(*LEASE_SECONDS)
                self._lease = (await self._members.ask("/lease/grant", {"TTL": ttl}))["ID"]
            path, body, mirrored = self._request(kind)
            answer = await self._members.ask(path, body)
        except (RefusedError, SilentError):
            # No space, no leader, a lease that has run out: the history learns from etcd what became of it.
            self.failed += 1
            return
        self.written += 1
        if mirrored and _changed(path, answer):
            self._history.acknowledged(revision(answer), time.monotonic())

    def _request(self, kind: str) -> tuple[str, dict[str, Any], bool]:
        """Path and body of a write, and whether it goes to the mirrored range."""
        draw = self._draw
        if kind == "delete":
            return "/kv/deleterange", {"key": b64(self._key())}, True
        if kind == "folder":
            folder = self._folder()
            return "/kv/deleterange", {"key": b64(folder), "range_end": b64(prefix_end(folder))}, True
        if kind == "txn":
            keys = sorted({self._key() for _ in range(draw.randint(2, TXN_KEYS))})
            # The first one is put, so that there is always a revision of it.
            steps = [
                _put(key, self._value())
                if not index or draw.random() < 0.7
                else {"request_delete_range": {"key": b64(key)}}
                for index, key in enumerate(keys)
            ]
            return "/kv/txn", {"success": steps}, True
        key = OUTSIDE + b"%d" % draw.randrange(50) if kind == "outside" else self._key()
        body = {"key": b64(key), "value": b64(self._value())}
        if kind == "lease":
            body["lease"] = self._lease
        return "/kv/put", body, kind != "outside"

    def _folder(self) -> bytes:
        return self._draw.choice(GROUPS) + b"%02d/" % self._draw.randrange(FOLDERS)

    def _key(self) -> bytes:
        key = self._folder() + b"%d" % self._draw.randrange(KEYS)
        return key + self._draw.choice(BINARY) if self._draw.random() < 0.05 else key

    def _value(self) -> bytes:
        draw = self._draw
        chance = draw.random()
        if chance < 0.02:
            return b"" if draw.random() < 0.3 else draw.randbytes(draw.randint(*LARGE_BYTES))
        if chance < 0.15:
            return draw.randbytes(draw.randint(1, 300))
        return b"%d " % draw.getrandbits(64) * draw.randint(1, 20)


def _put(key: bytes, value: bytes) -> dict[str, Any]:
    return {"request_put": {"key": b64(key), "value": b64(value)}}


def _changed(path: str, answer: Answer) -> bool:
    """Whether there is a revision of it: a delete that found nothing made none."""
    return path != "/kv/deleterange" or int(answer.get("deleted", 0)) > 0
