"""What waits to be judged: at the end nothing may be left that somebody could have known."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Iterator
from pathlib import Path
from time import monotonic

import pytest

from tests.reliability.answers import Answer
from tests.reliability.court import Claim, Court, Place
from tests.reliability.dialogue import EPOCH, EVERYTHING, HEARTBEAT, NEXT_EPOCH, broken, honest, written
from tests.reliability.docket import STALLED_SECONDS, UNMARKED_SECONDS, Docket
from tests.reliability.rules import Watch
from tests.reliability.tally import Tally
from tests.reliability.test_wire import server
from tests.reliability.told import Progress
from tests.reliability.wire import Connection, Peer

HEAD = 12


@pytest.fixture
def docket(monkeypatch: pytest.MonkeyPatch) -> Docket:
    """One that is in a hurry, and knows whose the epoch is."""
    monkeypatch.setattr("tests.reliability.docket.SETTLING_SECONDS", 0.5)
    monkeypatch.setattr("tests.reliability.docket.DYING_SECONDS", 0.3)
    monkeypatch.setattr("tests.reliability.docket.SITTING_SECONDS", 0.02)
    court = Court(written().history, Tally(), HEARTBEAT)
    court.epochs.learn(EPOCH, 2, [(b"/c/a/!generation", b"0")])
    return Docket(court)


def answered(docket: Docket, revision: int, epoch: str, at: float = 0.0) -> None:
    """A reader was answered."""
    docket.answer(Answer(Claim("poll", at, at, epoch, revision, "live", 0)))


async def test_what_is_known_is_judged(docket: Docket) -> None:
    """Nothing is left, and there is nothing to wait for."""
    answered(docket, HEAD, EPOCH)
    watch = Watch(docket.court, "reader", EVERYTHING)
    for each in honest(docket.court.history.current, EVERYTHING, 2, HEAD):
        watch.hear(each, 0.0)
    docket.watch(watch, None)
    await docket.finish()
    tally = docket.court.tally
    assert not tally.violations
    assert (tally.reads, tally.snapshots, tally.unjudged) == (1, 1, 0)


async def test_a_revision_that_etcd_never_had_is_a_violation(docket: Docket) -> None:
    """Told with an answer, or on a watch, on which nothing that came later can be judged either."""
    answered(docket, HEAD + 1, EPOCH)
    watch = Watch(docket.court, "reader", EVERYTHING, Place(EPOCH, HEAD))
    for revision in (HEAD, HEAD + 1, HEAD + 2):
        watch.hear(Progress(revision, "live", 0), 0.0)
    docket.watch(watch, None)
    await docket.finish()
    assert broken(docket.court.tally) == {"unjudged"}
    on_watch, answer = docket.court.tally.violations
    assert (on_watch.reader, answer.reader) == ("reader", "poll")
    assert f"up to {HEAD}, so {HEAD + 1} is yet to come" in on_watch.true


@pytest.mark.parametrize(
    ("epoch", "seconds", "right"),
    [
        pytest.param(NEXT_EPOCH, UNMARKED_SECONDS - 1, True, id="it went by too fast"),
        pytest.param(NEXT_EPOCH, UNMARKED_SECONDS + 1, False, id="long enough for somebody to be told"),
        pytest.param("", 0.0, False, id="no epoch at all"),
    ],
)
async def test_an_epoch_without_a_marker(docket: Docket, epoch: str, seconds: float, right: bool) -> None:
    """It can't be judged; only of one that went by in a moment that is no wonder."""
    answered(docket, HEAD, epoch, 1.0)
    answered(docket, HEAD, epoch, 1.0 + seconds)
    await docket.finish()
    tally = docket.court.tally
    assert (broken(tally), tally.unjudged) == ((set(), 2) if right else ({"unjudged"}, 0))


async def test_a_gap_into_an_epoch_without_a_marker(docket: Docket) -> None:
    """The place before is known; what is told now is not, and named."""
    watch = Watch(docket.court, "reader", EVERYTHING, Place("", 0))
    watch.hear(Progress(HEAD, "live", 0), 0.0)
    docket.watch(watch, None)
    await docket.finish()
    [violation] = docket.court.tally.violations
    assert violation.rule == "unjudged"
    assert "epoch ''" in violation.true


