"""Plain single reads, answered before aiohttp sees them: the same answers, in turns with the others."""

from __future__ import annotations

import select
import socket
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import BinaryIO
from urllib.parse import quote

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from syncd.keyrange import KeyRange
from syncd.serve import linearizable
from syncd.serve.access import EVERYTHING, Rights
from syncd.serve.quick import MOST, Quick, Read, is_whole
from syncd.serve.stream import CHUNK
from syncd.serve.v3 import kv
from tests.serve.local import Answer, connected, read_head, wait_until
from tests.serve.stand import Stand, Unanswered

HEAD = b"Host: localhost\r\nUser-Agent: curl/8\r\nAccept: */*\r\n"
UNKNOWN = b"X-Odd: 1\r\n"
"""A header that makes a request anything but plain."""


def value_request(key: bytes, more: bytes = b"") -> bytes:
    """The request for the value of `key`."""
    return b"GET /v1/value?key=%b HTTP/1.1\r\n%b%b\r\n" % (quote(key, safe="/").encode(), HEAD, more)


def range_request(key: bytes, more: bytes = b"", **options: bool) -> bytes:
    """The request for `key` in etcd's words, by default from memory."""
    body = orjson.dumps({"key": b64encode(key).decode(), **(options or {"serializable": True})})
    length = b"Content-Length: %d\r\n" % len(body)
    return b"POST /v3/kv/range HTTP/1.1\r\n%b%b%b\r\n%b" % (HEAD, length, more, body)


@contextmanager
def asking(stand: Stand) -> Iterator[Asking]:
    """One connection that is kept."""
    with connected(stand.socket) as connection, connection.makefile("rb") as answers:
        yield Asking(connection, answers)


class Asking:
    """Sends bytes, and reads one answer after the other."""

    def __init__(self, connection: socket.socket, answers: BinaryIO) -> None:
        self._connection = connection
        self._answers = answers

    def __call__(self, *pieces: bytes) -> Answer:
        """The answer to what is sent in pieces."""
        for piece in pieces:
            self.send(piece)
        return self.answer()

    def ended(self) -> bool:
        """Whether the other side has hung up, for which it has a moment."""
        ready, _, _ = select.select([self._connection], [], [], 0.02)
        return bool(ready) and not self._connection.recv(1, socket.MSG_PEEK)

    def send(self, piece: bytes) -> None:
        """Ask, and do not wait."""
        self._connection.sendall(piece)

    def answer(self) -> Answer:
        """The next one."""
        status, headers = read_head(self._answers.readline)
        return Answer(status, headers, self._answers.read(int(headers["Content-Length"])))


def answered(stand: Stand, request: bytes, rights: Rights = EVERYTHING) -> bytes | Read | None:
    """What comes of `request`."""
    return stand.on_loop(
        partial(Quick(stand.context.sources, stand.context.upstream).answer, request, rights)
    )


def quick(answer: Answer) -> bool:
    """Whether it came without aiohttp, which says who it is."""
    return "Server" not in answer.headers


def told(answer: Answer) -> tuple[int, dict[str, str], bytes]:
    """All of an answer but what only aiohttp adds, and when it was made."""
    headers = {name.lower(): value for name, value in answer.headers.items()}
    for name in ("server", "date", "syncd-at-ms"):
        headers.pop(name, None)
    return answer.status, headers, answer.body


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(key=st.binary(max_size=9).map(b"/".__add__), value=st.binary(max_size=300))
def test_both_give_the_same_answer(stand: Stand, key: bytes, value: bytes) -> None:
    """Whatever key and value are, headers included."""
    stand.write((key, value))
    with asking(stand) as ask:
        for request in (value_request, range_request):
            plain, odd = ask(request(key)), ask(request(key, UNKNOWN))
            assert (quick(plain), quick(odd)) == (True, False)
            assert told(plain) == told(odd)


@pytest.mark.parametrize(("size", "is_quick"), [(CHUNK, True), (CHUNK + 1, False), (9 * CHUNK, False)])
def test_large_values_are_not_for_it(stand: Stand, size: int, is_quick: bool) -> None:
    """All of their bytes would be held in memory for who does not read."""
    stand.write((b"/large", b"x" * size))
    with asking(stand) as ask:
        answer = ask(value_request(b"/large"))
        assert (quick(answer), answer.body) == (is_quick, b"x" * size)
        assert quick(ask(value_request(b"/a")))
    assert isinstance(answered(stand, range_request(b"/large")), bytes) == is_quick


