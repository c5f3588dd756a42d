"""Tokens whose time is over, on real servers: nobody notices.

All versions go side by side, as nothing shortens the wait.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from math import inf
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from syncd.gateway import Gateway, Unreachable
from syncd.gateway.auth import RENEW
from syncd.gateway.token import Token
from syncd.keyrange import prefix_range
from tests.etcd import Cluster, Etcd, available
from tests.gateway.conftest import Connect
from tests.until import until
from tests.users import PASSWORD, authentications, jwt, simple

KEYS = prefix_range(b"/mine/")
TTL = 3
"""Seconds; a JWT's end is a whole second, so its life is this or one less."""
EXPIRED = TTL + 1.1
"""Seconds after which etcd finds so: the second of its end still counts."""
FORGOTTEN = 2.2
"""Seconds after which etcd has forgotten a simple token of one second: it looks once a second. It tells
nobody, and to ask it would make the token live on."""


@pytest.fixture
def password(tmp_path: Path) -> Path:
    """Write the right password."""
    file = tmp_path / "password"
    file.write_text(PASSWORD)
    return file


@contextmanager
def running(etcds: Sequence[Etcd]) -> Iterator[None]:
    """Start them together, each with a key that `reader` may read."""
    try:
        for etcd in etcds:
            etcd.launch()
        for etcd in etcds:
            etcd.wait_until_ready()
            etcd.put("/mine/a", "1")
            etcd.guard("reader", PASSWORD, KEYS.key)
        yield
    finally:
        for etcd in etcds:
            etcd.close()


async def side_by_side(etcds: Sequence[Etcd], scene: Callable[[Etcd], Coroutine[Any, Any, None]]) -> None:
    """Play the same scene with each of them."""
    with running(etcds):
        async with asyncio.TaskGroup() as group:
            for etcd in etcds:
                group.create_task(scene(etcd), name=etcd.version)


@asynccontextmanager
async def looked_after(gateway: Gateway) -> AsyncIterator[None]:
    """Let the gateway do what a daemon lets it do all the time."""
    task = asyncio.get_running_loop().create_task(gateway.probe(KEYS), name="probes")
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def called(gateway: Gateway) -> None:
    """Make a call."""
    await gateway.revision(KEYS)


async def watched(gateway: Gateway) -> bytes:
    """The first key that a new watch tells of."""
    async with asyncio.timeout(5), gateway.watch(KEYS, 1) as stream:
        while not (result := await anext(stream)).events:
            pass
    return result.events[0].kv.key


async def passed(seconds: float) -> None:
    """Return when so much time is over."""
    loop = asyncio.get_running_loop()
    end = loop.time() + seconds
    await until(lambda: loop.time() >= end)


async def test_jwts_are_renewed_before_their_end(connect: Connect, password: Path, tmp_path: Path) -> None:
    """Calls and watches go on and on; nothing is refused, and no more is asked for than that takes."""

    async def scene(etcd: Etcd) -> None:
        loop = asyncio.get_running_loop()
        gateway = connect(etcd.endpoint, user="reader", password_file=password)
        async with looked_after(gateway), gateway.watch(KEYS, 1) as stream:
            began = loop.time()
            while loop.time() - began < 1.5 * TTL:
                await gateway.revision(KEYS)
                stream.request_progress()
                async with asyncio.timeout(5):
                    await anext(stream)
                await asyncio.sleep(0.01)
            assert await watched(gateway) == b"/mine/a"
            took = loop.time() - began
        assert gateway.endpoints.current.failures == 0
        assert took / TTL <= authentications(etcd) <= 1 + took / (RENEW[0] * (TTL - 2))

    etcds = [Etcd(version, jwt(version, tmp_path, TTL)) for version in available() if version != "3.3.25"]
    with capture_logs() as log:
        await side_by_side(etcds, scene)
    renewals = [(line["code"], line["log_level"]) for line in log if line["event"] == "token renewed"]
    assert set(renewals) == {("auth.token_expired", "debug")}
    assert len(renewals) >= 2 * len(etcds)


