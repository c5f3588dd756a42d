"""Calls that are passed on to etcd: not too many at a time, and answers not too long."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from syncd.config import Etcd, Timeouts
from syncd.daemon import upstream as module
from syncd.daemon.upstream import AT_ONCE, LARGEST, WAITING, Upstream
from syncd.gateway import Gateway, GatewayError
from syncd.serve.v3.errors import Code, EtcdError
from tests.gateway.fake import Answer, Fake, answer, chunked, fake_gateway, whole

PUT = "/v3/kv/put"
WRITTEN = {"header": {"revision": "8"}}
TOO_MANY = "etcdserver: too many requests"
REFUSED = f"8: {TOO_MANY}"
REQUEST = 30.0


@asynccontextmanager
async def upstream(
    answers: dict[str, Answer], patience: float = REQUEST
) -> AsyncIterator[tuple[Upstream, Fake]]:
    """What leads to an etcd that answers so."""
    clock = asyncio.get_running_loop().time
    async with fake_gateway(answers) as fake:
        etcd = Etcd(endpoints=(fake.url,), timeouts=Timeouts(request=REQUEST))
        async with Gateway(etcd, draw=random.Random(1), clock=clock) as gateway:
            yield Upstream(gateway, clock, patience), fake


class Slow:
    """Answers when told to; how many wait for that."""

    def __init__(self) -> None:
        self.waiting = 0
        self.most = 0
        self.go = asyncio.Event()
        self.all_came = asyncio.Event()

    async def __call__(self, _: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One answer."""
        self.waiting += 1
        self.most = max(self.most, self.waiting)
        if self.waiting == AT_ONCE:
            self.all_came.set()
        await self.go.wait()
        self.waiting -= 1
        writer.write(answer(WRITTEN))


async def test_a_flood_of_writes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few are with etcd at a time, some wait, and the others are refused, as etcd would; no other user's."""
    slow = Slow()
    monkeypatch.setattr(module, "PATIENCE", 0.05)
    async with upstream({PUT: slow}) as (above, _):

        async def write(user: int) -> int | str:
            try:
                return (await above.call("/kv/put", b"{}", user))[0]
            except EtcdError as error:
                return f"{error.code}: {error.message}"

        async with asyncio.TaskGroup() as group:
            flood = [group.create_task(write(1)) for _ in range(2 * WAITING)]
            await slow.all_came.wait()
            other = group.create_task(write(2))
            assert await above.about("/kv/put") is None  # in time, though there is no turn for it
            slow.go.set()
        assert other.result() == 200
        assert slow.most == AT_ONCE
        results = [each.result() for each in flood]
        assert results.count(200) == AT_ONCE + WAITING // 2
        assert results.count(REFUSED) == len(results) - results.count(200)


async def test_who_waits_for_etcd_waits_no_longer_than_the_deadline() -> None:
    """Then it is sure that etcd was not asked."""
    slow = Slow()
    async with upstream({PUT: slow}, patience=0.05) as (above, _), asyncio.TaskGroup() as group:
        first = [group.create_task(above.call("/kv/put", b"{}", 1)) for _ in range(AT_ONCE)]
        await slow.all_came.wait()
        with pytest.raises(EtcdError, match=TOO_MANY):
            await above.call("/kv/put", b"{}", 2)
        assert await above.about("/kv/put") is None
        slow.go.set()
        assert [(await each)[0] for each in first] == [200] * AT_ONCE
        assert slow.most == AT_ONCE


async def endless(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Never come to the end."""
    writer.write(chunked(b'{"header":{"revision":"8"},"x":"'))
    while True:
        writer.write(b"10000\r\n" + b"x" * 0x10000 + b"\r\n")
        await writer.drain()


async def test_an_answer_that_is_too_long() -> None:
    """It is not read to its end; whoever asked learns that it was done, and does not do it twice."""
    async with upstream({PUT: endless}) as (above, fake):
        with pytest.raises(EtcdError, match="etcd has done /kv/put") as refused:
            await above.call("/kv/put", b"{}", 1)
        assert refused.value.code not in {Code.RESOURCE_EXHAUSTED, Code.UNAVAILABLE}
        assert fake.paths().count(PUT) == 1


async def test_a_long_page_of_a_proxy() -> None:
    """It says nothing of what etcd did."""
    page = whole(b"x" * (LARGEST + 1), "502 Bad Gateway")
    async with upstream({PUT: page}) as (above, _):
        with pytest.raises(GatewayError, match="an answer of more than"):
            await above.call("/kv/put", b"{}", 1)


async def test_a_long_answer() -> None:
    """What still fits is passed on as it is."""
    async with upstream({PUT: whole(b"x" * LARGEST)}) as (above, _):
        assert await above.call("/kv/put", b"{}", 1) == (200, b"x" * LARGEST)
