"""Readers that do harm, on purpose or not: all that they take is bounded, and others don't notice.

A good reader asks all the while, on a connection that it had before, and everything is answered.
"""

from __future__ import annotations

import json
import resource
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from http.client import HTTPConnection, HTTPResponse
from itertools import cycle
from pathlib import Path
from time import perf_counter, sleep

import pytest

from syncd.serve.places import MOST, RESERVED
from tests.daemon import impatient
from tests.daemon.process import Daemon
from tests.etcd import Etcd
from tests.serve.local import connected, raw, wait_until
from tests.serve.others import Other, needs_root, open_to_all

SLOWEST = 2.0
"""Seconds that an answer to the good reader may take: there are few processors here, and others use them."""

PIECE = b"x" * (1 << 16)
GIB = 1 << 30

TAKEN = 8 << 20
"""Bytes of what nobody wants that may have left the sender: what the kernel holds, and what is read ahead."""

GROWTH = 48 << 20
"""Bytes of memory that a nuisance may cost."""


@pytest.fixture
def daemon(new_etcd: Etcd) -> Iterator[Daemon]:
    """A daemon without patience that has a small value and a large one, and a good reader."""
    new_etcd.put("/a", "1")
    new_etcd.put("/large", "x" * (1 << 20))
    with Daemon(new_etcd.endpoint, module=impatient.MODULE) as daemon:
        daemon.wait_for("live")
        with good_reader(daemon):
            yield daemon
        daemon.assert_no_traceback()


