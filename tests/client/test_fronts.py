"""Both fronts over a real Unix socket: faults that a real daemon cannot be made to have."""

import errno
import os
import socket
import struct
from collections.abc import Awaitable, Callable
from contextlib import closing
from pathlib import Path
from threading import Timer

import msgspec
import pytest

from syncd.client import (
    AsyncClient,
    Client,
    ClientError,
    CompactedError,
    ConnectError,
    CutError,
    NotFoundError,
    NotMirroredError,
    NotReadyError,
    ProtocolError,
    SilenceError,
    TooStaleError,
)
from syncd.records import Record
from tests.client.fake import CHUNKED, RECORD, FakeDaemon, chunks, head, refusal, streamed, whole
from tests.client.fronts import Front

HEAD = b'{"revision":7,"epoch":"e1","count":1,"state":"live","age_ms":3}\n'
LINE = b'{"key":"/a","value":"x","create_revision":5,"mod_revision":7,"version":2,"lease":9}\n'
END = b'{"end":true,"count":1}\n'
A = Record(b"/a", b"x", 5, 7, 2, 9)
PACKED = msgspec.msgpack.encode(([b"/a"], [b"x"], struct.pack("<4q", 5, 7, 2, 9)))
BLOCK = b'{"block":%d}\n' % len(PACKED) + PACKED
NOTHING = msgspec.msgpack.encode(([], [], b""))
EMPTY_BLOCK = b'{"block":%d}\n' % len(NOTHING) + NOTHING
X = whole(b"x", headers=RECORD)

Ask = Callable[[AsyncClient], Awaitable[object]]
ASKS: list[Ask] = [
    lambda client: client.get("/a"),
    lambda client: client.list("/"),
    lambda client: client.status(),
    lambda client: client.snapshot("/").open(),
    lambda client: client.watch("/").open(),
]


async def test_a_value_comes_with_its_record_and_freshness(front: Front, path: Path) -> None:
    """The ordinary read."""
    with FakeDaemon(path, [X]) as daemon:
        async with front(daemon.path) as client:
            found = await client.get("/a")
    assert found.record == Record(b"/a", b"x", 5, 7, 2, 0)
    assert (found.freshness.revision, found.freshness.epoch, found.freshness.age_ms) == (7, "e1", 12)


async def test_what_a_read_demands_is_asked_for(front: Front, path: Path) -> None:
    """Keyword arguments become the API's parameters."""
    with FakeDaemon(path, [X, streamed(HEAD, LINE, END)]) as daemon:
        async with front(daemon.path) as client:
            await client.get("/a", max_age=1.5, min_revision=7, wait=2, linearizable=True)
            assert await client.list("/", max_age=1) == [b"/a"]
    demanded = "max_age_ms=1500&min_revision=7&wait_ms=2000&linearizable=true"
    assert daemon.requests[0].startswith(f"GET /v1/value?key=/a&{demanded} ")
    assert daemon.requests[1].startswith("GET /v1/snapshot?prefix=/&keys_only=true&max_age_ms=1000 ")


async def test_whole_answers_share_a_connection(front: Front, path: Path) -> None:
    """The next read needs no second connection, also after a refusal."""
    script = [X, refusal(404, "not_found"), streamed(HEAD, LINE, END), whole(b"y", headers=RECORD)]
    with FakeDaemon(path, script) as daemon:
        async with front(daemon.path) as client:
            assert (await client.get("/a")).record.value == b"x"
            with pytest.raises(NotFoundError):
                await client.get("/b")
            assert await client.list("/") == [b"/a"]
            assert (await client.get("/a")).record.value == b"y"


async def test_a_connection_that_died_while_idle_is_replaced(front: Front, path: Path) -> None:
    """A restart of the daemon between two reads goes unnoticed."""
    with FakeDaemon(path, [X], [X]) as daemon:
        async with front(daemon.path) as client:
            await client.get("/a")
            assert (await client.get("/a")).record.value == b"x"
            assert len(daemon.requests) == 2


