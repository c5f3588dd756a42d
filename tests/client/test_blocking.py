"""The blocking client over a real Unix socket: faults that a real daemon cannot be made to have."""

import errno
import os
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from syncd.client import (
    Bookmark,
    Client,
    ClosingError,
    CompactedError,
    Connected,
    ConnectError,
    CutError,
    NotFoundError,
    NotReadyError,
    Progress,
    ProtocolError,
    SilenceError,
)
from syncd.records import Record
from tests.client.fake import CHUNKED, RECORD, FakeDaemon, chunks, head, refusal, streamed, whole

HEAD = b'{"revision":7,"epoch":"e1","count":1,"state":"live","age_ms":3}\n'
LINE = b'{"key":"/a","value":"x","create_revision":5,"mod_revision":7,"version":2,"lease":9}\n'
END = b'{"end":true,"count":1}\n'
A = Record(b"/a", b"x", 5, 7, 2, 9)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Give a place for a socket."""
    return tmp_path / "s"


def test_a_value_comes_with_its_record_and_freshness(path: Path) -> None:
    """The ordinary read."""
    with FakeDaemon(path, [whole(b"x", headers=RECORD)]) as daemon, Client(daemon.path) as client:
        found = client.get("/a")
    assert found.record == Record(b"/a", b"x", 5, 7, 2, 0)
    assert (found.freshness.revision, found.freshness.epoch, found.freshness.age_ms) == (7, "e1", 12)


def test_reads_share_a_connection(path: Path) -> None:
    """The second read needs no second connection, also after a refusal."""
    script = [whole(b"x", headers=RECORD), refusal(404, "not_found"), whole(b"y", headers=RECORD)]
    with FakeDaemon(path, script) as daemon, Client(daemon.path) as client:
        assert client.get("/a").record.value == b"x"
        with pytest.raises(NotFoundError):
            client.get("/b")
        assert client.get("/a").record.value == b"y"


def test_a_connection_that_died_while_idle_is_replaced(path: Path) -> None:
    """A restart of the daemon between two reads goes unnoticed."""
    answer = whole(b"x", headers=RECORD)
    with FakeDaemon(path, [answer], [answer]) as daemon, Client(daemon.path) as client:
        client.get("/a")
        assert client.get("/a").record.value == b"x"
        assert len(daemon.requests) == 2


def test_a_connection_that_the_daemon_announces_to_close_is_replaced(path: Path) -> None:
    """`Connection: close` leads to a new one."""
    answer = whole(b"x", headers={**RECORD, "Connection": "close"})
    with FakeDaemon(path, [answer, answer], [answer]) as daemon, Client(daemon.path) as client:
        client.get("/a")
        client.get("/a")
        with pytest.raises(CutError):
            client.get("/a")


def test_a_daemon_that_hangs_up_without_an_answer_is_asked_only_once_more(path: Path) -> None:
    """A fresh connection that is cut is an error, not a loop."""
    with FakeDaemon(path, [whole(b"x", headers=RECORD)]) as daemon, Client(daemon.path) as client:
        client.get("/a")
        with pytest.raises(CutError):
            client.get("/a")


def test_a_forked_child_makes_its_own_connection(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Parent and child would take each other's answers."""
    answer = whole(b"x", headers=RECORD)
    with FakeDaemon(path, [answer], [answer]) as daemon, Client(daemon.path) as client:
        client.get("/a")
        pid = os.getpid()
        monkeypatch.setattr(os, "getpid", lambda: pid + 1)
        client.get("/a")
        assert len(daemon.requests) == 2


def test_refusals_carry_what_came_with_them(path: Path) -> None:
    """Retry-After and oldest_revision reach the reader."""
    with FakeDaemon(
        path,
        [refusal(503, "not_ready", {"Retry-After": "1"})],
        [refusal(410, "compacted", oldest_revision=40)],
    ) as daemon:
        client = Client(daemon.path)
        with pytest.raises(NotReadyError) as not_ready:
            client.snapshot("/").open()
        assert not_ready.value.retry_after == 1
        with pytest.raises(CompactedError) as compacted:
            client.watch("/", after=1).open()
        assert compacted.value.oldest_revision == 40


