"""What a mirror says of itself, message by message, without a daemon."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from syncd.client import (
    CompactedError,
    Connected,
    CutError,
    DecodeError,
    ForbiddenError,
    Interrupted,
    NotReadyError,
    TooStaleError,
    Update,
)
from syncd.client.answers import Freshness
from syncd.client.lines import Bookmark, Progress, WatchMessage
from syncd.client.mirror.keeper import Keeper
from syncd.client.mirror.view import boottime
from syncd.client.watching import Told
from syncd.records import Batch
from tests.client.messages import between, delete, put, snapshot

HOUR_MS = 3_600_000.0


def keeper() -> Keeper[bytes]:
    """One that was begun."""
    one: Keeper[bytes] = Keeper("/", None, None)
    one.begin()
    return one


def receive(one: Keeper[Any], *messages: Told | WatchMessage) -> None:
    """Have it receive messages."""
    for message in messages:
        one.receive(message)


def connected(revision: int, age_ms: float | None, after: Bookmark | None = None) -> Connected:
    """A connection to a daemon that is at a revision."""
    return Connected(Freshness(revision, "e", "live", age_ms), after)


def state(one: Keeper[bytes]) -> str:
    """Its state now."""
    return one.state


def test_it_is_live_when_it_has_come_as_far_as_the_daemon() -> None:
    """What the daemon had proved counts only then, and nothing makes a proof worse."""
    one = keeper()
    assert (state(one), one.age) == ("cold", None)
    receive(one, connected(5, HOUR_MS))
    assert (state(one), one.age, one.connected) == ("cold", None, True)
    receive(one, *snapshot(5, {b"/a": b"1"}))
    assert state(one) == "live"
    assert one.age is not None
    assert 3600 <= one.age < 3700
    receive(one, Interrupted(CutError("cut"), 0))
    assert (state(one), one.connected, str(one.error)) == ("stale", False, "cut")
    receive(one, connected(9, 0.0, Bookmark(5, "e")))
    assert (state(one), one.error) == ("stale", None)
    assert one.age >= 3600
    receive(one, Batch(7, (put(b"/a", b"7", 7),), "e"))
    assert state(one) == "stale"
    assert one.age >= 3600
    receive(one, Batch(9, (put(b"/a", b"9", 9),), "e"))
    assert (state(one), one.age < 3600) == ("live", True)
    receive(one, Progress(9, "e", "stale", HOUR_MS))
    assert (state(one), one.age < 3600) == ("stale", True)


def test_what_is_read_late_is_as_old_as_it_is() -> None:
    """A process that was stopped finds what was said before that; nobody can have said it in the future."""
    now = 1000 * boottime()
    one = keeper()
    receive(one, *snapshot(5, {}), Progress(5, "e", "live", 1000.0, now - HOUR_MS))
    assert one.age is not None
    assert 3601 <= one.age < 3700
    receive(one, Connected(Freshness(5, "e", "live", 0.0, now - HOUR_MS / 2), Bookmark(5, "e")))
    assert 1800 <= one.age < 1900
    receive(one, Progress(6, "e", "live", 1000.0, now + HOUR_MS))
    assert 1 <= one.age < 100


def test_progress_tells_that_nothing_is_missing() -> None:
    """Also when the daemon has come further by what lies outside the prefix."""
    one = keeper()
    receive(one, connected(5, None), *snapshot(5, {}), Interrupted(CutError("cut"), 0))
    receive(one, connected(9, 0.0, Bookmark(5, "e")), Progress(9, "e", "live", None))
    assert one.state == "live"
    assert one.age is None
    assert one.reached(9)


def test_it_is_settled_when_waiting_is_no_use() -> None:
    """Only a reason that does not go away by itself is one to give up for."""
    one = keeper()
    for error in (CutError("cut"), CompactedError("old"), NotReadyError("not yet")):
        receive(one, Interrupted(error, 1))
        assert not one.settled
    one.fail(ForbiddenError("not yours"))
    assert one.settled
    with pytest.raises(NotReadyError, match="not yours"):
        one.view(None)
    receive(one, connected(1, 0.0), *snapshot(1, {}))
    assert one.settled
    assert one.error is None


def test_a_view_is_of_one_revision_whenever_it_is_taken() -> None:
    """By another thread, between any two bytecodes of what receives a batch, where the lock lets it."""
    one = keeper()
    receive(one, connected(1, 0.0), *snapshot(1, {b"/k": b"1"}))

    def look() -> bool | None:
        if not one.lock.acquire(blocking=False):
            return None
        try:
            view = one.view(None)
            return view.get("/k") == b"%d" % view.revision
        finally:
            one.lock.release()

    with ThreadPoolExecutor(1) as other:
        batch = Batch(2, (put(b"/k", b"2", 2),), "e")
        seen = between(lambda: one.receive(batch), lambda: other.submit(look).result())
    assert {True, None} == set(seen)


def test_a_callback_that_leaves_is_not_called_again() -> None:
    """Not even for what it was already to be told."""
    one = keeper()
    told: list[int] = []

    def tell(update: Update[bytes]) -> None:
        told.append(update.revision)
        leave()

    one.subscribe(tell)
    leave = one.subscribe(lambda update: told.append(-update.revision))
    receive(one, connected(1, 0.0), *snapshot(1, {b"/k": b"1"}), Batch(2, (delete(b"/k", 2),), "e"))
    assert told == [1, 2]


@pytest.mark.parametrize(("revision", "epoch"), [(5, "f"), (3, "e")])
def test_what_was_proved_of_other_contents_does_not_count(revision: int, epoch: str) -> None:
    """The daemon comes back with an old copy: of another etcd, or of an earlier revision."""
    one = keeper()
    receive(one, connected(5, 0.0), *snapshot(5, {b"/a": b"5"}))
    assert one.age is not None
    assert one.age < 100
    receive(
        one,
        Interrupted(CompactedError("old"), 0),
        Connected(Freshness(revision, epoch, "stale", HOUR_MS), None),
    )
    assert one.age < 100
    receive(one, *snapshot(revision, {b"/a": b"3"}, epoch))
    assert one.age >= 3600


def test_of_what_came_in_place_of_the_contents_nothing_is_proved_yet() -> None:
    """A resync leads to another epoch; the daemon's next word tells how old that is."""
    one = keeper()
    receive(one, connected(5, 0.0), *snapshot(5, {}), Batch(5, (), "f", resync=True))
    assert (state(one), one.age) == ("stale", None)
    with pytest.raises(TooStaleError, match="never proved"):
        one.view(HOUR_MS)
    receive(one, Progress(5, "f", "live", 0.0))
    assert (state(one), one.age is None) == ("live", False)


