"""Tokens while somebody looks after them: asked for on behalf of all, renewed in time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest
from structlog.testing import capture_logs

from syncd.gateway.auth import RENEW, Tokens
from syncd.gateway.errors import GatewayError, NoAnswer, WrongPassword
from tests.gateway.member import OTHER, URL, Earliest, Member
from tests.until import until


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


async def test_who_gives_up_ends_only_its_own_waiting() -> None:
    """Etcd hashes on, and whoever comes next finds the token, or waits for it."""
    member = Member()
    async with renewing(member) as tokens:
        member.hung = asyncio.Event()
        for _ in range(3):
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(tokens.get(URL), 0.01)
        waiting = asyncio.get_running_loop().create_task(tokens.get(URL), name="reader")
        await asyncio.sleep(0)
        member.hung.set()
        assert await waiting == "token 1"
        assert len(member.asked) == 1


async def test_an_error_counts_also_when_nobody_waits_for_it() -> None:
    """The next request has to wait."""
    member = Member()
    async with renewing(member) as tokens:
        member.hung = asyncio.Event()
        member.answers.append(WrongPassword(URL, "no"))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(tokens.get(URL), 0.01)
        member.hung.set()
        await until(lambda: not member.answers)
        with pytest.raises(WrongPassword):
            await tokens.get(URL)
        assert len(member.asked) == 1


async def test_who_waits_when_all_ends_asks_itself() -> None:
    """As does everybody from then on."""
    member = Member()
    member.hung = asyncio.Event()
    async with renewing(member) as tokens:
        waiting = asyncio.get_running_loop().create_task(tokens.get(URL), name="reader")
        await until(lambda: member.asked)
    member.hung.set()
    assert await waiting == "token 2"
    assert await tokens.get(OTHER) == "token 3"