async def test_a_connection_that_the_daemon_announces_to_close_is_replaced(front: Front, path: Path) -> None:
    """`Connection: close` leads to a new one."""
    answer = whole(b"x", headers={**RECORD, "Connection": "close"})
    with FakeDaemon(path, [answer, answer], [answer]) as daemon:
        async with front(daemon.path) as client:
            await client.get("/a")
            await client.get("/a")
            with pytest.raises(CutError):
                await client.get("/a")


async def test_a_daemon_that_hangs_up_without_an_answer_is_asked_only_once_more(
    front: Front, path: Path
) -> None:
    """A fresh connection that is cut is an error, not a loop."""
    with FakeDaemon(path, [X]) as daemon:
        async with front(daemon.path) as client:
            await client.get("/a")
            with pytest.raises(CutError):
                await client.get("/a")


async def test_a_forked_child_makes_its_own_connection(
    front: Front, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Parent and child would take each other's answers."""
    with FakeDaemon(path, [X], [X]) as daemon:
        async with front(daemon.path) as client:
            await client.get("/a")
            pid = os.getpid()
            monkeypatch.setattr(os, "getpid", lambda: pid + 1)
            await client.get("/a")
            assert len(daemon.requests) == 2


async def test_refusals_carry_what_came_with_them(front: Front, path: Path) -> None:
    """Retry-After and oldest_revision reach the reader."""
    with FakeDaemon(
        path,
        [refusal(503, "not_ready", {"Retry-After": "1"})],
        [refusal(410, "compacted", oldest_revision=40)],
    ) as daemon:
        client = front(daemon.path)
        with pytest.raises(NotReadyError) as not_ready:
            await client.snapshot("/").open()
        assert not_ready.value.retry_after == 1
        with pytest.raises(CompactedError) as compacted:
            await client.watch("/", after=1).open()
        assert compacted.value.oldest_revision == 40


async def test_a_snapshot_gives_its_records(front: Front, path: Path) -> None:
    """Lines may be split between chunks; all messages, and their lines, are there for who wants them."""
    body = HEAD + LINE + END
    pieces = streamed(body[:50], body[50:120], body[120:])
    with FakeDaemon(path, [pieces], [pieces]) as daemon:
        async with front(daemon.path).snapshot("/") as snapshot:
            assert [record async for record in snapshot] == [A]
            assert snapshot.freshness.revision == 7
            assert await snapshot.receive() is None
        async with front(daemon.path).snapshot("/", as_json=True) as snapshot:
            lines = [snapshot.line + b"\n" async for _ in snapshot.messages()]
        assert lines == [HEAD, LINE, END]


async def test_records_may_come_many_at_a_time(front: Front, path: Path) -> None:
    """As they are asked for; a message of a block has no line."""
    with FakeDaemon(path, [streamed(HEAD[:9], HEAD[9:] + BLOCK[:20], BLOCK[20:] + END)]) as daemon:
        async with front(daemon.path).snapshot("/") as snapshot:
            told = [(message, snapshot.line) async for message in snapshot.messages()]
        assert "Accept: application/vnd.syncd.blocks\r\n" in daemon.requests[0]
    assert [line for _, line in told] == [HEAD.rstrip(), b"", END.rstrip()]
    assert told[1][0] == A


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (HEAD + BLOCK[:30], CutError),
        (HEAD + BLOCK, CutError),
        (HEAD + BLOCK + BLOCK + END, CutError),
        (BLOCK + HEAD, ProtocolError),
        (HEAD + EMPTY_BLOCK + END, ProtocolError),
        (HEAD + BLOCK + END + BLOCK, ProtocolError),
    ],
    ids=["cut inside", "cut after", "twice", "before the head", "empty", "after the end"],
)
async def test_blocks_that_are_not_whole_or_out_of_place_are_noticed(
    front: Front, path: Path, body: bytes, error: type[ClientError]
) -> None:
    """As lines that are."""
    with FakeDaemon(path, [streamed(body)]) as daemon:
        async with front(daemon.path).snapshot("/") as snapshot:
            with pytest.raises(error):
                [message async for message in snapshot.messages()]


