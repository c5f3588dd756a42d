"""The readers and their court, with a real daemon on a real etcd: they accept it, and catch one that lies."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic

import pytest

from tests.daemon.process import Daemon
from tests.etcd import Etcd
from tests.proxy import Proxy
from tests.reliability.dialogue import broken
from tests.reliability.doctored import (
    Doctored,
    Lie,
    change_a_value,
    claim_progress,
    double_a_batch,
    drop_a_batch,
    hide_the_age_of_a_progress,
    hide_the_age_of_an_answer,
    renumber_a_key,
)
from tests.reliability.history import History
from tests.reliability.judge import Judge
from tests.reliability.readers import Readers
from tests.reliability.tally import Tally

HEARTBEAT = 1.0  # what tests.daemon.process gives a daemon
HISTORY_EVENTS = 60
GROUPS = b"abc"
PATIENCE = 60.0


@dataclass
class Trial:
    """A daemon, its etcd and who judges it."""

    etcd: Etcd
    daemon: Daemon
    road: Proxy
    judge: Judge
    history: History
    kept: int = HISTORY_EVENTS
    tally: Tally = field(default_factory=Tally)
    draw: random.Random = field(default_factory=lambda: random.Random(7))

    async def mark(self) -> None:
        """Say in every group which generation this is."""
        number = str(self.history.generation)
        await self.wrote(self.etcd.txn_put([(f"/c/{chr(group)}/!generation", number) for group in GROUPS]))

    async def wrote(self, revision: int) -> None:
        """A write to /c/ was acknowledged."""
        self.history.acknowledged(revision, monotonic())
        await self.judge.caught_up(revision)

    async def write_until(
        self, enough: Callable[[], object], value: str = "true ", pace: float = 0.02
    ) -> None:
        """Write, one revision after the other, until it is enough."""
        async with asyncio.timeout(PATIENCE):
            while not enough():
                await self._write(value)
                await asyncio.sleep(pace)

    async def _write(self, value: str) -> None:
        draw, etcd = self.draw, self.etcd
        key = f"/c/{draw.choice('abc')}/{draw.randrange(20)}"
        match draw.randrange(6):
            case 0:
                await self.wrote(etcd.delete(key))
            case 1:
                etcd.put(key.replace("/c/", "/o/"), value)
            case 2:
                await self.wrote(etcd.txn_put([(f"{key}{i}", value + str(i)) for i in range(3)]))
            case 3:
                await self.wrote(etcd.put(key.encode() + b"\xff", b"\xfe" + value.encode()))
            case _:
                await self.wrote(etcd.put(key, value + str(draw.random())))

    def _readers(self, path: Path) -> Readers:
        return Readers(
            self.history,
            path,
            self.draw,
            self.tally,
            heartbeat=HEARTBEAT,
            history_events=self.kept,
        )

    @asynccontextmanager
    async def read(self, lie: Lie | None = None) -> AsyncIterator[Doctored | None]:
        """Two hundred readers meanwhile, told everything by the daemon or, with `lie`, nearly."""
        path = self.daemon.directory / "doctored"
        async with asyncio.TaskGroup() as group:
            judging = group.create_task(self.judge.run(), name="judge")
            try:
                await self.mark()
                await asyncio.to_thread(self.daemon.wait_for_revision, self.history.current.head)
                if lie is None:
                    reading = group.create_task(self._readers(self.daemon.socket).run(), name="readers")
                    yield None
                else:
                    async with Doctored(self.daemon.socket, path, lie) as doctored:
                        reading = group.create_task(self._readers(path).run(), name="readers")
                        yield doctored
                        await _cancelled(reading)
                await _cancelled(reading)
            finally:
                judging.cancel()


@pytest.fixture
async def trial(new_etcd: Etcd) -> AsyncIterator[Trial]:
    """Run a daemon that mirrors /c/ and remembers little, on a road that can be closed."""
    settings = {"history": {"events": HISTORY_EVENTS}}
    async with Proxy(new_etcd.port) as road:
        history = History()
        judge = Judge(history, [new_etcd.endpoint], "/v3", "", "")
        with Daemon(road.url, prefixes=["/c/"], settings=settings) as daemon:
            yield Trial(new_etcd, daemon, road, judge, history)
            daemon.assert_no_traceback()


async def test_an_honest_daemon_breaks_no_rule(trial: Trial, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever befalls it and its etcd: everything told can be judged, and nothing is wrong."""
    monkeypatch.setattr("tests.reliability.watchers.SIP_SECONDS", (0.0, 0.02))
    monkeypatch.setattr("tests.reliability.watchers.STAY_SECONDS", (0.5, 3.0))
    monkeypatch.setattr("tests.reliability.watchers.AWAY_SECONDS", (0.5, 2.0))
    tally = trial.tally
    async with trial.read():
        await trial.write_until(lambda: tally.snapshots > 30 and tally.progresses > 30 and tally.reads > 100)
        # Slow readers fall behind what is remembered.
        await trial.write_until(lambda: tally.resyncs, value="true" * 4096, pace=0)
        for end in (trial.daemon.stop, trial.daemon.kill):
            await asyncio.to_thread(end)
            resumes, cut = tally.resumes, tally.cut
            await asyncio.to_thread(trial.daemon.start)
            await trial.write_until(lambda: tally.resumes > resumes + 5)  # noqa: B023 - at once
        assert tally.cut > cut
        trial.road.refuse()
        trial.etcd.kill()
        trial.history.begin(0)
        trial.etcd.wipe()
        await asyncio.to_thread(trial.etcd.start)
        await trial.mark()
        trial.road.let_through()
        resyncs = tally.resyncs
        await trial.write_until(lambda: tally.resyncs > resyncs + 20)
    assert not tally.violations, str(tally.violations[0])
    assert tally.unjudged == 0, str(tally)
    assert tally.hang_ups
    assert tally.silent >= 50
    assert tally.refusals["not_found"]


