"""The tokens of endpoints: fetched once for all, not too often, renewed in time."""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from itertools import pairwise
from math import inf

import pytest
from structlog.testing import capture_logs

from syncd.gateway.auth import EXPIRED, REFUSED, RENEW, Tokens
from syncd.gateway.errors import CredentialsUnusable, Dropped, GatewayError, NoAnswer, WrongPassword
from syncd.gateway.token import NO_TOKEN, Token
from tests.until import until

URL, OTHER = "http://a:2379", "http://b:2379"


class Latest(random.Random):
    """No dice: always the upper bound."""

    def uniform(self, a: float, b: float) -> float:
        """The upper bound."""
        return b


class Earliest(random.Random):
    """The other way round."""

    def uniform(self, a: float, b: float) -> float:
        """The lower bound."""
        return a


class Member:
    """What gives tokens: `token 1`, `token 2`, … with this `life`, or what `answers` say; else `error`."""

    def __init__(self, life: float = inf, draw: random.Random | None = None) -> None:
        self.life = life
        self.answers: deque[GatewayError | Token] = deque()
        self.hung: asyncio.Event | None = None
        """What an answer waits for, if it has to."""
        self.error: GatewayError | None = None
        self.now = 0.0
        self.asked: list[tuple[float, str]] = []
        self.tokens = Tokens(self.authenticate, (URL, OTHER), draw or Latest(), lambda: self.now)

    async def authenticate(self, url: str) -> Token:
        """One request, which takes a moment."""
        self.asked.append((self.now, url))
        number = len(self.asked)
        await asyncio.sleep(0)
        if self.hung:
            await self.hung.wait()
        answer = self.answers.popleft() if self.answers else self.error
        if isinstance(answer, GatewayError):
            raise answer
        return answer if isinstance(answer, Token) else Token(f"token {number}", self.life)


async def test_many_ask_for_a_token_and_one_is_fetched() -> None:
    """Each one costs etcd a bcrypt; after it was refused, again only one is fetched."""
    member = Member()
    tokens = member.tokens
    assert await asyncio.gather(*(tokens.get(URL) for _ in range(10))) == ["token 1"] * 10
    for _ in range(10):
        tokens.reject(URL, "token 1", "")
    tokens.reject(OTHER, "token 1", "")
    assert await asyncio.gather(*(tokens.get(URL) for _ in range(10))) == ["token 2"] * 10
    tokens.reject(URL, "token 1", "")  # a late answer about the old one
    assert await tokens.get(URL) == "token 2"
    assert await tokens.get(OTHER) == "token 3"
    assert [url for _, url in member.asked] == [URL, URL, OTHER]


async def test_a_failed_request_for_a_token_is_not_remembered() -> None:
    """Whoever asks next tries again, unless etcd may be hashing."""
    member = Member()
    member.answers += [GatewayError(URL, "no"), GatewayError(URL, "no")]
    for _ in range(2):
        results = await asyncio.gather(*(member.tokens.get(URL) for _ in range(3)), return_exceptions=True)
        assert {type(result) for result in results} == {GatewayError}
    assert await member.tokens.get(URL) == "token 3"


async def test_who_waited_for_one_that_was_cancelled_asks_itself() -> None:
    """Its end says nothing about etcd."""
    member = Member()
    member.hung = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        first = group.create_task(member.tokens.get(URL), name="first")
        second = group.create_task(member.tokens.get(URL), name="second")
        await until(lambda: member.asked)
        member.hung = None
        first.cancel()
    assert second.result() == "token 2"
    assert len(member.asked) == 2


async def asked_for(member: Member, error: GatewayError, seconds: float) -> list[float]:
    """The pauses between requests when three want a token ten times a second, and are refused."""
    member.error = error
    since, until_ = len(member.asked), member.now + seconds
    while member.now < until_:
        results = await asyncio.gather(*(member.tokens.get(URL) for _ in range(3)), return_exceptions=True)
        assert {type(result) for result in results} == {type(error)}
        member.now += 0.1
    return [round(later - earlier) for (earlier, _), (later, _) in pairwise(member.asked[since:])]


