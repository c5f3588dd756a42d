"""The client that everybody writes first: when anything fails, wait, read everything, watch from there."""

from __future__ import annotations

import asyncio
from base64 import b64decode, b64encode

import aiohttp
import orjson

from tests.herd.ledger import Ledger

PAUSE = 1.0
"""Seconds between two tries. Some clients don't wait at all; these are the better ones."""

READ_BUFFER = 1 << 20
"""Bytes, as syncd has; with aiohttp's 64 KiB a large answer would be slow for the client's own sake."""


class Naive:
    """Client `number` of the keys from `key` to before `range_end`, of the etcd at `url`."""

    def __init__(self, number: int, url: str, key: bytes, range_end: bytes, ledger: Ledger) -> None:
        self._number = number
        self._url = url
        self._range = {"key": b64encode(key).decode(), "range_end": b64encode(range_end).decode()}
        self._ledger = ledger
        self._held: dict[bytes, bytes] = {}

    async def run(self) -> None:
        """Until cancelled."""
        timeout = aiohttp.ClientTimeout(total=None)
        async with aiohttp.ClientSession(timeout=timeout, read_bufsize=READ_BUFFER) as session:
            while True:
                try:
                    await self._watch(session, await self._read(session))
                except (aiohttp.ClientError, OSError):  # whatever it is
                    await asyncio.sleep(PAUSE)

    async def _read(self, session: aiohttp.ClientSession) -> int:
        with self._ledger.full_read():
            async with session.post(self._url + "/v3/kv/range", json=self._range) as response:
                response.raise_for_status()
                body = await response.read()
        answer = orjson.loads(body)
        self._held = {b64decode(kv["key"]): b64decode(kv["value"]) for kv in answer["kvs"]}
        return int(answer["header"]["revision"])

    async def _watch(self, session: aiohttp.ClientSession, revision: int) -> None:
        create = {"create_request": {**self._range, "start_revision": revision + 1}}
        async with session.post(self._url + "/v3/watch", json=create) as response:
            response.raise_for_status()
            # The first is `created`; nothing is written while a herd is watching.
            async for _ in response.content.iter_any():
                self._ledger.live(self._number)
        raise aiohttp.ClientPayloadError("etcd closed the watch")