async def test_freshness_is_known_once_it_was_told(front: Front, path: Path) -> None:
    """Before that there is none to make up."""
    with pytest.raises(RuntimeError, match="inside a `with`"):
        _ = front(str(path)).snapshot("/").freshness


@pytest.mark.parametrize(
    "answer",
    [
        head(headers=CHUNKED) + chunks(HEAD + LINE),
        head(headers=CHUNKED) + chunks(HEAD + LINE + END),
        head(headers=CHUNKED) + b"500\r\n" + HEAD,
        streamed(HEAD + LINE),
        streamed(HEAD + LINE + LINE + END),
    ],
    ids=[
        "between chunks",
        "before the last chunk",
        "inside a chunk",
        "without an end line",
        "with a wrong count",
    ],
)
async def test_a_snapshot_that_is_cut_is_never_taken_for_whole(
    front: Front, path: Path, answer: bytes
) -> None:
    """Whatever is missing, the iteration ends with an error, and so does a list of keys."""
    with FakeDaemon(path, [answer], [answer]) as daemon:
        async with front(daemon.path).snapshot("/") as snapshot:
            with pytest.raises(CutError):
                [record async for record in snapshot]
            with pytest.raises(CutError):  # asked again, it is no more complete
                await snapshot.receive()
        async with front(daemon.path) as client:
            with pytest.raises(CutError):
                await client.list("/")


@pytest.mark.parametrize("answer", [X, refusal(404, "not_found")], ids=["a key", "no key"])
async def test_a_wait_ends_when_the_revision_is_there(front: Front, path: Path, answer: bytes) -> None:
    """Whether a key has the prefix's name is all the same."""
    with FakeDaemon(path, [answer]) as daemon:
        async with front(daemon.path) as client:
            assert (await client.wait(7, "/", timeout=9)).revision == 7
    assert daemon.requests[0].startswith("GET /v1/value?key=/&min_revision=7&wait_ms=")


async def test_a_wait_for_all_keys_asks_for_the_first_of_them(front: Front, path: Path) -> None:
    """etcd has no empty key."""
    with FakeDaemon(path, [X]) as daemon:
        async with front(daemon.path) as client:
            await client.wait(7, "")
    assert "?key=%00&" in daemon.requests[0]


@pytest.mark.parametrize(("seconds", "most"), [(9, 9_000), (1e6, 600_000)], ids=["short", "long"])
async def test_a_wait_is_as_long_as_the_daemon_lets_it_be(
    front: Front, path: Path, seconds: float, most: int
) -> None:
    """A longer one takes several requests."""
    with FakeDaemon(path, [X]) as daemon:
        async with front(daemon.path) as client:
            await client.wait(7, "/", timeout=seconds)
    asked = int(daemon.requests[0].partition("wait_ms=")[2].split()[0])
    assert most - 1000 < asked <= most


async def test_a_wait_outlives_the_daemon(front: Front, path: Path) -> None:
    """What passes does not end it: a cut, a start, a wait that the daemon ended."""
    scripts = [[b""], [refusal(503, "not_ready")], [refusal(503, "too_stale")], [X]]
    with FakeDaemon(path, *scripts) as daemon:
        async with front(daemon.path) as client:
            assert (await client.wait(7, "/")).revision == 7
    assert len(daemon.requests) == 4


async def test_a_wait_is_over_after_its_time(front: Front, path: Path) -> None:
    """With what the last attempt met."""
    with FakeDaemon(path, [refusal(503, "too_stale")]) as daemon:
        async with front(daemon.path) as client:
            with pytest.raises(TooStaleError):
                await client.wait(7, "/", timeout=0)
    async with front(str(path)) as client:
        with pytest.raises(ConnectError):
            await client.wait(7, "/", timeout=0.05)