@contextmanager
def good_reader(daemon: Daemon) -> Iterator[None]:
    """Somebody reads all the while, and is answered soon."""
    took: list[float] = []
    failures: list[BaseException] = []
    over = threading.Event()

    def read() -> None:
        try:
            with talking(daemon) as connection:
                while not over.is_set():
                    began = perf_counter()
                    connection.request("GET", "/v1/value?key=/a")
                    answer = connection.getresponse()
                    assert (answer.status, answer.read()) == (200, b"1")
                    took.append(perf_counter() - began)
                    sleep(0.002)  # a reader, not a load
        except BaseException as error:  # noqa: BLE001 - told to the test below
            failures.append(error)

    thread = threading.Thread(target=read)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
    assert not failures, failures
    took.sort()
    p50, p99 = (took[len(took) * percent // 100] * 1000 for percent in (50, 99))
    print(f"the good reader: {len(took)} reads, p50 {p50:.1f} ms, p99 {p99:.1f} ms")
    assert took[-1] < SLOWEST


@contextmanager
def talking(daemon: Daemon) -> Iterator[HTTPConnection]:
    """A connection to the daemon that goes on."""
    connection = HTTPConnection("localhost")
    with closing(connection):
        connection.sock = connected(daemon.socket)
        yield connection


@contextmanager
def nuisances(daemon: Daemon, number: int) -> Iterator[list[socket.socket]]:
    """Connections to the daemon."""
    with ExitStack() as stack:
        connections = [stack.enter_context(socket.socket(socket.AF_UNIX)) for _ in range(number)]
        for connection in connections:
            connection.connect(str(daemon.socket))  # with a time-out, it would not wait for a full queue
        yield connections


def send(connection: socket.socket, data: bytes) -> bool:
    """Whether the other side is still there."""
    try:
        connection.sendall(data)
    except ConnectionError:
        return False
    return True


def is_closed(connection: socket.socket) -> bool:
    """Whether the other side has hung up, whatever it said before."""
    connection.setblocking(False)
    try:
        while connection.recv(1 << 16):
            pass
    except BlockingIOError:
        return False
    except ConnectionError:
        pass
    return True


def wait_until_closed(connections: list[socket.socket], meanwhile: Callable[[], object] = bool) -> None:
    """Wait until the other side has hung up on all of them."""
    open_ones = list(connections)

    def all_closed() -> bool:
        meanwhile()
        open_ones[:] = [connection for connection in open_ones if not is_closed(connection)]
        return not open_ones

    wait_until(all_closed, "all are closed")


def open_files(daemon: Daemon) -> int:
    """How many descriptors it has."""
    return len(list(Path(f"/proc/{daemon.pid}/fd").iterdir()))


def test_ten_thousand_connections(new_etcd: Etcd) -> None:
    """Half of all places is one user's. Who comes beyond is told so, the log once, and all else goes on."""
    new_etcd.put("/a", "1")
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    hard = before[1]
    places = min(MOST, max(hard - RESERVED, hard // 2)) // 2
    number = min(10_000, hard - RESERVED)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    try:
        with Daemon(new_etcd.endpoint) as daemon:
            with good_reader(daemon.wait_for("live")), nuisances(daemon, number) as connections:
                for connection in connections[::10]:
                    send(connection, b"GET /v1/value?")
                [told] = daemon.wait_for_log("connections turned away")
                assert told["limit"] == 2 * places
                new_etcd.put("/b", "arrives")
                wait_until(lambda: is_closed(connections[-1]), "the last one is turned away")
                turned_away = sum(map(is_closed, connections))
                assert number - places <= turned_away < number - places + 10
                assert open_files(daemon) < places + 100
                connections[0].setblocking(True)
                connections[0].sendall(b"key=/b&linearizable=true HTTP/1.1\r\nHost: localhost\r\n\r\n")
                answer = HTTPResponse(connections[0])
                answer.begin()
                assert answer.read() == b"arrives"
            wait_until(lambda: daemon.ask("/healthz").status == 200, "there are places again")
            assert daemon.log("connections turned away") == [told]
            daemon.assert_no_traceback()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_who_is_turned_away(new_etcd: Etcd) -> None:
    """It is told why, in a proper answer."""
    limited = ("prlimit", f"--nofile={RESERVED + 40}:{RESERVED + 40}")
    with Daemon(new_etcd.endpoint, under=limited) as daemon, nuisances(daemon.wait_for("live"), 200):
        daemon.wait_for_log("connections turned away")
        head, _, body = raw(daemon.socket, b"").partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 503 ")
        assert b"\r\nRetry-After: 1\r\n" in head
        assert json.loads(body)["error"]["code"] == "overloaded"


@needs_root
def test_another_user_finds_a_place(new_etcd: Etcd) -> None:
    """However many connections somebody else has."""
    new_etcd.put("/a", "1")
    limited = ("prlimit", f"--nofile={RESERVED + 40}:{RESERVED + 40}")
    with Daemon(new_etcd.endpoint, under=limited) as daemon, nuisances(daemon.wait_for("live"), 200):
        open_to_all(daemon.socket)
        daemon.wait_for_log("connections turned away")
        assert Other(12345).get(daemon.socket, "value", key="/a").body == b"1"
        assert b" 503 " in raw(daemon.socket, b"")


def test_heads_that_trickle(daemon: Daemon) -> None:
    """A head that does not come to its end in time is given up; so is a connection that says nothing."""
    with nuisances(daemon, 100) as connections:
        letters = cycle(b"GET /v1/value?key=/a HTTP/1.1\r\nHost: localhost\r\nX-Filler: " + b"x" * 500)

        def trickle() -> None:
            piece = bytes([next(letters)])
            for connection in connections[::2]:
                connection.setblocking(True)
                send(connection, piece)

        wait_until_closed(connections, trickle)


def test_bodies_that_trickle(daemon: Daemon) -> None:
    """A body that does not come to its end in time is given up, and its sender is told."""
    with nuisances(daemon, 50) as connections:
        for connection in connections:
            connection.sendall(
                b"POST /v3/kv/range HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n{"
            )
        [first, *others] = connections
        answer = HTTPResponse(first)
        answer.begin()
        assert answer.status == 400
        assert b"did not come within 1 s" in answer.read()
        wait_until_closed(others, lambda: [send(connection, b" ") for connection in others])


def test_answers_that_nobody_takes(daemon: Daemon) -> None:
    """They are given up, with all that was to be sent; the log is told once."""
    before = open_files(daemon)
    calls = ("/v1/value?key=/large", "/v1/snapshot?prefix=/", "/v1/watch?prefix=/&snapshot=true")
    with nuisances(daemon, 60) as connections:
        for connection, call in zip(connections, cycle(calls), strict=False):
            connection.sendall(f"GET {call} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        [told] = daemon.wait_for_log("readers cut")
        wait_until(lambda: open_files(daemon) < before + 10, "all are closed")
        wait_until(lambda: daemon.status()["readers"] == 0, "no watch is open")
    assert daemon.log("readers cut") == [told]


def test_pipelined_requests_whose_answers_nobody_takes(daemon: Daemon) -> None:
    """They are not even read while they cannot be answered."""
    before, files = daemon.resident_bytes(), open_files(daemon)
    request = b"GET /v1/value?key=/large HTTP/1.1\r\nHost: localhost\r\n\r\n"
    with nuisances(daemon, 5) as connections:
        for connection in connections:
            connection.settimeout(0.1)
            with suppress(TimeoutError):
                while send(connection, request * 1000):
                    pass
        assert daemon.resident_bytes() < before + GROWTH
        wait_until(lambda: open_files(daemon) < files + 3, "they are closed")


def test_heads_without_end(daemon: Daemon) -> None:
    """Too much of one, in one header or in many or in none, is the end."""
    before = daemon.resident_bytes()
    line = b"GET /v1/value?key=/a HTTP/1.1\r\nHost: localhost\r\n"
    for head in (line, b""):
        for filler in (PIECE, b"X-Filler: x\r\n" * 5_000, b"\r\n" * 30_000):
            with nuisances(daemon, 5) as connections:
                for connection in connections:
                    send(connection, head)
                    sent = 0
                    while send(connection, filler):
                        sent += len(filler)
                        assert sent < TAKEN
    assert daemon.resident_bytes() < before + GROWTH


def test_a_gibibyte(daemon: Daemon) -> None:
    """Nobody reads that; the sender learns so long before its end."""
    before = daemon.resident_bytes()
    chunk = b"%x\r\n%b\r\n" % (len(PIECE), PIECE)
    for call in (
        b"POST /v3/kv/range",
        b"POST /v3/kv/put",
        b"POST /v3/watch",
        b"GET /v1/value?key=/a",
        b"GET /x",
    ):
        for length, piece in ((b"Content-Length: %d" % GIB, PIECE), (b"Transfer-Encoding: chunked", chunk)):
            with nuisances(daemon, 1) as [connection]:
                connection.sendall(b"%b HTTP/1.1\r\nHost: localhost\r\n%b\r\n\r\n" % (call, length))
                sent = 0
                while sent < GIB and send(connection, piece):
                    sent += len(piece)
                assert sent < GIB, (call, length)
                assert is_closed(connection)
    assert daemon.resident_bytes() < before + GROWTH
