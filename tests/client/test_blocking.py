"""What only the blocking front has: threads, and a stop from outside."""

import math
import os
import signal
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Self

import pytest

from syncd.client import Client, Connected, Interrupted, SnapshotHead
from tests.client.fake import CHUNKED, FakeDaemon, chunks, echoing, head

PUT_8 = b'{"revision":8,"events":[{"type":"put","kv":{"key":"/a","mod_revision":8}}]}\n'


class Hanging:
    """A daemon that answers the first request with a watch's beginning, and then says nothing."""

    def __init__(self, path: Path, *lines: bytes) -> None:
        self.left = threading.Event()
        """The reader has gone."""
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen()
        self._answer = head(headers=CHUNKED) + chunks(*lines)
        self._thread = threading.Thread(target=self._serve, name="hanging daemon")

    def _serve(self) -> None:
        connection, _ = self._listener.accept()
        with connection:
            connection.recv(65536)
            connection.sendall(self._answer)
            while connection.recv(65536):
                pass
        self.left.set()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.join(10)
        self._listener.close()


def test_threads_share_a_client(path: Path) -> None:
    """Each gets the answers to its own questions; connections are as many as threads, at most."""
    threads, rounds = 4, 50
    with echoing(path) as connections, Client(str(path)) as client, ThreadPoolExecutor(threads) as pool:

        def ask(number: int) -> bool:
            return all(
                client.get(f"/{number}/{count}").record.value == b"/%d/%d" % (number, count)
                for count in range(rounds)
            )

        assert all(pool.map(ask, range(threads)))
        assert connections() <= threads


def test_a_watch_is_stopped_from_another_thread(path: Path) -> None:
    """A wait for what never comes ends, and the connection with it."""
    with Hanging(path, PUT_8) as daemon, ThreadPoolExecutor() as pool:
        watch = Client(str(path)).watch("/", heartbeat=60)
        assert len([watch.receive(), watch.receive()]) == 2
        waiting = pool.submit(list, watch.messages())
        watch.stop()
        assert waiting.result(10) == []
        assert daemon.left.wait(10)


def test_a_watch_that_was_stopped_before_tells_nothing(path: Path) -> None:
    """Not even what has come already."""
    with Hanging(path, PUT_8), Client(str(path)).watch("/") as watch:
        watch.stop()
        assert list(watch.messages()) == []
    watch = Client(str(path)).watch("/")
    watch.stop()
    with watch:  # it does not even look whether there is a daemon
        assert list(watch) == []


def test_an_attempt_to_connect_is_stopped(path: Path) -> None:
    """Also while it waits for the next one, and in a `with`."""
    watch = Client(str(path)).watch("/", patience=math.inf)
    with ThreadPoolExecutor() as pool:
        told = [watch.receive() for _ in range(4)]
        assert all(isinstance(one, Interrupted) for one in told)
        opening = pool.submit(watch.open)
        watch.stop()
        opening.result(10)
    assert list(watch) == []


def test_a_signal_handler_may_stop_a_watch(path: Path) -> None:
    """As a service does that is told to end."""
    before = signal.getsignal(signal.SIGUSR1)
    watch = Client(str(path)).watch("/", heartbeat=60)
    signal.signal(signal.SIGUSR1, lambda *_: watch.stop())
    try:
        with Hanging(path), watch:
            assert isinstance(watch.receive(), Connected)
            threading.Timer(0.02, os.kill, (os.getpid(), signal.SIGUSR1)).start()
            assert watch.receive() is None
    finally:
        signal.signal(signal.SIGUSR1, before)


def test_an_exception_in_a_wait_ends_the_answer(path: Path) -> None:
    """As with Ctrl-C: a connection with half an answer on it is not used again."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGUSR1, interrupt)
    try:
        with Hanging(path) as daemon, Client(str(path)) as client:
            threading.Timer(0.02, os.kill, (os.getpid(), signal.SIGUSR1)).start()
            with pytest.raises(KeyboardInterrupt):
                client.status()
            assert daemon.left.wait(10)
    finally:
        signal.signal(signal.SIGUSR1, before)


def test_a_forked_child_goes_on_with_a_watch_by_itself(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After what its parent had been told; and its stop is none of the parent's."""
    answer = head(headers=CHUNKED) + chunks(PUT_8)
    with FakeDaemon(path, [answer], [answer]) as daemon, Client(daemon.path).watch("/") as watch:
        assert len([watch.receive(), watch.receive()]) == 2
        pid = os.getpid()
        monkeypatch.setattr(os, "getpid", lambda: pid + 1)
        told = [watch.receive(), watch.receive()]
        assert isinstance(told[0], Interrupted)
        assert "forked" in str(told[0].error)
        assert isinstance(told[1], Connected)
        assert "&from=8&epoch=e1 " in daemon.requests[1]


def test_a_snapshot_is_waited_for_as_long_as_one_wants(path: Path) -> None:
    """With a timeout for this one message; others of the same client have their own."""
    begin = b'{"revision":7,"epoch":"e1","count":1,"state":"live","age_ms":3}\n'
    with Hanging(path, begin), Client(str(path)).snapshot("/") as snapshot:
        assert isinstance(snapshot.receive(timeout=9), SnapshotHead)
        for _ in range(2):
            with pytest.raises(TimeoutError, match="nothing came"):
                snapshot.receive(timeout=0.01)
