"""Tokens for etcd's authentication: one for each endpoint, renewed in time.

A simple token is for the member that gave it: elsewhere nobody uses it, so it ends, if it is known at all.
So each endpoint has its own. Asking for one costs etcd a bcrypt (~80 ms of CPU), and storms of it have taken
clusters down: an endpoint is asked once at a time, whoever waits shares its answer, and an etcd that refuses,
or does not answer at all, is given time, ever more of it. Nor does etcd stop hashing when nobody waits any
more: so the request goes on when those who wanted the token have given up, and whoever comes next finds it.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from math import inf
from typing import NoReturn

import structlog

from syncd.gateway.errors import (
    CredentialsUnusable,
    Dropped,
    GatewayError,
    NoAnswer,
    NoGateway,
    Unreachable,
    WrongPassword,
)
from syncd.gateway.token import Token

PAUSE_FIRST = 1.0
PAUSE_MOST = 300.0
"""Seconds after a second request for a token in vain, doubled each time: etcd may be hashing still. With 10,
a thousand hosts can keep four cores hashing for nobody, for ever."""

REFUSED_PAUSE_MOST = 600.0
"""Seconds, when etcd refuses the password: it hashes a wrong one as long as a right one, and no other try
helps until somebody mends it: here, which ends the pause, or in etcd. This pause begins with the first
refusal. All are drawn between half and all of their limit."""

RENEW = (0.65, 0.85)
"""The share of a token's life after which it is renewed, drawn: many daemons may have begun together."""

FORGET_PAUSE = 30.0
"""Seconds: an etcd that is too busy to answer must not be made to hash passwords, too."""

EXPIRED, REFUSED = "auth.token_expired", "auth.token_refused"
"""Codes of the log: why there is another token."""

log = structlog.get_logger("syncd.gateway")


@dataclass(frozen=True, slots=True)
class _Vain:
    """A request that gave no token: with what `error`, and `until` when that stands for the next."""

    error: GatewayError
    limit: float
    until: float


@dataclass(slots=True)
class _Held:
    """What there is of one endpoint. Times are those of the clock."""

    url: str
    token: Token | None = None
    ends: float = inf
    renew_at: float = inf
    used: bool = False
    """Whether anybody wanted the token since it came."""
    lost: dict[str, str] = field(default_factory=dict)
    """Why the token before this one was let go, for the log."""
    asked: asyncio.Future[GatewayError | None] | None = None
    """The last request, under way as long as it is not done: why it was in vain."""
    vain: _Vain | None = None
    forgotten: float = -inf
    doubted: float = -inf
    came: asyncio.Event = field(default_factory=asyncio.Event)