async def test_a_jwt_that_etcd_finds_expired_is_replaced(
    connect: Connect, password: Path, tmp_path: Path
) -> None:
    """When nobody here knew its end: a call goes through, and so does a watch, each at its first try."""

    async def outlived(gateway: Gateway, call: Callable[[Gateway], Awaitable[object]]) -> None:
        url = gateway.endpoints.current.url
        old = await gateway._tokens.get(url)
        held = gateway._tokens._held[url]
        held.token, held.ends = Token(old), inf
        await passed(EXPIRED)
        await call(gateway)
        assert await gateway._tokens.get(url) != old
        assert gateway.endpoints.current.failures == 0

    async def scene(etcd: Etcd) -> None:
        async with asyncio.TaskGroup() as group:
            for call in (called, watched):
                gateway = connect(etcd.endpoint, user="reader", password_file=password)
                group.create_task(outlived(gateway, call), name=call.__name__)
        assert authentications(etcd) == 4

    etcds = [Etcd(version, jwt(version, tmp_path, TTL)) for version in available() if version != "3.3.25"]
    with capture_logs() as log:
        await side_by_side(etcds, scene)
    renewals = [(line["code"], line["log_level"]) for line in log if line["event"] == "token renewed"]
    assert renewals == [("auth.token_refused", "info")] * 2 * len(etcds)


async def test_a_simple_token_that_nobody_used_is_replaced(connect: Connect, password: Path) -> None:
    """The next call goes through, and so does the next watch; a token in use lives on."""

    async def unused(gateway: Gateway, call: Callable[[Gateway], Awaitable[object]]) -> None:
        await called(gateway)
        await passed(FORGOTTEN)
        await call(gateway)
        assert gateway.endpoints.current.failures == 0

    async def used(gateway: Gateway) -> None:
        loop = asyncio.get_running_loop()
        began = loop.time()
        while loop.time() - began < FORGOTTEN:
            await called(gateway)
            await asyncio.sleep(0.01)

    async def scene(etcd: Etcd) -> None:
        gateways = [connect(etcd.endpoint, user="reader", password_file=password) for _ in range(3)]
        async with asyncio.TaskGroup() as group:
            group.create_task(unused(gateways[0], called), name="called")
            group.create_task(unused(gateways[1], watched), name="watched")
            group.create_task(used(gateways[2]), name="in use")
        assert authentications(etcd) == 2 + 2 + 1

    etcds = [Etcd(version, simple(version, 1)) for version in available()]
    with capture_logs() as log:
        await side_by_side(etcds, scene)
    renewals = [(line["code"], line["log_level"]) for line in log if line["event"] == "token renewed"]
    assert renewals == [("auth.token_refused", "info")] * 2 * len(etcds)


async def test_each_member_has_its_own_token(connect: Connect, password: Path) -> None:
    """One that was not asked for long has forgotten its token: it is replaced when it is asked again."""
    with Cluster(flags=simple("", 1), size=3) as cluster:
        leader = cluster.leader()  # it stays: an election is another matter
        first, second = (member for member in cluster.members if member is not leader)
        first.put("/mine/a", "1")
        first.guard("reader", PASSWORD, KEYS.key)
        gateway = connect(first.endpoint, second.endpoint, user="reader", password_file=password)
        home = gateway.endpoints.home.url
        here, there = (first, second) if home == first.endpoint else (second, first)
        await gateway.revision(KEYS, there.endpoint)
        await gateway.revision(KEYS, here.endpoint)
        loop = asyncio.get_running_loop()
        began = loop.time()
        while loop.time() - began < FORGOTTEN:
            await gateway.revision(KEYS, here.endpoint)
            await asyncio.sleep(0.01)
        before = authentications(there)
        assert authentications(here) == 1
        here.kill()
        with pytest.raises(Unreachable):
            await gateway.revision(KEYS)
        assert gateway.endpoints.current.url == there.endpoint
        assert await watched(gateway) == b"/mine/a"
        assert authentications(there) == before + 1
        assert gateway.endpoints.current.failures == 0