@pytest.mark.parametrize("kind", [NoAnswer, Dropped, CredentialsUnusable])
async def test_an_etcd_that_gives_no_token_is_given_time(kind: type[GatewayError]) -> None:
    """More and more of it, until it answers; the others that wait learn it, too."""
    member = Member()
    assert await asked_for(member, kind(URL, "not now"), 40) == [0, 1, 2, 4, 8, 10, 10]
    member.now, member.error = 60.0, None
    token = await member.tokens.get(URL)
    member.tokens.reject(URL, token, "")
    assert await asked_for(member, kind(URL, "not now"), 0.5) == [0]


async def test_a_wrong_password_is_no_storm() -> None:
    """The very first refusal counts: a second try with the same password is worth nothing."""
    member = Member()
    error = WrongPassword(URL, "no")
    assert await asked_for(member, error, 250) == [1, 2, 4, 8, 16, 32, 60, 60, 60]
    member.error = None
    with pytest.raises(WrongPassword):
        await member.tokens.get(URL)
    member.tokens.retry()  # the file was mended
    assert await member.tokens.get(URL) == f"token {len(member.asked)}"


async def test_a_refusal_of_the_password_of_before_does_not_count() -> None:
    """It was mended while the request was under way: whoever waits gets the answer to the next."""
    member = Member()
    member.answers.append(WrongPassword(URL, "no"))
    member.hung = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        waiting = [group.create_task(member.tokens.get(URL), name="reader") for _ in range(3)]
        await until(lambda: member.asked)
        member.tokens.retry()
        member.hung.set()
    assert [task.result() for task in waiting] == ["token 2"] * 3


async def test_daemons_with_the_same_wrong_password_do_not_come_together() -> None:
    """Half of each pause is drawn."""
    moments = set()
    for seed in range(20):
        member = Member(draw=random.Random(seed))
        await asked_for(member, WrongPassword(URL, "no"), 100)
        pauses = [later - earlier for (earlier, _), (later, _) in pairwise(member.asked)]
        limits = [1, 2, 4, 8, 16, 32, 60, 60]
        assert all(limit / 2 <= pause < limit + 0.15 for pause, limit in zip(pauses, limits, strict=False)), (
            pauses
        )
        moments.add(round(member.asked[-1][0], 1))
    assert len(moments) > 10


async def test_a_token_is_forgotten_for_silence_only_now_and_then() -> None:
    """An etcd that is too busy to answer must not be made to hash everybody's password all the time."""
    member = Member()
    tokens = member.tokens
    assert not tokens.forget(URL, "silent")  # there is none
    forgotten = 0
    for second in range(120):
        member.now = float(second)
        await tokens.get(URL)
        forgotten += tokens.forget(URL, "silent")
    assert forgotten == 4
    assert len(member.asked) == 5  # at once, and then every half a minute
    await tokens.get(URL)
    tokens.gone(URL)
    assert tokens.forget(URL, "silent")
    await tokens.get(URL)
    assert len(member.asked) == 6  # one that was away may be silent because it was wiped
    tokens.forget_all()
    assert await tokens.get(URL) == "token 7"


async def test_the_log_tells_why_a_token_was_renewed() -> None:
    """At once what etcd refused; for those who debug, what was planned. Never the first one."""
    member = Member(life=100)
    with capture_logs() as log:
        await member.tokens.get(URL)
        assert log == []
        member.tokens.reject(URL, "token 1", "invalid auth token (code 16)")
        await member.tokens.get(URL)
        line = {"event": "token renewed", "endpoint": URL}
        why = {"code": REFUSED, "error": "invalid auth token (code 16)"}
        assert log.pop() == line | why | {"log_level": "info"}
        member.now += 100
        await member.tokens.get(URL)
        assert log.pop() == line | {"code": EXPIRED, "log_level": "debug"}
        member.now += 101
        member.tokens.reject(URL, "token 3", "invalid auth token (code 16)")  # it was on its way
        await member.tokens.get(URL)
        assert log.pop()["code"] == EXPIRED
        assert log == []