def test_a_value_that_has_become_large(stand: Stand) -> None:
    """While a linearizable read of it waited: then the answer is aiohttp's."""
    stand.source.etcd = 11
    with connected(stand.socket) as connection, connection.makefile("rb") as answers:
        connection.sendall(range_request(b"/a", serializable=False))
        wait_until(lambda: stand.source.asked, "etcd is asked")
        stand.write((b"/a", b"x" * (CHUNK + 1)))
        status, headers = read_head(answers.readline)
        assert (status, headers["Transfer-Encoding"]) == (200, "chunked")


@pytest.mark.parametrize(
    "request_",
    [
        value_request(b"/none"),
        value_request(b"/other/range"),
        value_request(b""),
        value_request(b"/a").replace(b"/a ", b"/a&max_age_ms=1 "),
        value_request(b"/a", b"If-None-Match: *\r\n"),
        value_request(b"/a").replace(b"*/*", b"application/json"),
        value_request(b"/a").replace(b"GET", b"HEAD", 1),
        value_request(b"/a", b"Host: localhost\r\n"),
        value_request(b"/a").replace(b"localhost", b"evil.example"),
        value_request(b"/a", b"Connection: close\r\n"),
        value_request(b"/a", b"Content-Length: 0\r\nContent-Length: 0\r\n"),
        value_request(b"/a", b"Content-Length: +0\r\n"),
        value_request(b"/a", b" folded\r\n"),
        value_request(b"/a").replace(b"HTTP/1.1", b"HTTP/1.0"),
        value_request(b"/a").replace(b"\r\n", b"\n"),
        value_request(b"/a") + b"G",
        value_request(b"/a")[:-1],
        value_request(b"/" + b"a" * MOST),
        range_request(b""),
        range_request(b"/none/such").replace(b"serializable", b"serialisable"),
        range_request(b"/a").replace(b'"serializable":true', b'"range_end":"AA"   '),
        range_request(b"/a").replace(b"true", b"null"),
        range_request(b"/a").replace(b"true}", b"true]"),
        range_request(b"/a").replace(b"/kv/range", b"/kv/txnXX"),
        range_request(b"/a")[:-1],
        b"",
        b"\r\n\r\n",
    ],
)
def test_anything_else_is_left_to_aiohttp(stand: Stand, request_: bytes) -> None:
    """What needs thought, and whatever would be a refusal."""
    assert answered(stand, value_request(b"/a"))
    assert answered(stand, request_) is None


def test_rights_are_minded(stand: Stand) -> None:
    """A key that may not be read is refused like one that is not there: not here."""
    for request in (value_request(b"/a"), range_request(b"/a")):
        assert answered(stand, request, Rights([KeyRange(b"/a")]))
        assert answered(stand, request, Rights([KeyRange(b"/b")])) is None


def test_heads_do_not_fill_the_memory(stand: Stand) -> None:
    """As many different ones as anybody likes."""
    answerer = Quick(stand.context.sources, stand.context.upstream)
    for number in range(1000):
        request = value_request(b"/a").replace(b"curl/8", b"curl/%d" % number)
        assert stand.on_loop(partial(answerer.answer, request, EVERYTHING))
    assert len(answerer._heads) <= 256


def test_they_take_turns(stand: Stand) -> None:
    """On one connection, whole requests go to whoever can answer them."""
    with asking(stand) as ask:
        for _ in range(3):
            assert quick(ask(value_request(b"/a")))
            assert not quick(ask(value_request(b"/a", UNKNOWN)))
            assert quick(ask(range_request(b"/a")))
            assert not quick(ask(range_request(b"/a", UNKNOWN)))


def test_a_name_that_comes_twice_is_not_plain(stand: Stand) -> None:
    """etcd refuses it, and so does what reads requests to the letter."""
    member = b'"key":"L2E=",'
    request = range_request(b"/a").replace(b"\r\n\r\n{", b"\r\n\r\n{" + member)
    length = len(request.partition(b"\r\n\r\n")[2])
    request = request.replace(b"Length: %d" % (length - len(member)), b"Length: %d" % length)
    assert is_whole(request)
    with asking(stand) as ask:
        assert ask(request).status == 400


def test_after_a_request_in_pieces_the_connection_is_aiohttps(stand: Stand) -> None:
    """What looks like the beginning of a request may be the middle of one."""
    with asking(stand) as ask:
        assert quick(ask(value_request(b"/a")))
        inner = value_request(b"/b")
        outer = b"POST /v1/value HTTP/1.1\r\n%bContent-Length: %d\r\n\r\n" % (HEAD, len(inner))
        assert ask(outer).status == 400  # before its body came
        assert not quick(ask(inner, value_request(b"/a")))


def test_requests_sent_at_once_are_answered_in_their_order(stand: Stand) -> None:
    """Pipelining, plain ones and others mixed."""
    stand.write((b"/a", b"A"), (b"/b", b"B"))
    wanted = [b"/a", b"/b"] * 20
    with asking(stand) as ask:
        sent = b"".join(
            value_request(key, UNKNOWN if number % 3 else b"") for number, key in enumerate(wanted)
        )
        bodies = [ask(sent).body, *(ask.answer().body for _ in wanted[1:])]
        assert bodies == [b"A", b"B"] * 20


