"""Readers that don't take what is written: how much waits for each of them, and how many there may be."""

from __future__ import annotations

import gc
import json
import socket
import tracemalloc
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import islice
from typing import Any

import pytest

from syncd.keyrange import prefix_range
from syncd.serve.stream import CHUNK
from syncd.serve.v3.watch import DOCUMENT
from tests.serve.local import connected, wait_until
from tests.serve.others import Other, needs_root, open_to_all
from tests.serve.stand import Kept, Stand, serving
from tests.serve.v3.dialogue import b64

LARGE = 4 << 20
HELD = 1 << 20
"""Bytes that one reader may make the daemon hold: some chunks, whatever it has asked for."""

ALL = {"key": b64(b"/"), "range_end": b64(b"0"), "serializable": True}


def post(call: str, asked: object) -> bytes:
    """A request in etcd's own API."""
    body = json.dumps(asked).encode()
    return b"POST /v3/%b HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n%b" % (
        call.encode(),
        len(body),
        body,
    )


VALUE = b"GET /v1/value?key=/large HTTP/1.1\r\nHost: localhost\r\n\r\n"


@pytest.fixture
def stand() -> Iterator[Stand]:
    """A range with a small value, and a large one."""
    kept = Kept(prefix_range(b"/"))
    kept.fill({b"/a": b"1", b"/large": b"x" * LARGE}, 10)
    with serving(kept) as stand:
        yield stand


def deaf(stand: Stand, stack: ExitStack, request: bytes) -> socket.socket:
    """Ask, and never read."""
    connection = stack.enter_context(connected(stand.socket))
    connection.sendall(request)
    return connection


@pytest.mark.parametrize(
    "request_",
    [
        VALUE,
        VALUE.replace(b"\r\n\r\n", b"\r\nAccept: application/json\r\n\r\n"),
        b"GET /v1/snapshot?prefix=/ HTTP/1.1\r\nHost: localhost\r\n\r\n",
        post("kv/range", {"key": b64(b"/large"), "serializable": True}),
        post("kv/range", ALL),
        post("kv/txn", {"success": [{"request_range": ALL}]}),
        b"GET /v1/watch?prefix=/&from=10&epoch=e HTTP/1.1\r\nHost: localhost\r\n\r\n",
        post("watch", {"create_request": {"key": b64(b"/large"), "start_revision": 11}}),
    ],
    ids=["value", "record", "snapshot", "one key", "a prefix", "txn", "watch", "etcd's watch"],
)
def test_little_is_held_for_each(stand: Stand, request_: bytes) -> None:
    """However large the value is that it has asked for; of a document that must be one chunk, all of it."""
    stand.write((b"/large", b"y" * LARGE))
    most = HELD + (DOCUMENT if b"/v3/watch" in request_ else 0)
    with ExitStack() as stack:
        deaf(stand, stack, request_)  # what is kept for all of them
        wait_until(lambda: stand.context.slow.taken == 1, "the first one is waited for")
        tracemalloc.start()
        try:
            for _ in range(5):
                deaf(stand, stack, request_)
            wait_until(lambda: stand.context.slow.taken == 6, "all are waited for")
            gc.collect()
            held, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert held < 5 * most
    wait_until(lambda: not stand.context.slow.taken, "none is waited for any more")


def test_large_answers_come_in_chunks(stand: Stand) -> None:
    """None is larger than what is written at a time, and together they are everything."""
    with stand.stream("snapshot", prefix="/") as stream:
        chunks = list(stream.chunks())
    assert max(map(len, chunks)) <= CHUNK
    lines = b"".join(chunks).splitlines()
    assert json.loads(lines[2])["value"] == "x" * LARGE
    with stand.stream("watch", {"Accept": "text/event-stream"}, prefix="/", snapshot=True) as stream:
        events = [line for line in islice(stream.lines(), 8) if line]
    assert [json.loads(event.removeprefix(b"data: ")).get("value") for event in events] == [
        None,
        "1",
        "x" * LARGE,
        None,
    ]
    answer = stand.get("value", key="/large")
    assert (answer.body, answer.headers["Content-Length"]) == (b"x" * LARGE, str(LARGE))
    assert stand.ask("/v1/value?key=/large", Accept="application/json").json["value"] == "x" * LARGE
    head = stand.ask("/v1/value?key=/large", "HEAD")
    assert (head.body, head.headers["Content-Length"]) == (b"", str(LARGE))


def test_there_are_not_too_many(stand: Stand, logged: list[Any]) -> None:
    """Who comes beyond is cut at once, which the log is told; who reads on makes place for another."""
    stand.context.slow.limit = 2
    with ExitStack() as stack:
        slow = deaf(stand, stack, VALUE)
        wait_until(lambda: stand.context.slow.taken == 1, "it is waited for")
        cut = deaf(stand, stack, VALUE)
        wait_until(lambda: logged, "the second one is cut")
        assert _all_of(cut) < LARGE
        assert stand.get("value", key="/a").body == b"1"
        assert _all_of(slow, LARGE) > LARGE
        wait_until(lambda: not stand.context.slow.taken, "it has read on")
        deaf(stand, stack, VALUE)
        wait_until(lambda: stand.context.slow.taken == 1, "another one is waited for")
    wait_until(lambda: not stand.context.slow.taken, "it is gone")
    assert [(line["event"], line["open"]) for line in logged] == [("slow readers cut", 1)]
    logged.clear()


@needs_root
def test_another_user_may_be_slow(stand: Stand, logged: list[Any]) -> None:
    """However many slow readers somebody else has."""
    stand.context.slow.limit = 4
    open_to_all(stand.socket)
    with ExitStack() as stack:
        for _ in range(3):
            deaf(stand, stack, VALUE)
        wait_until(lambda: logged, "the third one is cut")
        other = stack.enter_context(Other(12345).connected(stand.socket))
        other.sendall(VALUE)
        wait_until(lambda: stand.context.slow.taken == 3, "it is waited for")
    logged.clear()


def _all_of(connection: socket.socket, enough: int | None = None) -> int:
    """How many bytes come until the connection is cut, or until there are more than `enough`."""
    size = 0
    while enough is None or size <= enough:
        try:
            piece = connection.recv(1 << 20)
        except ConnectionResetError:
            break
        if not piece:
            break
        size += len(piece)
    return size