@pytest.mark.parametrize(
    ("told", "heartbeat", "ended", "right"),
    [
        pytest.param(Progress(HEAD - 1, "live", 0), 1.0, False, False, id="it stands still"),
        pytest.param(Progress(HEAD, "live", 0), 1.0, False, True, id="it is there"),
        pytest.param(None, 1.0, False, False, id="it was told nothing"),
        pytest.param(Progress(HEAD - 1, "live", 0), None, False, True, id="its reader dozes"),
        pytest.param(Progress(HEAD - 1, "live", 0), 1.0, True, True, id="it has ended"),
    ],
)
async def test_whoever_listens_arrives(
    docket: Docket,
    told: Progress | None,
    heartbeat: float | None,
    ended: bool,
    right: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """When all is well, where etcd is; who is late is named."""
    monkeypatch.setattr("tests.reliability.docket.ARRIVAL_SECONDS", 0.1)
    watch = Watch(docket.court, "reader", EVERYTHING, Place(EPOCH, HEAD - 2))
    if told:
        watch.hear(told, 0.0)
    docket.watch(watch, heartbeat).ended = ended
    await docket.arrive(HEAD)
    violations = [(each.rule, each.reader) for each in docket.court.tally.violations]
    assert violations == ([] if right else [("reliable", "reader")])


async def test_who_is_in_another_history_has_not_arrived(
    docket: Docket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However high its revision is there."""
    monkeypatch.setattr("tests.reliability.docket.ARRIVAL_SECONDS", 0.1)
    docket.court.history.begin(0)
    docket.watch(Watch(docket.court, "reader", EVERYTHING, Place(EPOCH, HEAD)), 1.0)
    await docket.arrive(2)
    assert broken(docket.court.tally) == {"reliable"}


async def test_who_is_late_may_still_arrive(docket: Docket) -> None:
    """It is waited for."""
    watch = Watch(docket.court, "reader", EVERYTHING, Place(EPOCH, HEAD - 1))
    docket.watch(watch, 1.0)
    asyncio.get_running_loop().call_later(0.1, watch.hear, Progress(HEAD, "live", 0), 0.0)
    await docket.arrive(HEAD)
    assert not docket.court.tally.violations


@pytest.fixture
def process() -> Iterator[subprocess.Popen[bytes]]:
    """Run a process that does nothing."""
    with subprocess.Popen(["sleep", "60"]) as process:
        yield process
        process.kill()


def test_a_process_has_ended_when_nobody_has_waited_for_it_either(process: subprocess.Popen[bytes]) -> None:
    """And for good, whoever gets its number."""
    peer = Peer.of(process.pid)
    assert not peer.ended
    process.kill()
    deadline = monotonic() + 10
    while not peer.ended:
        assert monotonic() < deadline
    process.wait()
    assert peer.ended
    assert Peer.of(process.pid).ended
    assert Peer(peer.pid, "").ended


@pytest.mark.parametrize(
    ("ends", "pause", "right"),
    [
        pytest.param(False, 0.0, False, id="the process lives on"),
        pytest.param(True, 0.0, True, id="it ends in time"),
        pytest.param(False, STALLED_SECONDS, True, id="its reader had stopped reading"),
        pytest.param(False, STALLED_SECONDS / 2, False, id="not for long enough"),
    ],
)
async def test_who_may_end_a_stream(
    docket: Docket, process: subprocess.Popen[bytes], tmp_path: Path, ends: bool, pause: float, right: bool
) -> None:
    """A daemon that ends, and one whose reader doesn't read."""
    async with server(tmp_path) as path, await Connection.open(path) as connection:
        connection.peer = Peer.of(process.pid)
        connection.longest_pause = pause
        docket.ended("reader", connection, "cut")
    if ends:
        process.kill()
    await docket.finish()
    tally = docket.court.tally
    assert (broken(tally), tally.cut) == ((set(), 1) if right else ({"cut"}, 0))
