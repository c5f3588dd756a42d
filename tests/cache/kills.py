"""Kills a daemon at random instants, and compares what comes back with what etcd did; the command.

After each SIGKILL, what is on disk is read as the next start would: it must be exactly what etcd held at
that revision, with the history before it, and not older than what was there already. Then the next daemon is
started, must serve that at once, and get from there to where etcd is without a full read, unless etcd has
forgotten the history; and a reader goes on without a gap.

kills_moments  the kinds of instants, and how each is brought about
kills_stage    etcd, its load, a proxy, the daemon and its reader
kills_load     who writes to etcd, and so knows its history
kills_reader   who watches the range through all of it
kills_saved    what is on disk
kills_court    what is seen, held against the history
kills_daemon   syncd, with more to do for its cache;  kills_witness: what it is at
kills_report   what a run did and found
"""

from __future__ import annotations

import argparse
import asyncio
import random
import secrets
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from signal import SIGKILL
from time import monotonic
from typing import NamedTuple

from tests.cache import kills_saved
from tests.cache.kills_court import Place
from tests.cache.kills_load import PREFIX, changed
from tests.cache.kills_moments import DECK, Moment, deck
from tests.cache.kills_report import Report
from tests.cache.kills_saved import WHO
from tests.cache.kills_stage import Stage, stage
from tests.cache.kills_witness import epoch_time
from tests.etcd import usual_version
from tests.reliability.history import Generation
from tests.reliability.told import Snapshot
from tests.reliability.wire import Cut

ROUNDS = 200

MORE = 10
"""Rounds, at most, that are added to at least a whole deck of them, when a kind was not hit yet."""

PATIENCE = 60.0
"""Seconds for a round; it takes one or two."""


class Floor(NamedTuple):
    """What was on disk last: nothing older may come after it."""

    place: Place
    generation: Generation


