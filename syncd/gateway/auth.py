"""Tokens for etcd's authentication.

A simple token is known only to the member that gave it, and lives 300 s without use; so each endpoint
has its own. Asking for one costs etcd a bcrypt (~80 ms of CPU), and storms of it have taken clusters
down: one request at a time, whoever waits shares its answer (gateway.md).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable


class Tokens:
    """The token of each endpoint, fetched single-flight."""

    def __init__(self, authenticate: Callable[[str], Awaitable[str]]) -> None:
        self._authenticate = authenticate
        self._tokens: dict[str, str] = {}
        self._lock = asyncio.Lock()

    async def get(self, url: str) -> str:
        """The token for the endpoint at `url`."""
        async with self._lock:
            if url not in self._tokens:
                self._tokens[url] = await self._authenticate(url)
            return self._tokens[url]

    def reject(self, url: str, token: str | None) -> None:
        """`token` was refused there; unless it was replaced meanwhile, the next `get` fetches another."""
        if token is not None and self._tokens.get(url) == token:
            del self._tokens[url]
