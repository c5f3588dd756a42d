"""Tokens for etcd's authentication.

A simple token is known only to the member that gave it, and lives 300 s without use; so each endpoint
has its own. Asking for one costs etcd a bcrypt (~80 ms of CPU), and storms of it have taken clusters
down: one request at a time, whoever waits shares its answer, and an etcd that does not answer at all is
given time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from math import inf

from syncd.gateway.errors import CredentialsUnusable, GatewayError, NoAnswer

PAUSE_FIRST = 1.0
PAUSE_MOST = 10.0
"""Seconds after a second request for a token in vain, doubled each time: etcd may be hashing still, and it
hashes a wrong password as long as a right one."""

FORGET_PAUSE = 30.0
"""Seconds: an etcd that is too busy to answer must not be made to hash passwords, too."""


@dataclass(frozen=True, slots=True)
class _Vain:
    """A request that gave no token: with what `error`, and `until` when that stands for the next."""

    error: GatewayError
    pause: float
    until: float


class Tokens:
    """The token of each endpoint, fetched single-flight."""

    def __init__(self, authenticate: Callable[[str], Awaitable[str]], clock: Callable[[], float]) -> None:
        self._authenticate = authenticate
        self._clock = clock
        self._forgotten: dict[str, float] = {}
        self._tokens: dict[str, str] = {}
        self._asked: dict[str, asyncio.Future[None]] = {}
        self._vain: dict[str, _Vain] = {}

    async def get(self, url: str) -> str:
        """The token for the endpoint at `url`; whoever waits shares the answer, also when it is an error."""
        while url not in self._tokens:
            if url in self._asked:
                await asyncio.shield(self._asked[url])
            else:
                await self._fetch(url)
        return self._tokens[url]

    async def _fetch(self, url: str) -> None:
        vain = self._vain.get(url)
        if vain and self._clock() < vain.until:
            raise vain.error.with_traceback(None)  # as it was answered last
        asked = self._asked[url] = asyncio.get_running_loop().create_future()
        try:
            self._tokens[url] = await self._authenticate(url)
        except asyncio.CancelledError:
            self._asked_in_vain(url, NoAnswer(url, "it gave no token in time"))
            raise
        except GatewayError as error:
            if isinstance(error, (NoAnswer, CredentialsUnusable)):
                self._asked_in_vain(url, error)
            asked.set_exception(error)
            asked.exception()  # seen, even if nobody waits
            raise
        else:
            self._vain.pop(url, None)
        finally:
            del self._asked[url]
            if not asked.done():
                asked.set_result(
                    None
                )  # there is one; or who asked was cancelled, and the others ask themselves

    def _asked_in_vain(self, url: str, error: GatewayError) -> None:
        vain = self._vain.get(url)
        pause = min(vain.pause * 2 or PAUSE_FIRST, PAUSE_MOST) if vain else 0.0
        self._vain[url] = _Vain(error, pause, self._clock() + pause)

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

    def gone(self, url: str) -> None:
        """There was no connection to `url`: if it is silent after that, it may have begun anew."""
        self._forgotten.pop(url, None)

    def forget_all(self) -> None:
        """Etcd's history is another one, and no token is of it."""
        self._tokens.clear()
        self._forgotten.clear()

    def retry(self) -> None:
        """The password was read again: what was refused may be granted now."""
        self._vain.clear()

    def reject(self, url: str, token: str | None) -> None:
        """`token` was refused there; unless it was replaced meanwhile, the next `get` fetches another."""
        if token is not None and self._tokens.get(url) == token:
            del self._tokens[url]