class Run:
    """So many `rounds`, one kill in each, or a few more."""

    def __init__(self, seed: int, rounds: int) -> None:
        self.report = Report(usual_version(), seed, rounds)
        self._draw = random.Random(seed)
        self._floor: Floor | None = None
        self._forgotten = True
        """Whether the next daemon cannot go on from there without reading everything."""
        self.evidence: Path | None = None
        """Where files and logs are, after violations."""

    async def run(self) -> Report:
        """All rounds."""
        report, began = self.report, monotonic()
        async with stage(self._draw) as held:
            try:
                async with asyncio.timeout(PATIENCE):
                    held.launch()
                    await self._recovered(held)
                moments: list[Moment] = []
                while self._goes_on and not held.court.violations:  # which would only be more
                    moments = moments or deck(self._draw)
                    async with asyncio.timeout(PATIENCE):
                        hit = await self._round(held, moments[-1])
                    if hit:
                        moments.pop()
            except (OSError, Cut) as error:  # of them is TimeoutError
                report.aborted = f"{report.now}: {error!r}"
            finally:
                report.seconds = monotonic() - began
                self._conclude(held)
        return report

    @property
    def _goes_on(self) -> bool:
        report = self.report
        more = MORE if report.unhit and report.rounds >= DECK else 0
        return report.kills < report.rounds + more

    async def _round(self, held: Stage, moment: Moment) -> bool:
        """Kill, and have all of it looked at; whether the moment was hit."""

        async def ended() -> None:
            await held.stop()
            await self._left(held, by_itself=True)

        report = self.report
        report.now = moment.name
        self._forgotten = moment.forgets
        await moment.come(held, ended)
        by_itself = await held.end() != -SIGKILL
        phases = held.witness.phases()
        report.aimed[moment.name] += 1
        hit = not by_itself and (moment.phase is None or moment.phase in phases)
        report.hit[moment.name] += hit
        report.phases.update(phases)
        report.drafts += bool(kills_saved.drafts(held.cache))
        await self._left(held, by_itself=by_itself)
        held.launch()
        await self._recovered(held)
        return hit

    async def _left(self, held: Stage, *, by_itself: bool) -> None:
        """What the daemon has left on disk, whether it was killed or ended by itself."""
        report, court = self.report, held.court
        if held.emptied:
            self._floor, held.emptied = None, False
        found = kills_saved.saved(held.cache)
        if strange := kills_saved.strange(held.cache, by_itself=by_itself):
            court.violated(WHO, f"there are {strange}")
        committed = held.witness.committed
        if found is None:
            report.nothing += 1
            if self._floor or committed.epoch:
                court.violated(WHO, f"nothing is left of {self._floor and self._floor.place}, {committed}")
            return
        place = found.place
        if (epoch_time(place.epoch), place.revision) < committed:
            court.violated(WHO, f"it is at {place}, but the daemon was told that {committed} is written")
        generation = kills_saved.judge(court, found)
        if not generation.ended:
            report.by_etcd += kills_saved.compare(court, found, held.load.etcd)
        self._must_follow(held, WHO, place, generation)
        self._floor = Floor(place, generation)
        if held.reader.place and held.reader.place.epoch == place.epoch:
            told = changed(generation, place.revision, held.reader.place.revision)
            lag = sum(len(events) for _, events in told)
            if not by_itself:
                report.lags.append(lag)
            elif lag:
                court.violated(WHO, f"{lag} events are not there, though the daemon had time to write them")

    async def _recovered(self, held: Stage) -> None:
        """The daemon just launched serves what was on disk, and then what etcd has; to the reader, too."""
        report, court, floor = self.report, held.court, self._floor
        first = await held.first_answer()
        await held.load.answered()
        if first:
            self._served(held, "the first answer", first)
        elif floor:
            court.violated("the first answer", f"there is none, but {floor.place} was on disk")
        if floor:
            report.first_answers.append(monotonic() - held.launched)
            report.warm += bool(first and first.state == "warm")
        status = await held.live()
        current = await held.snapshot()
        await held.load.answered()
        if current:
            self._served(held, "a linearizable answer", current)
        else:
            court.violated("a linearizable answer", "there is none")
        if status["cache"]["error"]:
            court.violated(WHO, status["cache"]["error"])
        reads, gaps = set(status["counters"]["full_reads"]), held.reader.forgive()
        report.gaps += len(gaps)
        if floor and not self._forgotten:
            report.behind += "behind" in reads
            if reads - {"behind"}:
                court.violated("the daemon", f"it read everything: {reads}")
            elif gaps and not reads:
                court.violated("the reader", f"gaps, though nothing was forgotten: {gaps}")

    def _served(self, held: Stage, who: str, told: Snapshot) -> None:
        place = Place(told.epoch, told.revision)
        state = {record.key: record for record in told.records}
        generation = held.court.state(who, place, state)
        if told.counts != (len(state),) * 2:
            held.court.violated(who, f"{len(state)} keys are counted as {told.counts}")
        self._must_follow(held, who, place, generation)

    def _must_follow(self, held: Stage, who: str, place: Place, generation: Generation) -> None:
        """`place` is what was on disk last, or later."""
        floor = self._floor
        if floor is None or generation.number > floor.generation.number:
            return
        if place.epoch != floor.place.epoch or place.revision < floor.place.revision:
            held.court.violated(who, f"{place} comes after {floor.place}, which was on disk")

    def _conclude(self, held: Stage) -> None:
        report, court = self.report, held.court
        report.violations = court.violations
        report.states, report.batches = court.states, court.batches
        report.starts, report.resumed = held.starts, held.reader.resumed
        report.generations = held.load.history.generation + 1
        report.revisions = sum(held.load.history.of(n).head - 1 for n in range(report.generations))
        report.keys = len(held.load.history.current.state(PREFIX, held.load.head))
        if court.violations or report.aborted:
            self.evidence = Path(tempfile.mkdtemp(prefix="kills-")) / "daemon"
            shutil.copytree(held.daemon.directory, self.evidence, ignore=shutil.ignore_patterns("sock*"))


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; its exit code."""
    parser = argparse.ArgumentParser(
        prog="tests/kills", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"kills ({ROUNDS})")
    parser.add_argument("--seed", type=int, default=None, help="draws the instants, and what is written")
    given = parser.parse_args(arguments)
    seed = secrets.randbelow(100_000) if given.seed is None else given.seed
    run = Run(seed, given.rounds)
    report = asyncio.run(run.run())
    print(report)
    if run.evidence:
        print(f"the daemon's files and log are in {run.evidence}")
    return report.exit_code


if __name__ == "__main__":
    sys.exit(main())
