"""Tokens for etcd's authentication.

A simple token is known only to the member that gave it, and lives 300 s without use; so each endpoint
has its own. Asking for one costs etcd a bcrypt (~80 ms of CPU), and storms of it have taken clusters
down: one request at a time, whoever waits shares its answer (gateway.md).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from math import inf

from syncd.gateway.errors import GatewayError, Unreachable

FORGET_PAUSE = 30.0
"""Seconds: an etcd that is too busy to answer must not be made to hash passwords, too."""


class Tokens:
    """The token of each endpoint, fetched single-flight."""

    def __init__(self, authenticate: Callable[[str], Awaitable[str]], clock: Callable[[], float]) -> None:
        self._authenticate = authenticate
        self._clock = clock
        self._forgotten: dict[str, float] = {}
        self._tokens: dict[str, str] = {}
        self._asked: dict[str, asyncio.Future[str]] = {}

    async def get(self, url: str) -> str:
        """The token for the endpoint at `url`; whoever waits shares the answer, also when it is an error."""
        if url in self._tokens:
            return self._tokens[url]
        if url in self._asked:
            return await asyncio.shield(self._asked[url])
        asked = self._asked[url] = asyncio.get_running_loop().create_future()
        try:
            token = self._tokens[url] = await self._authenticate(url)
        except BaseException as error:
            # Whoever waits learns it, too; one that was cancelled tells the others to ask for themselves.
            asked.set_exception(error if isinstance(error, GatewayError) else Unreachable(url, "not asked"))
            asked.exception()  # seen, even if nobody waits
            raise
        else:
            asked.set_result(token)
            return token
        finally:
            del self._asked[url]

    def forget(self, url: str) -> None:
        """The endpoint at `url` did not answer; the next `get` fetches another token.

        A simple token ends with the raft index at which it was given, and a server that has not come so far
        waits for that instead of answering: so do those that were wiped or restored, perhaps for ever.
        Silence has other reasons, too, overload among them; hence FORGET_PAUSE.
        """
        now = self._clock()
        if url in self._tokens and now - self._forgotten.get(url, -inf) >= FORGET_PAUSE:
            self._forgotten[url] = now
            del self._tokens[url]

    def forget_all(self) -> None:
        """Etcd's history is another one, and no token is of it."""
        self._tokens.clear()
        self._forgotten.clear()

    def reject(self, url: str, token: str | None) -> None:
        """`token` was refused there; unless it was replaced meanwhile, the next `get` fetches another."""
        if token is not None and self._tokens.get(url) == token:
            del self._tokens[url]