class Tokens:
    """The token of each of the endpoints at `urls`."""

    def __init__(
        self,
        authenticate: Callable[[str], Awaitable[Token]],
        urls: Iterable[str],
        draw: random.Random,
        clock: Callable[[], float],
    ) -> None:
        self._authenticate = authenticate
        self._held = {url: _Held(url) for url in urls}
        self._draw = draw
        self._clock = clock
        self._passwords = 0  # how often there was another one
        self._requests: asyncio.TaskGroup | None = None
        self.off = False
        """Whether etcd has its authentication switched off."""

    async def get(self, url: str) -> str:
        """The token for the endpoint at `url`; empty when etcd has its authentication switched off.

        Whoever waits shares the answer, also when it is an error. Who gives up ends only its own waiting;
        unless nothing runs `run`, for then the first who waits is the one who asks.
        """
        held = self._held[url]
        while True:
            if held.token and self._clock() >= held.ends:
                self._let_go(held, EXPIRED)
            if held.token:
                held.used = True
                return held.token.text
            await self._fetch(held)

    async def run(self) -> None:
        """Ask for what is wanted, and renew what is in use before its time is over, until cancelled."""
        async with asyncio.TaskGroup() as requests:
            self._requests = requests
            try:
                async with asyncio.TaskGroup() as group:
                    for held in self._held.values():
                        group.create_task(self._keep(held), name=f"token of {held.url}")
            finally:
                self._requests = None

    def reject(self, url: str, token: str, why: str) -> None:
        """`token` was refused there; unless it was replaced meanwhile, the next `get` fetches another."""
        held = self._held[url]
        if held.token and held.token.text == token:
            self._let_go(held, EXPIRED if self._clock() >= held.ends else REFUSED, why)

    def forget(self, url: str, why: str) -> bool:
        """The endpoint at `url` did not answer; whether the next `get` fetches another token.

        A simple token ends with the raft index at which it was given, and a server that has not come so far
        waits for that instead of answering: so do those that were wiped or restored, perhaps for ever.
        Silence has other reasons, too, overload among them; hence FORGET_PAUSE.
        """
        held, now = self._held[url], self._clock()
        if held.token is None or now - held.forgotten < FORGET_PAUSE:
            return False
        held.forgotten = now
        self._let_go(held, REFUSED, why)
        return True

    def doubt(self, url: str, why: str) -> bool:
        """The endpoint at `url` closes connections instead of answering; else as `forget`.

        This has a pause of its own: `gone` ends that of silence, and a connection that was closed is gone.
        """
        held, now = self._held[url], self._clock()
        if held.token is None or now - held.doubted < FORGET_PAUSE:
            return False
        held.doubted = now
        self._let_go(held, REFUSED, why)
        return True

    def gone(self, url: str) -> None:
        """There was no connection to `url`: if it is silent after that, it may have begun anew."""
        self._held[url].forgotten = -inf

    def forget_all(self) -> None:
        """Etcd's history is another one, and no token is of it."""
        for held in self._held.values():
            held.forgotten = -inf
            if held.token:
                self._let_go(held, REFUSED, "etcd has another history")

    def retry(self) -> None:
        """The password was read again: what was refused may be granted now."""
        self._passwords += 1
        for held in self._held.values():
            held.vain = None

    async def _fetch(self, held: _Held) -> None:
        """Wait for the request under way, or make one; GatewayError when it is in vain."""
        asked = held.asked
        if asked is None or asked.done():
            if held.vain and self._clock() < held.vain.until:
                raise held.vain.error.with_traceback(None)  # as it was answered last
            asked = held.asked = asyncio.get_running_loop().create_future()
            if self._requests:
                name = f"request for a token of {held.url}"
                task = self._requests.create_task(self._ask(held, asked), name=name)
                # Also when it is cancelled before it begins.
                task.add_done_callback(lambda _: _over(asked))
            else:
                try:
                    await self._ask(held, asked)
                finally:
                    _over(asked)
        await asyncio.wait((asked,))
        if error := asked.result():
            raise error

    async def _ask(self, held: _Held, asked: asyncio.Future[GatewayError | None]) -> None:
        began = self._clock()
        try:
            token = await self._answer(held.url)
        except asyncio.CancelledError:
            self._asked_in_vain(held, NoAnswer(held.url, "it gave no token in time"))
            raise
        except GatewayError as error:
            if _may_have_hashed(error):
                self._asked_in_vain(held, error)
            asked.set_result(error)
        else:
            self._take(held, token, began)

    async def _answer(self, url: str) -> Token:
        while True:
            passwords = self._passwords
            try:
                return await self._authenticate(url)
            except WrongPassword:
                if passwords == self._passwords:
                    raise
                # That was the password of before: another one came meanwhile.

    def _asked_in_vain(self, held: _Held, error: GatewayError) -> None:
        refused = isinstance(error, WrongPassword)
        limit = PAUSE_FIRST if refused else 0.0
        if held.vain:
            limit = min(held.vain.limit * 2 or PAUSE_FIRST, REFUSED_PAUSE_MOST if refused else PAUSE_MOST)
        held.vain = _Vain(error, limit, self._clock() + limit * self._draw.uniform(0.5, 1))

    def _take(self, held: _Held, token: Token, asked: float) -> None:
        why = held.lost or ({"code": EXPIRED} if held.token else {})
        if why and token.text:
            say = log.debug if why["code"] == EXPIRED else log.info
            say("token renewed", endpoint=held.url, **why)
        if self.off != (not token.text):
            self.off = not self.off
            self._say_off(held.url)
        held.token, held.used, held.vain, held.lost = token, False, None, {}
        held.ends = asked + token.life
        held.renew_at = asked + token.life * self._draw.uniform(*RENEW)
        held.came.set()

    def _say_off(self, url: str) -> None:
        if self.off:
            log.info(
                "authentication is off",
                endpoint=url,
                code="auth.off",
                meaning="etcd has it switched off; user and password go unused until it is on again",
            )
        else:
            log.info("authentication is on again", endpoint=url)

    def _let_go(self, held: _Held, code: str, why: str = "") -> None:
        if held.token and held.token.text:
            held.lost = {"code": code} | ({"error": why} if why else {})
        held.token = None

    async def _keep(self, held: _Held) -> NoReturn:
        """Renew the token of one endpoint whenever it is time to."""
        while True:
            await held.came.wait()
            held.came.clear()
            while held.token and held.renew_at < inf:
                pause = held.renew_at - self._clock()
                if pause > 0:
                    await asyncio.sleep(pause)
                elif held.used and self._clock() < held.ends:
                    await self._renew(held)
                else:
                    break  # nobody asks there any more; whoever does once more fetches another

    async def _renew(self, held: _Held) -> None:
        try:
            await self._fetch(held)  # where there is a token, nobody else does
        except GatewayError as error:
            # The old one is used for as long as it lasts.
            again = held.vain.until if held.vain else 0.0
            held.renew_at = max(again, self._clock() + PAUSE_FIRST)
            log.debug("token not renewed", endpoint=held.url, error=str(error))


def _may_have_hashed(error: GatewayError) -> bool:
    """Whether that cost etcd a hash: most answers come after it, also "too many requests" and "timed out"."""
    if isinstance(error, (NoAnswer, Dropped, WrongPassword)):
        return True
    return not isinstance(error, (Unreachable, CredentialsUnusable, NoGateway))


def _over(asked: asyncio.Future[GatewayError | None]) -> None:
    """There is a token; or who asked was cancelled, and the others ask themselves."""
    if not asked.done():
        asked.set_result(None)