async def test_a_wait_for_what_is_not_mirrored_is_over_at_once(front: Front, path: Path) -> None:
    """No time would help."""
    with FakeDaemon(path, [refusal(404, "not_mirrored")]) as daemon:
        async with front(daemon.path) as client:
            with pytest.raises(NotMirroredError):
                await client.wait(7, "/")
    assert len(daemon.requests) == 1


@pytest.mark.parametrize("ask", ASKS, ids=["get", "list", "status", "snapshot", "watch"])
async def test_a_daemon_that_does_not_answer_is_given_up(front: Front, path: Path, ask: Ask) -> None:
    """Nothing within the time-out, on a connection that the kernel made."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        with pytest.raises(SilenceError, match=r"said nothing for 0\.05 s"):
            await ask(front(str(path), timeout=0.05))


async def test_a_call_may_have_a_timeout_of_its_own(front: Front, path: Path) -> None:
    """And what the daemon is asked to wait comes on top."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        client = front(str(path))
        with pytest.raises(SilenceError, match=r"for 0\.05 s"):
            await client.get("/a", timeout=0.05)
        with pytest.raises(SilenceError, match=r"for 0\.07 s"):
            await client.get("/a", min_revision=7, wait=0.02, timeout=0.05)


async def test_a_full_queue_of_connections_is_waited_for(front: Front, path: Path) -> None:
    """The kernel says at once that there is no room; there may be, a moment later."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen(0)
        first = socket.socket(socket.AF_UNIX)
        with closing(first):
            first.connect(str(path))
            with pytest.raises(ConnectError) as caught:
                await front(str(path), timeout=0.05).get("/a")
            assert caught.value.errno == errno.EAGAIN
            making_room = Timer(0.05, _answer_the_second, (listener,))
            making_room.start()
            async with front(str(path)) as client:
                assert (await client.get("/a")).record.value == b"x"
            making_room.join()


def _answer_the_second(listener: socket.socket) -> None:
    with listener.accept()[0], listener.accept()[0] as second:
        second.recv(65536)
        second.sendall(X)


@pytest.mark.parametrize("ask", ASKS, ids=["get", "list", "status", "snapshot", "watch"])
@pytest.mark.parametrize(
    "stranger",
    [b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", b"220 mail ready\r\n\r\n"],
    ids=["another web server", "no web server"],
)
async def test_something_else_behind_the_socket_is_noticed(
    front: Front, path: Path, ask: Ask, stranger: bytes
) -> None:
    """An answer without our headers, and one that is not HTTP."""
    with FakeDaemon(path, [stranger]) as daemon, pytest.raises(ProtocolError):
        async with front(daemon.path) as client:
            await ask(client)


def _missing(_: Path) -> None:
    """Leave nothing there."""


def _left_over(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))


@pytest.mark.parametrize(
    ("prepare", "number"), [(_missing, errno.ENOENT), (_left_over, errno.ECONNREFUSED)], ids=["no", "a dead"]
)
async def test_a_socket_that_nobody_serves_is_an_error(
    front: Front, path: Path, prepare: Callable[[Path], None], number: int
) -> None:
    """Missing, or left over from a daemon that died."""
    prepare(path)
    with pytest.raises(ConnectError) as caught:
        await front(str(path)).get("/a")
    assert (caught.value.errno, caught.value.path) == (number, str(path))


async def test_a_socket_path_that_is_too_long_is_an_error(front: Front) -> None:
    """The kernel takes 107 bytes."""
    with pytest.raises(ConnectError):
        await front("/" + "x" * 200).get("/a")


def test_the_socket_comes_from_the_environment(front: Front, monkeypatch: pytest.MonkeyPatch) -> None:
    """$SYNCD_SOCKET, then the usual place."""
    monkeypatch.setenv("SYNCD_SOCKET", "/elsewhere")
    assert front().socket_path == "/elsewhere"
    monkeypatch.delenv("SYNCD_SOCKET")
    assert Client().socket_path == "/run/syncd/syncd.sock"