def test_live_ends_when_a_heartbeat_is_missing() -> None:
    """The connection may be there for longer: of a daemon that stands still, nobody else would tell."""
    one: Keeper[bytes] = Keeper("/", None, None, heartbeat=5.0)
    one.begin()
    now = 1000 * boottime()
    receive(one, connected(5, 0.0), *snapshot(5, {}), Progress(5, "e", "live", 4000.0, now - 1000))
    assert state(one) == "live"
    receive(one, Progress(5, "e", "live", 4000.0, now - 6100))
    assert (state(one), one.connected, one.age is not None and one.age < 11) == ("stale", True, True)
    receive(one, Progress(6, "e", "live", 0.0))
    assert state(one) == "live"


@pytest.mark.parametrize("error", [SystemExit(1), asyncio.CancelledError(), GeneratorExit()])
def test_foreign_code_cannot_end_a_mirror(error: BaseException, caplog: pytest.LogCaptureFixture) -> None:
    """Neither a callback nor `decode`, whatever they raise."""
    told: list[int] = []
    reports: list[DecodeError] = []

    def fail(_: object) -> None:
        raise error

    def decode(value: bytes) -> int:
        if value == b"bad":
            raise error
        return int(value)

    def report(error: DecodeError) -> None:
        reports.append(error)
        fail(error)

    one = Keeper("/", decode, report)
    one.begin()
    one.subscribe(fail)
    one.subscribe(lambda update: told.append(update.revision))
    receive(one, connected(1, 0.0), *snapshot(1, {b"/k": b"1"}), Batch(2, (put(b"/k", b"bad", 2),), "e"))
    receive(one, Batch(3, (put(b"/k", b"3", 3),), "e"))
    assert told == [1, 3]
    assert [one.__cause__ for one in reports] == [error]
    assert len(caplog.records) == 3


def test_ctrl_c_ends_a_program_also_in_a_callback() -> None:
    """A task runs in the main thread."""
    one = keeper()

    def interrupt(_: object) -> None:
        raise KeyboardInterrupt

    one.subscribe(interrupt)
    with pytest.raises(KeyboardInterrupt):
        receive(one, connected(1, 0.0), *snapshot(1, {}))
