"""What a mirror calls and hands out: decoders, callbacks, iterators; and its end."""

from __future__ import annotations

import json
import logging
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from syncd.client import (
    DecodeError,
    Mirror,
    NotReadyError,
    Update,
)
from syncd.client.mirror.keeper import Keeper
from tests.client.mirrors import SECONDS, mirror_of
from tests.daemon.process import Daemon
from tests.etcd import Etcd
from tests.serve.local import wait_until


@pytest.fixture
def daemon(new_etcd: Etcd) -> Iterator[Daemon]:
    """Run a daemon that mirrors `/` of an empty etcd."""
    with Daemon(new_etcd.endpoint) as running:
        yield running.wait_for("live")


def test_a_value_that_cannot_be_decoded_leaves_the_last_good_one(
    new_etcd: Etcd, daemon: Daemon, caplog: pytest.LogCaptureFixture
) -> None:
    """It is reported, and named until a good one comes."""
    new_etcd.txn_put([("/good", '{"x": 1}'), ("/bad", "{")])
    reports: list[DecodeError] = []
    socket = str(daemon.socket)
    with (
        Mirror("/", decode=json, socket_path=socket, on_error=reports.append) as mirror,
        Mirror("/", decode=json.loads, socket_path=socket) as logging_one,
    ):
        mirror.wait(new_etcd.revision(), SECONDS)
        assert dict(mirror) == {"/good": {"x": 1}}
        assert set(mirror.failures) == {"/bad"}
        mirror.wait(new_etcd.txn_put([("/good", "?"), ("/bad", "[]")]), SECONDS)
        assert dict(mirror) == {"/good": {"x": 1}, "/bad": []}
        assert set(mirror.failures) == {"/good"}
        mirror.wait(new_etcd.put("/good", "2"), SECONDS)
        assert dict(mirror) == {"/good": 2, "/bad": []}
        assert mirror.failures == {}
        wait_until(lambda: len(reports) == 2, "both are reported")
        logging_one.wait(mirror.revision, SECONDS)
    assert [(one.key, one.kept, type(one.__cause__)) for one in reports] == [
        ("/bad", False, json.JSONDecodeError),
        ("/good", True, json.JSONDecodeError),
    ]
    assert [record.message for record in caplog.records] == list(map(str, reports))


def test_a_callback_that_fails_is_reported_and_the_others_go_on(
    new_etcd: Etcd, daemon: Daemon, caplog: pytest.LogCaptureFixture
) -> None:
    """Also with the updates after that."""
    told: list[int] = []

    def fail(update: Update[bytes]) -> None:
        raise RuntimeError(f"no {update.revision}")

    mirror = Mirror("/", socket_path=str(daemon.socket), on_change=fail)
    unsubscribe = mirror.subscribe(lambda update: told.append(update.revision))
    with mirror:
        mirror.wait_ready(SECONDS)
        first = new_etcd.put("/a", "1")
        second = new_etcd.put("/a", "2")
        wait_until(lambda: second in told, "the other one was told")
        unsubscribe()
        third = new_etcd.put("/a", "3")
        wait_until(lambda: f"no {third}" in caplog.text, "the failing one was told")
    assert told[-2:] == [first, second]
    assert {record.levelno for record in caplog.records} == {logging.ERROR}


def test_changes_end_with_the_mirror(new_etcd: Etcd, daemon: Daemon) -> None:
    """What came before is still given; a thread that waits for more is woken."""
    with mirror_of(daemon) as mirror:
        mirror.wait_ready(SECONDS)
        changes = mirror.changes()
        with pytest.raises(TimeoutError):
            changes.next(0.01)
        mirror.wait(new_etcd.put("/a", "1"), SECONDS)
        read: list[Update[bytes]] = []
        reader = threading.Thread(target=lambda: read.extend(changes))
        reader.start()
        wait_until(lambda: read, "it was read")
    reader.join(SECONDS)
    assert not reader.is_alive()
    assert list(changes) == []
    with pytest.raises(NotReadyError, match="no more changes of '/': the mirror was closed"):
        changes.next()
    assert [(one.key, one.kind) for update in read for one in update.changes] == [("/a", "added")]
    assert mirror["/a"] == b"1"
    assert mirror.state == "stale"
    assert "closed" in str(mirror.error)


def test_a_mirror_that_is_lost_ends_with_a_warning(daemon: Daemon) -> None:
    """Its thread ends, too; nobody could use what it brings."""
    mirror = mirror_of(daemon, "/lost/").start().wait_ready(SECONDS)
    threads = [thread for thread in threading.enumerate() if thread.name == "mirror of /lost/"]
    assert len(threads) == 1
    lost = [mirror]
    del mirror
    with pytest.warns(ResourceWarning, match="was not closed"):
        lost.clear()
    threads[0].join(SECONDS)
    assert not threads[0].is_alive()


def test_a_mirror_may_be_closed_before_it_was_started_and_twice(tmp_path: Path) -> None:
    """Nothing comes of it; but once it was, it cannot be started again."""
    mirror = Mirror("/", socket_path=str(tmp_path / "none"))
    mirror.close()
    mirror.start()
    assert mirror.start() is mirror
    mirror.close()
    mirror.close()
    with pytest.raises(RuntimeError, match=r"cannot start the mirror of '/' again.*: the mirror was closed"):
        mirror.start()
    with pytest.raises(RuntimeError, match="again"), mirror:
        pass


def test_a_callback_cannot_wait_for_its_mirror(new_etcd: Etcd, daemon: Daemon) -> None:
    """For what is there already it need not wait; for anything else, it would wait for itself."""
    told: list[str] = []
    mirror = mirror_of(daemon)

    def note(update: Update[bytes]) -> None:
        mirror.wait_ready().wait(update.revision)
        changes = mirror.changes()
        for wait in (lambda: mirror.wait(1 << 40), changes.next):
            with pytest.raises(RuntimeError, match="would wait for itself") as caught:
                wait()
            told.append(str(caught.value))

    mirror.subscribe(note)
    with mirror:
        wait_until(lambda: len(told) == 2, "it was refused twice")
        mirror.wait(new_etcd.put("/a", "1"), SECONDS)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_thread_that_ends_says_so(daemon: Daemon, monkeypatch: pytest.MonkeyPatch) -> None:
    """A mirror that nobody keeps must not look as if it were kept."""
    with mirror_of(daemon) as mirror:
        mirror.wait_ready(SECONDS)
        changes = mirror.changes()
        monkeypatch.setattr(Keeper, "receive", lambda *_: 1 // 0)
        monkeypatch.setattr(Keeper, "fail", lambda *_: sys.exit())
        with pytest.raises(NotReadyError, match="the thread that kept the mirror has ended"):
            changes.next(SECONDS)
        assert (mirror.state, mirror.connected, str(mirror.error)) == (
            "stale",
            False,
            "the thread that kept the mirror has ended",
        )