def test_nobody_is_answered_more_than_they_read(stand: Stand) -> None:
    """Whoever asks and never reads fills the socket and some buffer, not the memory."""
    stand.write((b"/a", bytes(1 << 20)))
    with connected(stand.socket, seconds=1.0) as connection, pytest.raises(TimeoutError):
        connection.sendall(value_request(b"/a") * 10_000)
    assert stand.get("value", key="/a").status == 200


def test_a_linearizable_read_waits_until_the_mirror_has_it(stand: Stand) -> None:
    """What etcd had when it was asked; what is asked meanwhile on the same connection comes after it."""
    assert isinstance(answered(stand, range_request(b"/a", serializable=False)), Read)
    stand.source.etcd = stand.source.store.revision + 1
    with asking(stand) as ask:
        ask.send(range_request(b"/a", serializable=False))
        wait_until(lambda: stand.source.hurried, "it waits")
        ask.send(value_request(b"/b"))
        stand.write((b"/a", b"new"))
        first, second = ask.answer(), ask.answer()
        assert first.json["kvs"][0]["value"] == b64encode(b"new").decode()
        assert quick(first)
        assert second.body == b"2"
        stand.source.etcd = stand.source.store.revision
        plain = ask(range_request(b"/a", serializable=False))
        assert told(plain) == told(ask(range_request(b"/a", UNKNOWN, serializable=False)))
        assert (quick(plain), stand.source.asked) == (True, 3)


def test_without_etcd_a_linearizable_read_is_refused(stand: Stand, monkeypatch: pytest.MonkeyPatch) -> None:
    """By aiohttp, which asks once more; and when etcd says nothing at all, after a while."""
    monkeypatch.setattr(linearizable, "PATIENCE", 0.05)
    monkeypatch.setattr(kv, "DEADLINE", 0.05)
    with asking(stand) as ask:
        for etcd in (Unanswered("etcd is down"), None):
            stand.source.etcd = etcd
            answer = ask(range_request(b"/a", serializable=False))
            assert (answer.status, answer.json["code"], quick(answer)) == (503, 14, False)
        stand.source.etcd = stand.source.store.revision
        assert quick(ask(range_request(b"/a", serializable=False)))


def test_nobody_is_waited_for_who_hung_up(stand: Stand) -> None:
    """The question is given up, and so is looking at what changes."""
    stand.source.etcd = stand.source.store.revision + 1
    listeners = len(stand.source.store._listeners)
    with asking(stand) as ask:
        ask.send(range_request(b"/a", serializable=False))
        wait_until(lambda: len(stand.source.store._listeners) > listeners, "it waits")
    wait_until(lambda: len(stand.source.store._listeners) == listeners, "it waits no more")
    stand.write((b"/a", b"new"))
    assert not stand.accidents


ODD = [
    b"Content-Length: 3",
    b"Content-Length: 0",
    b"content-length:3",
    b"Content-Length-X: 3",
    b"X-Content-Length: 3",
    b"Transfer-Encoding-X: chunked",
    b"X: Content-Length: 3",
    b"X:",
    b"Accept: */*",
]


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.sampled_from(ODD), max_size=3), st.sampled_from([b"", b"GET", b"GET /", b"\r\n"]))
def test_what_is_whole_is_so_for_aiohttp_too(stand: Stand, fields: list[bytes], rest: bytes) -> None:
    """Nothing of it stays in aiohttp's parser, where it would be the beginning of what comes next."""
    head = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n" + b"".join(field + b"\r\n" for field in fields)
    request = head + b"\r\n" + rest
    if not is_whole(request):
        return
    with asking(stand) as ask:
        assert ask(request).status in (200, 400)
        if ask.ended():
            return
        assert ask(value_request(b"/b")).body == b"2"
        assert ask(value_request(b"/a", UNKNOWN)).status == 200


def test_what_is_whole() -> None:
    """One request, to its last byte."""
    assert is_whole(value_request(b"/a"))
    assert is_whole(range_request(b"/a"))
    assert not is_whole(value_request(b"/a") * 2)
    assert not is_whole(range_request(b"/a")[:-1])
    assert not is_whole(b"GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n")
    assert not is_whole(b"GET / HTTP/1.1\r\nContent-Length: 0\r\nContent-Length: 0\r\n\r\n")
    assert not is_whole(b"GET / HTTP/1.1\r\n")
    assert not is_whole(b"GET / HTTP/1.1\r\nContent-Length-X: 3\r\n\r\nGET")
