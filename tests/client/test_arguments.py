"""Arguments at their limits: what means something is taken, what does not is refused at once."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import pytest

from syncd.client import BadRequestError, Client, NotFoundError, query
from syncd.client.answers import refusal
from syncd.client.http11 import Head
from syncd.client.query import Read, Selection
from syncd.keyrange import prefix_range
from tests.client.fronts import Front
from tests.client.test_query import parameters
from tests.serve.stand import Kept, Stand, serving

ODD = b"/a\xff"


@pytest.fixture
def stand() -> Iterator[Stand]:
    """Serve two keys, one of which is not UTF-8."""
    kept = Kept(prefix_range(b"/"))
    kept.fill({b"/a": b"1", ODD: b"2"}, 10)
    with serving(kept) as running:
        yield running


async def test_a_key_may_be_text_with_escaped_bytes(front: Front, stand: Stand) -> None:
    """As a mirror gives it out."""
    text = ODD.decode("utf-8", "surrogateescape")
    async with front(str(stand.socket)) as client:
        assert (await client.get(text)).record.value == b"2"
        assert await client.list(text) == [ODD]
        assert await client.list(key=text) == [ODD]


async def test_a_socket_may_be_a_path(front: Front, stand: Stand) -> None:
    """As most programs have it."""
    async with front(stand.socket) as client:
        assert client.socket_path == str(stand.socket)
        assert (await client.get("/a")).record.value == b"1"


async def test_endless_is_a_duration(front: Front, stand: Stand) -> None:
    """And so is what lasts longer than anything."""
    for long in (math.inf, 1e10, 1e300):
        async with front(str(stand.socket), timeout=long) as client:
            found = await client.get("/a", max_age=long, min_revision=10, wait=long, timeout=long)
            assert found.record.value == b"1"
            assert (await client.wait(10, "/", timeout=long)).revision == 10
            async with client.watch("/", heartbeat=long, patience=long) as watch:
                assert await watch.receive() is not None


@pytest.mark.parametrize("wrong", [-1, math.nan, -math.inf])
@pytest.mark.parametrize("name", ["max_age", "wait", "heartbeat", "patience", "timeout"])
async def test_what_is_no_duration_is_refused(front: Front, name: str, wrong: float) -> None:
    """By name, before anybody is asked."""
    option: Any = {name: wrong}
    client = front("/nowhere")
    with pytest.raises(ValueError, match=f"^{name}=.*expected seconds"):
        client.watch("/", **option)
    if name in {"heartbeat", "patience"}:
        return
    with pytest.raises(ValueError, match=f"^{name}="):
        await client.get("/", **option)
    with pytest.raises(ValueError, match=f"^{name}="):
        client.snapshot("/", **option)
    if name == "timeout":
        with pytest.raises(ValueError, match=r"^timeout="):
            await client.wait(1, "/", **option)
        with pytest.raises(ValueError, match=r"^timeout="):
            front("/nowhere", **option)
        with pytest.raises(ValueError, match=r"^timeout="):
            Client("/nowhere").watch("/").receive(**option)


def test_long_durations_are_asked_for_as_far_as_the_daemon_takes_them() -> None:
    """An age without a limit is none to ask for."""
    every = Selection("prefix", b"/")
    assert parameters(query.watch(every, heartbeat=math.inf))["heartbeat_ms"] == "3600000"
    request = query.value(b"/a", Read(max_age=math.inf, wait=math.inf))
    assert parameters(request) == {"key": "/a", "wait_ms": "600000"}
    assert request.patience == 600


@pytest.mark.parametrize("length", [70_000, 1_000_000])
async def test_a_key_that_is_too_long_is_a_bad_request(front: Front, stand: Stand, length: int) -> None:
    """Also where the daemon did not read all of it."""
    long = "/" + "x" * length
    async with front(str(stand.socket)) as client:
        with pytest.raises(NotFoundError):
            await client.get("/b")
        for _ in range(2):
            with pytest.raises(BadRequestError, match="65536"):
                await client.get(long)
        with pytest.raises(BadRequestError, match="65536"):
            await client.watch(long).open()


def test_a_refusal_of_the_http_layer_is_told_by_its_status() -> None:
    """400 is about the request, all else is a fault."""
    assert isinstance(refusal(Head(400, {}), b"Bad Request"), BadRequestError)