def test_a_snapshot_gives_its_records(path: Path) -> None:
    """Lines may be split between chunks."""
    body = HEAD + LINE + END
    with (
        FakeDaemon(path, [streamed(body[:50], body[50:120], body[120:])]) as daemon,
        Client(daemon.path).snapshot("/") as snapshot,
    ):
        assert list(snapshot) == [A]
        assert snapshot.freshness.revision == 7


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
def test_a_snapshot_that_is_cut_is_never_taken_for_whole(path: Path, answer: bytes) -> None:
    """Whatever is missing, the iteration ends with an error."""
    with (
        FakeDaemon(path, [answer]) as daemon,
        Client(daemon.path).snapshot("/") as snapshot,
        pytest.raises(CutError),
    ):
        list(snapshot)


def test_a_watch_ends_with_the_daemons_farewell(path: Path) -> None:
    """And knows then from where to resume."""
    farewell = b'{"error":{"code":"closing","message":"bye"}}\n'
    answer = streamed(b'{"revision":9,"progress":true}\n', farewell)
    with FakeDaemon(path, [answer]) as daemon, Client(daemon.path).watch("/", resume=False) as watch:
        messages = watch.messages()
        assert watch.bookmark == Bookmark(7, "e1")
        assert isinstance(next(messages), Connected)
        assert next(messages) == Progress(9, "e1")
        with pytest.raises(ClosingError):
            next(messages)
        assert watch.bookmark == Bookmark(9, "e1")


def test_a_watch_that_is_cut_says_so(path: Path) -> None:
    """A body without its end is no farewell."""
    answer = head(headers=CHUNKED) + chunks(b'{"revision":9,"progress":true}\n')
    with FakeDaemon(path, [answer]) as daemon, Client(daemon.path).watch("/", after=8, resume=False) as watch:
        assert watch.bookmark == Bookmark(8, "e1")
        with pytest.raises(CutError):
            list(watch)
        assert watch.bookmark == Bookmark(9, "e1")


def test_a_watch_that_stays_silent_is_given_up(path: Path) -> None:
    """Three heartbeats without a line: the daemon hangs."""
    with socket.socket(socket.AF_UNIX) as listener, ThreadPoolExecutor() as pool:
        listener.bind(str(path))
        listener.listen()
        watch = Client(str(path)).watch("/", heartbeat=0.01, resume=False)
        opening = pool.submit(watch.open)
        connection, _ = listener.accept()
        with connection:
            connection.sendall(head(headers=CHUNKED))
            opening.result()
            with watch, pytest.raises(SilenceError):
                list(watch)


def test_a_daemon_that_does_not_answer_is_given_up(path: Path) -> None:
    """Nothing within the time-out, on a connection that the kernel made."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        client = Client(str(path), timeout=0.05)
        for ask in (client.status, lambda: client.watch("/").open(), lambda: client.snapshot("/").open()):
            with pytest.raises(SilenceError):
                ask()


def test_something_else_behind_the_socket_is_noticed(path: Path) -> None:
    """An answer without our headers, and one that is not HTTP."""
    stranger = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"
    with FakeDaemon(path, [stranger], [stranger], [b"220 mail ready\r\n\r\n"]) as daemon:
        client = Client(daemon.path)
        for ask in (lambda: client.snapshot("/").open(), lambda: client.watch("/").open(), client.status):
            with pytest.raises(ProtocolError):
                ask()


def _missing(_: Path) -> None:
    """Leave nothing there."""


def _left_over(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))


@pytest.mark.parametrize(
    ("prepare", "number"), [(_missing, errno.ENOENT), (_left_over, errno.ECONNREFUSED)], ids=["no", "a dead"]
)
def test_a_socket_that_nobody_serves_is_an_error(
    path: Path, prepare: Callable[[Path], None], number: int
) -> None:
    """Missing, or left over from a daemon that died."""
    prepare(path)
    with pytest.raises(ConnectError) as caught:
        Client(str(path)).get("/a")
    assert (caught.value.errno, caught.value.path) == (number, str(path))


def test_a_socket_path_that_is_too_long_is_an_error() -> None:
    """The kernel takes 107 bytes."""
    with pytest.raises(ConnectError):
        Client("/" + "x" * 200).get("/a")


def test_the_socket_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """$SYNCD_SOCKET, then the usual place."""
    monkeypatch.setenv("SYNCD_SOCKET", "/elsewhere")
    assert Client().socket_path == "/elsewhere"
    monkeypatch.delenv("SYNCD_SOCKET")
    assert Client().socket_path == "/run/syncd/syncd.sock"
