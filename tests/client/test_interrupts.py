"""Something is raised in the middle of a read, as by a signal's handler: no change is lost unnoticed."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import count, repeat
from pathlib import Path
from threading import Timer
from types import FrameType
from typing import Any

import pytest

import syncd.client
from syncd.client import Batch, Client, Connected, CutError, Interrupted, Record, Watch, watching
from tests.serve.stand import Stand, serving

# Raised before a coroutine began, as may be: that one has nothing to lose.
pytestmark = pytest.mark.filterwarnings("ignore:coroutine .* was never awaited:RuntimeWarning")

OURS = str(Path(syncd.client.__file__).parent)


class Boom(BaseException):
    """What a handler raises."""


@pytest.fixture
def stand(monkeypatch: pytest.MonkeyPatch) -> Iterator[Stand]:
    """Serve three keys at revision 10, to readers who come back at once."""
    monkeypatch.setattr(watching, "delays", lambda: repeat(0.0))
    with serving() as running:
        yield running


def raising(at: int, action: Callable[[], Any]) -> tuple[bool, Any]:
    """Run `action`, and raise where Python runs signals' handlers: when a call begins or ends.

    `at`: which of them; 0: none. Gives whether it was raised, and what `action` returned if not.
    """
    seen = 0

    def profile(frame: FrameType, event: str, _: object) -> None:
        nonlocal seen
        if event in {"call", "c_return"} and frame.f_code.co_filename.startswith(OURS):
            seen += 1
            if seen == at:
                raise Boom

    before = sys.getprofile()
    sys.setprofile(profile)
    try:
        return False, action()
    except Boom:
        return True, None
    finally:
        sys.setprofile(before)


def receiving(watch: Watch) -> Callable[[], object]:
    """Ask for one message after the other."""
    return watch.receive


def iterating(watch: Watch) -> Callable[[], object]:
    """Take up one iteration again and again."""
    changes = iter(watch)
    return lambda: next(changes)


@contextmanager
def stopped_after(seconds: float, watch: Watch) -> Iterator[None]:
    """End a watch that waits in vain."""
    timer = Timer(seconds, watch.stop)
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


@pytest.mark.parametrize("way", [receiving, iterating])
def test_a_watch_tells_each_change_wherever_it_was_interrupted(
    stand: Stand, way: Callable[[Watch], Callable[[], object]]
) -> None:
    """In waits, between them, and when a message was about to be told."""
    told: list[int] = []
    interrupted = 0
    with Client(str(stand.socket)).watch("/", heartbeat=60) as watch, stopped_after(20, watch):
        ask = way(watch)
        for at in count(1):
            stand.write((b"/a", b"x"))  # two, so that one is left pending
            last = stand.write((b"/b", b"y"))
            raised = False
            while not told or told[-1] < last:
                boomed, message = raising(0 if raised else at, ask)
                assert boomed or message, "a change was lost, and the watch was stopped"
                raised = raised or boomed
                if isinstance(message, Batch):
                    told.append(message.revision)
            interrupted += raised
            if not raised:
                break
    assert told == list(range(11, last + 1))
    assert interrupted > 20


def test_a_snapshot_is_whole_or_an_error_wherever_it_was_interrupted(stand: Stand) -> None:
    """Read on afterwards, it says so when something is missing."""
    outcomes = set()
    for at in count(1):
        snapshot = Client(str(stand.socket)).snapshot("/")
        snapshot.open()
        found: list[bytes] = []
        raised = False
        try:
            while (told := raising(0 if raised else at, snapshot.receive)) != (False, None):
                raised = raised or told[0]
                if isinstance(told[1], Record):
                    found.append(told[1].key)
        except CutError:
            outcomes.add("an error")
        else:
            assert found == [b"/a", b"/b", b"/c"]
            outcomes.add("whole")
        snapshot.close()
        if not raised:
            break
    assert outcomes == {"an error", "whole"}


def test_a_wait_has_an_end(stand: Stand) -> None:
    """Nothing is lost by that: the next call goes on, on the same connection."""
    with Client(str(stand.socket)).watch("/", heartbeat=60) as watch:
        assert isinstance(watch.receive(timeout=5), Connected)
        for timeout in (0, 0.01):
            with pytest.raises(TimeoutError, match=f"within {timeout} s"):
                watch.receive(timeout=timeout)
        revision = stand.write((b"/a", b"x"))
        batch = watch.receive(timeout=math.inf)
        assert isinstance(batch, Batch)
        assert batch.revision == revision
        with pytest.raises(TimeoutError):
            watch.receive(timeout=0)


def test_the_time_until_the_next_attempt_goes_on(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever waits in short pieces does not wait for ever."""
    monkeypatch.setattr(watching, "delays", lambda: repeat(0.05))
    watch = Client(str(path)).watch("/", patience=math.inf)
    told: list[object] = []
    for _ in range(1000):
        with suppress(TimeoutError):
            told.append(watch.receive(timeout=0.001))
        if len(told) == 3:
            break
    assert [type(one) for one in told] == [Interrupted] * 3