@pytest.mark.parametrize(
    ("lie", "rules"),
    [
        (drop_a_batch, {"reliable", "resumable"}),
        (double_a_batch, {"unique"}),
        (change_a_value, {"reliable", "snapshot", "value"}),
        (renumber_a_key, {"snapshot", "value"}),
        (claim_progress, {"reliable", "resumable", "bookmarkable"}),
    ],
    ids=lambda of: getattr(of, "__name__", ""),
)
async def test_one_lie_is_caught(
    trial: Trial, lie: Lie, rules: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One reader is told one thing that is not so, once; everything else is right."""
    for inattentive in ("SILENT", "RUDE", "FICKLE"):  # to them it might be told in vain
        monkeypatch.setattr(f"tests.reliability.readers.{inattentive}", 0)
    async with trial.read(lie) as doctored:
        assert doctored
        await trial.write_until(lambda: doctored.told.is_set() and broken(trial.tally) & rules)
    if lie is claim_progress:
        # Behind a revision that is yet to come, what others are told next has fallen; or it never comes.
        rules |= {"ordered", "unjudged"}
    assert broken(trial.tally) <= rules


@pytest.mark.parametrize(
    "lie",
    [hide_the_age_of_an_answer, hide_the_age_of_a_progress],
    ids=lambda of: getattr(of, "__name__", ""),
)
async def test_a_false_age_is_caught(trial: Trial, lie: Lie, monkeypatch: pytest.MonkeyPatch) -> None:
    """The daemon sees nothing of what is written; how old its state is, it may not hide."""
    for inattentive in ("SILENT", "RUDE", "FICKLE", "SLOW"):
        monkeypatch.setattr(f"tests.reliability.readers.{inattentive}", 0)
    async with trial.read(lie) as doctored:
        assert doctored
        trial.road.black_hole()
        await trial.write_until(lambda: doctored.told.is_set() and "age" in broken(trial.tally))
        trial.road.let_through()
    # The answer may be a refusal as too old, which then contradicts itself.
    assert broken(trial.tally) <= {"age", "refusal"}


async def test_a_daemon_that_forgets_too_early_is_caught(
    trial: Trial, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It keeps less than it should, so who comes back is refused, and who is slow is told of a gap."""
    monkeypatch.setattr("tests.reliability.watchers.SIP_SECONDS", (0.0, 0.02))
    monkeypatch.setattr("tests.reliability.watchers.STAY_SECONDS", (0.5, 2.0))
    trial.kept = 100 * HISTORY_EVENTS
    rules = {"resumable", "resync"}
    async with trial.read():
        await trial.write_until(
            lambda: {violation.rule for violation in trial.tally.violations} >= rules, "true" * 4096, pace=0
        )
    assert {violation.rule for violation in trial.tally.violations} == rules


async def _cancelled(task: asyncio.Task[None]) -> None:
    """End a task, and wait until it has ended."""
    task.cancel()
    await asyncio.wait([task])
