"""The tokens of endpoints: fetched once for all, and not too often."""

from __future__ import annotations

import asyncio
import random
from itertools import pairwise

import pytest
from structlog.testing import capture_logs

from syncd.gateway.auth import EXPIRED, PAUSE_MOST, REFUSED
from syncd.gateway.errors import (
    CertificateRefused,
    CommonNameRefused,
    Dropped,
    EtcdError,
    GatewayError,
    MalformedAnswer,
    NoAnswer,
    NoGateway,
    Unavailable,
    Unreachable,
    WrongPassword,
)
from syncd.gateway.token import NO_TOKEN
from tests.gateway.member import OTHER, URL, Member
from tests.until import until


def kind_of(error: GatewayError) -> str:
    """The name of a case."""
    return type(error).__name__


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


@pytest.mark.parametrize(
    "error",
    [
        Unreachable(URL, "no"),
        CertificateRefused(URL, "no"),
        CommonNameRefused(URL, "no"),
        NoGateway(URL, "no"),
    ],
    ids=kind_of,
)
async def test_a_request_that_etcd_has_not_hashed_for_is_not_remembered(error: GatewayError) -> None:
    """Whoever asks next tries again, so that the token is there as soon as it can be had."""
    member = Member()
    member.answers += [error] * 4
    for _ in range(4):
        results = await asyncio.gather(*(member.tokens.get(URL) for _ in range(3)), return_exceptions=True)
        assert results == [error] * 3
    assert await member.tokens.get(URL) == "token 5"


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
    """The pauses between requests when three want a token four times a second, and are refused."""
    member.error = error
    since, until_ = len(member.asked), member.now + seconds
    while member.now < until_:
        results = await asyncio.gather(*(member.tokens.get(URL) for _ in range(3)), return_exceptions=True)
        assert {type(result) for result in results} == {type(error)}
        member.now += 0.25
    return [round(later - earlier) for (earlier, _), (later, _) in pairwise(member.asked[since:])]


@pytest.mark.parametrize(
    "error",
    [
        NoAnswer(URL, "not now"),
        Dropped(URL, "not now"),
        MalformedAnswer(URL, "not now"),
        Unavailable(URL, 14, "etcdserver: too many requests"),
        EtcdError(URL, 2, "not now"),
    ],
    ids=kind_of,
)
async def test_an_etcd_that_gives_no_token_is_given_time(error: GatewayError) -> None:
    """More and more of it, until it answers; the others that wait learn it, too."""
    member = Member()
    pauses = [0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]
    assert await asked_for(member, error, 1200) == pauses
    member.now, member.error = member.now + PAUSE_MOST, None
    token = await member.tokens.get(URL)
    member.tokens.reject(URL, token, "")
    assert await asked_for(member, error, 0.5) == [0]


async def test_a_wrong_password_is_no_storm() -> None:
    """The very first refusal counts: a second try with the same password is worth nothing."""
    member = Member()
    error = WrongPassword(URL, "no")
    pauses = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 600, 600]
    assert await asked_for(member, error, sum(pauses) + 1) == pauses
    member.error = None
    with pytest.raises(WrongPassword):
        await member.tokens.get(URL)
    member.tokens.retry()  # the file was mended, or somebody says that etcd was
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
        limits = [1, 2, 4, 8, 16, 32, 64, 128]
        assert all(limit / 2 <= pause < limit + 0.3 for pause, limit in zip(pauses, limits, strict=False)), (
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
