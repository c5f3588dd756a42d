"""A mirror beside a real daemon and a real etcd."""

from __future__ import annotations

import math
import random
import threading
from collections.abc import Iterator
from signal import SIGCONT, SIGSTOP
from time import monotonic

import pytest

from syncd.client import (
    ConnectError,
    Mirror,
    NotMirroredError,
    NotReadyError,
    TooStaleError,
    Update,
)
from syncd.client.mirror import threaded
from syncd.client.mirror.keeper import Keeper
from tests.client.mirrors import HEARTBEAT, SECONDS, Follower, contents, mirror_of
from tests.daemon.process import Daemon
from tests.etcd import Etcd
from tests.serve.local import wait_until


@pytest.fixture
def daemon(new_etcd: Etcd) -> Iterator[Daemon]:
    """Run a daemon that mirrors `/` of an empty etcd, and keeps a copy on disk."""
    with Daemon(new_etcd.endpoint) as running:
        running.settings["cache"]["directory"] = str(running.directory / "copies")
        yield running.wait_for("live")


def write_at_random(etcd: Etcd, count: int, draw: random.Random) -> int:
    """Put, overwrite and delete a few keys again and again; the revision afterwards."""
    keys = [f"/k/{number}" for number in range(20)]
    for _ in range(count):
        match draw.randrange(10):
            case 0:
                etcd.delete_prefix(f"/k/{draw.randrange(2)}")
            case 1 | 2 | 3:
                etcd.delete(draw.choice(keys))
            case 4 | 5:
                etcd.txn_put([(key, str(draw.random())) for key in draw.sample(keys, 3)])
            case _:
                etcd.put(draw.choice(keys), str(draw.random()))
    return etcd.revision()


def age_of(mirror: Mirror[bytes]) -> float:
    """Its age, which there must be."""
    age = mirror.age
    assert age is not None
    return age


def test_a_mirror_is_a_mapping_of_what_etcd_has(new_etcd: Etcd, daemon: Daemon) -> None:
    """All of a mapping's ways to look at it."""
    new_etcd.txn_put([("/a", "1"), (b"/\xff", b"\xfe"), ("/käse", "3")])
    with mirror_of(daemon) as mirror:
        mirror.wait(new_etcd.revision(), SECONDS)
        expected = {"/a": b"1", "/\udcff": b"\xfe", "/käse": b"3"}
        assert mirror == expected
        assert dict(mirror) == dict(mirror.items()) == mirror.snapshot().copy() == expected
        assert set(mirror) == set(mirror.keys()) == set(expected)
        assert sorted(mirror.values()) == sorted(expected.values())
        assert (len(mirror), "/a" in mirror, "/b" in mirror, mirror.get("/b", 7)) == (3, True, False, 7)
        with pytest.raises(KeyError):
            mirror["/b"]
        assert (mirror.state, mirror.connected, mirror.error) == ("live", True, None)
        assert mirror.epoch == daemon.range_status()["epoch"]
        assert repr(mirror) == f"<Mirror of '/': 3 keys at revision {mirror.revision}, live>"


def test_random_writes_arrive_and_their_changes_tell_the_same(new_etcd: Etcd, daemon: Daemon) -> None:
    """With a daemon that is killed in between, and one that stops, beside the writing."""
    follower = Follower()
    draw = random.Random(6)
    with mirror_of(daemon) as mirror:
        mirror.wait_ready(SECONDS)
        changes = mirror.changes()
        mirror.subscribe(follower)
        follower.state.update(mirror.snapshot())
        read = dict(follower.state)
        for end in (daemon.kill, daemon.stop):
            mirror.wait(write_at_random(new_etcd, 50, draw), SECONDS)
            assert mirror == contents(new_etcd)
            writer = threading.Thread(target=write_at_random, args=(new_etcd, 50, random.Random(7)))
            writer.start()
            end()
            wait_until(lambda: not mirror.connected, "the end is noticed")
            assert mirror.error
            daemon.write()
            daemon.start()
            writer.join()
            mirror.wait(new_etcd.revision(), SECONDS)
            assert mirror == contents(new_etcd)
        last = new_etcd.put("/last", "")
        mirror.wait(last, SECONDS)
        wait_until(lambda: "/last" in follower.state, "the callback was told")
        assert follower.state == dict(mirror)
        later = Follower()
        later.state = read
        while "/last" not in later.state:
            later(changes.next(SECONDS))
        assert later.state == dict(mirror)


def test_lost_history_is_a_gap_that_tells_the_difference(new_etcd: Etcd) -> None:
    """A daemon without a copy on disk cannot resume; what was deleted meanwhile is told all the same."""
    new_etcd.txn_put([("/kept", "1"), ("/changed", "1"), ("/removed", "1")])
    told: list[Update[bytes]] = []
    with Daemon(new_etcd.endpoint) as daemon, mirror_of(daemon) as mirror:
        mirror.wait(new_etcd.revision(), SECONDS)
        kept = mirror["/kept"]
        daemon.kill()
        wait_until(lambda: not mirror.connected, "the end is noticed")
        mirror.subscribe(told.append)
        new_etcd.put("/changed", "2")
        new_etcd.put("/added", "2")
        revision = new_etcd.delete("/removed")
        daemon.start()
        wait_until(lambda: told, "there is an update")
        (update,) = told
        assert (update.gap, update.revision, update.epoch) == (True, revision, mirror.epoch)
        assert {(one.key, one.kind, one.value, one.old) for one in update.changes} == {
            ("/changed", "changed", b"2", b"1"),
            ("/added", "added", b"2", None),
            ("/removed", "removed", None, b"1"),
        }
        assert mirror["/kept"] is kept