async def test_authentication_that_is_off_is_told_once() -> None:
    """However many endpoints say so; and when it is on again."""
    member = Member()
    member.answers += [NO_TOKEN, NO_TOKEN, NO_TOKEN]
    tokens = member.tokens
    with capture_logs() as log:
        assert [await tokens.get(url) for url in (URL, OTHER, URL)] == ["", "", ""]
        tokens.reject(URL, "", "user name is empty")
        assert await tokens.get(URL) == ""
        tokens.reject(URL, "", "user name is empty")
        assert await tokens.get(URL) == "token 4"
        tokens.reject(OTHER, "", "user name is empty")
        assert await tokens.get(OTHER) == "token 5"
    assert [line["event"] for line in log] == ["authentication is off", "authentication is on again"]
    assert log[0]["code"] == "auth.off"


@asynccontextmanager
async def renewing(member: Member) -> AsyncIterator[Tokens]:
    """Let tokens be renewed, as early as they may be, by the event loop's clock."""
    loop = asyncio.get_running_loop()
    tokens = Tokens(member.authenticate, (URL, OTHER), Earliest(), loop.time)
    running = loop.create_task(tokens.run(), name="renewal")
    try:
        yield tokens
    finally:
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running


async def test_a_token_in_use_is_renewed_before_its_end() -> None:
    """Nobody waits for that, and each is asked for once."""
    member = Member(life=0.2)
    async with renewing(member) as tokens:
        began = asyncio.get_running_loop().time()
        await tokens.get(URL)
        got = set()
        while len(member.asked) < 6:
            got.add(await asyncio.wait_for(tokens.get(URL), 0.1))
            await asyncio.sleep(0.002)
        took = asyncio.get_running_loop().time() - began
    assert {f"token {number}" for number in range(1, 6)} <= got
    assert took >= 5 * 0.2 * RENEW[0]


async def test_a_token_that_nobody_uses_is_not_renewed() -> None:
    """That of an endpoint that was left: whoever comes back fetches another."""
    member = Member(life=0.05)
    async with renewing(member) as tokens:
        await tokens.get(URL)
        await until(lambda: len(member.asked) == 2)  # it was used once
        ended = asyncio.get_running_loop().time() + 0.1
        await until(lambda: asyncio.get_running_loop().time() > ended)
        assert len(member.asked) == 2
        assert await tokens.get(URL) == "token 3"
        await until(lambda: len(member.asked) == 4)  # and now it is used again


async def test_while_renewal_hangs_the_old_token_is_used() -> None:
    """As long as it lasts; then whoever wants one waits for the request that is under way."""
    member = Member(life=0.6)
    async with renewing(member) as tokens:
        await tokens.get(URL)
        member.hung = asyncio.Event()
        await until(lambda: len(member.asked) == 2)
        got = ["token 1"]
        with suppress(TimeoutError):
            while got[-1] == "token 1":
                got.append(await asyncio.wait_for(tokens.get(URL), 0.01))
        assert len(got) > 2, got
        assert set(got) == {"token 1"}
        member.hung.set()
        assert await tokens.get(URL) == "token 2"
        assert len(member.asked) == 2


async def test_while_renewal_fails_the_old_token_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """And it is tried again, after a pause."""
    monkeypatch.setattr("syncd.gateway.auth.PAUSE_FIRST", 0.01)
    member = Member(life=0.8)
    async with renewing(member) as tokens:
        with capture_logs() as log:
            await tokens.get(URL)
            member.answers += [NoAnswer(URL, "no"), WrongPassword(URL, "no"), GatewayError(URL, "no")]
            got = []
            while not log or log[-1]["event"] != "token renewed":
                got.append(await asyncio.wait_for(tokens.get(URL), 0.1))
                await asyncio.sleep(0.002)
            assert set(got) <= {"token 1", "token 5"}
            assert await tokens.get(URL) == "token 5"
    assert [line["event"] for line in log] == ["token not renewed"] * 3 + ["token renewed"]
    assert {line["log_level"] for line in log} == {"debug"}


async def test_a_token_that_is_refused_while_it_is_renewed_waits_for_that() -> None:
    """One request is enough for both."""
    member = Member(life=0.1)
    async with renewing(member) as tokens:
        await tokens.get(URL)
        member.hung = asyncio.Event()
        await until(lambda: len(member.asked) == 2)
        tokens.reject(URL, "token 1", "invalid auth token")
        waiting = [asyncio.get_running_loop().create_task(tokens.get(URL)) for _ in range(3)]
        await asyncio.sleep(0)
        member.hung.set()
        assert await asyncio.gather(*waiting) == ["token 2"] * 3
        assert len(member.asked) == 2