def test_with_etcd_down_the_last_state_is_there_and_says_its_age(new_etcd: Etcd, daemon: Daemon) -> None:
    """The age goes on growing, and one who demands fresher contents gets none."""
    revision = new_etcd.put("/a", "1")
    with mirror_of(daemon) as mirror:
        mirror.wait(revision, SECONDS)
        assert mirror.snapshot(max_age=SECONDS)["/a"] == b"1"
        new_etcd.stop()
        wait_until(lambda: mirror.state == "stale", "the mirror knows")
        assert mirror["/a"] == b"1"
        age = age_of(mirror)
        wait_until(lambda: age_of(mirror) > age + 3 * HEARTBEAT, "the age grows")
        with pytest.raises(TooStaleError, match=r"'/' was proved current .* s ago"):
            mirror.snapshot(max_age=age)
        daemon.kill()
        wait_until(lambda: not mirror.connected, "the end is noticed")
        later = age_of(mirror)
        assert later > age
        wait_until(lambda: age_of(mirror) > later, "the age grows still")
        assert mirror["/a"] == b"1"
        new_etcd.start()
        daemon.start()
        wait_until(lambda: mirror.state == "live" and age_of(mirror) < age, "all is well again")


def test_a_daemon_that_hangs_does_not_stay_live(daemon: Daemon) -> None:
    """Three heartbeats without a word."""
    with mirror_of(daemon) as mirror:
        mirror.wait_ready(SECONDS)
        daemon.signal(SIGSTOP)
        wait_until(lambda: mirror.state == "stale", "the silence is noticed")
        began = monotonic()
        mirror.close()
        assert monotonic() - began < 5
        daemon.signal(SIGCONT)


def test_a_socket_may_come_later(new_etcd: Etcd) -> None:
    """Until then the reason is told, and nothing is taken for empty."""
    daemon = Daemon(new_etcd.endpoint)
    with mirror_of(daemon) as mirror:
        with pytest.raises(NotReadyError, match=r"cannot connect to .*No such file") as caught:
            mirror.wait_ready(0.05)
        assert isinstance(caught.value.__cause__, ConnectError)
        assert (mirror.state, mirror.age, mirror.revision) == ("cold", None, 0)
        for look in (lambda: mirror["/a"], lambda: mirror.get("/a"), lambda: len(mirror), mirror.snapshot):
            with pytest.raises(NotReadyError):
                look()
        assert repr(mirror) == "<Mirror of '/': nothing yet, cold>"
        with daemon:
            mirror.wait_ready(SECONDS)


def test_what_waiting_does_not_mend_is_told_at_once(daemon: Daemon) -> None:
    """No range has these keys; without a time-out, one would wait for ever."""
    mirror = mirror_of(daemon, "elsewhere/")
    with pytest.raises(NotReadyError, match="not started"):
        mirror.wait_ready()
    with mirror, pytest.raises(NotReadyError, match="lies in no mirrored range") as caught:
        mirror.wait_ready()
    assert isinstance(caught.value.__cause__, NotMirroredError)


def test_what_was_refused_is_asked_for_again(daemon: Daemon, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody may have changed the daemon's configuration."""
    monkeypatch.setattr(threaded, "SELDOM", 0.05)
    with mirror_of(daemon, "elsewhere/") as mirror:
        wait_until(lambda: isinstance(mirror.error, NotMirroredError), "it is refused")
        daemon.stop()
        daemon.settings["ranges"].append({"prefix": "elsewhere/"})
        daemon.write()
        daemon.start()
        wait_until(lambda: mirror.state == "live", "it is mirrored")
        assert len(mirror) == 0


def test_a_fault_of_its_own_is_told_and_all_goes_on(
    daemon: Daemon, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A thread that ends without a word would leave a mirror that nobody keeps."""
    monkeypatch.setattr(threaded, "SELDOM", 0.05)
    monkeypatch.setattr(Keeper, "receive", lambda *_: 1 // 0)
    with mirror_of(daemon) as mirror:
        with pytest.raises(NotReadyError, match="the mirror failed: ZeroDivisionError"):
            mirror.wait_ready(0.1)
        monkeypatch.undo()
        mirror.wait_ready(SECONDS)
    assert "the mirror of '/' failed" in caplog.text


def test_a_revision_that_does_not_come_is_too_stale(daemon: Daemon) -> None:
    """With what there is instead."""
    with mirror_of(daemon) as mirror:
        mirror.wait_ready(SECONDS)
        with pytest.raises(TooStaleError, match=f"is at revision .*, {1 << 40} did not come in time"):
            mirror.wait(1 << 40, timeout=0.01)


def test_a_single_key_is_mirrored_as_such(new_etcd: Etcd, daemon: Daemon) -> None:
    """Also where a range is one key, and nothing else is mirrored."""
    daemon.stop()
    daemon.settings["ranges"] = [{"key": "/flags"}]
    daemon.write()
    daemon.start()
    new_etcd.txn_put([("/flags", "1"), ("/flags/2", "2")])
    with Mirror(key="/flags", socket_path=daemon.socket) as mirror:
        mirror.wait(new_etcd.revision(), SECONDS)
        assert dict(mirror) == {"/flags": b"1"}
        assert repr(mirror).startswith("<Mirror of '/flags': 1 keys")
    for prefix, key in ((None, None), ("/", "/flags")):
        with pytest.raises(TypeError, match="exactly one"):
            Mirror(prefix, key=key)
    with pytest.raises(ValueError, match="heartbeat"):
        Mirror("/", heartbeat=math.nan)
