"""The reliability test as a whole: stage, judge, readers and faults, run together for a while; the command.

Everything runs in this one process, beside the real etcd and the real daemon. First the faults end, then the
writer, then the readers, and last the judge, who must have seen all that they were told.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import secrets
import shutil
import sys
import tempfile
import traceback
from collections.abc import AsyncIterator, Collection, Coroutine, Sequence
from contextlib import asynccontextmanager
from itertools import islice, takewhile
from math import inf
from pathlib import Path
from time import monotonic

from tests.etcd import reason_missing
from tests.reliability.faults import faults_for, play
from tests.reliability.guarded import GuardedCluster
from tests.reliability.history import History
from tests.reliability.judge import Judge
from tests.reliability.kinds import Kind
from tests.reliability.readers import Readers
from tests.reliability.report import Report
from tests.reliability.schedule import Round, rounds
from tests.reliability.stage import HEARTBEAT, HISTORY_EVENTS, NotRecoveredError, Stage
from tests.reliability.tally import Tally
from tests.reliability.users import ROOT, ROOT_PASSWORD

VERSION = "3.5.30"
MINUTES = 10.0

LOST_SECONDS = 5.0
"""After which a task that was cancelled must have ended, or has not heard of it."""

PEACE = 2.2 * HEARTBEAT
"""Seconds between two rounds: a daemon that was never well for two heartbeats backs off longer and longer."""

MEMORY_BYTES = 256 << 20
"""What no daemon may need here, with all its readers: three times what the hungriest one did."""

CAUSES = {
    "auth.permission_denied",
    "auth.wrong_password",
    "etcd.no_leader",
    "gateway.cut",
    "gateway.timeout",
    "gateway.unavailable",
    "tcp.refused",
    "tcp.timeout",
}
"""What faults are found to be while they last, so the daemon may log it as an error: codes, or events."""

CAUSES_TLS = CAUSES | {
    "certificates refused",
    "file.empty",
    "file.not_pem",
    "tls.client_cert_refused",  # so reads a connection that is cut when it is made
    "tls.client_cert_untrusted",
    "tls.handshake_failed",
    "tls.key_mismatch",
}


class Chaos:
    """One run: `await run()` once, then look at `report`."""

    def __init__(self, version: str, seed: int, only: Collection[str] = (), *, tls: bool = False) -> None:
        self._kinds = chosen(version, only, tls=tls)
        self.report = Report(version, seed, Tally(), tuple(only), tls=tls)
        self.report.faults.update({kind.name: 0 for kind in self._kinds})
        self._history = History()
        self._keep: Path | None = None

    async def run(self, minutes: float | None = None, most: int | None = None) -> None:
        """Make faults for about so long, or `most` rounds; then judge everything."""
        self.report.minutes, self.report.most = minutes, most
        seed, tally, history = self.report.seed, self.report.tally, self._history
        cluster = GuardedCluster(self.report.version, tls=self.report.tls)
        one = cluster.members[0]
        judge = Judge(history, cluster.endpoints, one.api_prefix, ROOT, ROOT_PASSWORD, one.tls)
        began = monotonic()
        async with Stage(cluster, history, judge, random.Random(seed)) as stage:
            readers = Readers(
                history,
                stage.daemon.socket,
                random.Random(seed),
                tally,
                heartbeat=HEARTBEAT,
                history_events=HISTORY_EVENTS,
            )
            try:
                async with _running(judge.run(), "judge"), _running(readers.run(), "readers"):
                    async with _running(stage.writer.run(), "writer"):
                        await stage.recovered()
                        until = inf if minutes is None else monotonic() + 60 * minutes
                        schedule = islice(rounds(self._kinds, seed), most)
                        for planned in takewhile(lambda _: monotonic() < until, schedule):
                            await self._round(stage, planned)
                    await judge.caught_up(revision := await stage.members.revision())
                    await stage.compare()
                    await readers.settle(revision)
            except BaseException as error:
                self.report.aborted = why(error)
                raise
            finally:
                self._conclude(stage, judge, monotonic() - began)
                if not self.report.ok:
                    self._keep_evidence(stage)

    @property
    def evidence(self) -> Path | None:
        """Where the logs of a failed run are."""
        return self._keep

    async def _round(self, stage: Stage, planned: Round) -> None:
        report = self.report
        names = [fault.kind.name for fault in planned.faults]
        began = monotonic()
        played = await play(stage, planned)
        healed = monotonic()
        report.rounds += 1
        for name, missed in played.items():
            (report.missed if missed else report.faults)[name] += 1
            if missed:
                say(f"     {name}: missed, as {missed}")
        try:
            await stage.recovered()
        except NotRecoveredError as error:
            self._violated(
                "recovers", f"after {', '.join(names)}: {error}", "etcd is well, and can be reached"
            )
            await stage.kill_daemon()  # so that the rest of the run is worth something
            await stage.start_daemon()
        recovery = monotonic() - healed
        report.recoveries.append(recovery)
        await stage.ready()
        await asyncio.sleep(PEACE)
        say(
            f"{planned.number:4} {healed - began:5.1f} s, live after {recovery:4.1f} s; "
            f"{report.tally.events} events judged, {len(report.tally.violations)} violations; "
            f"{', '.join(names)}"
        )

    def _conclude(self, stage: Stage, judge: Judge, seconds: float) -> None:
        report, lives = self.report, stage.lives
        report.seconds = seconds
        report.generations = self._history.generation + 1
        generations = [self._history.of(number) for number in range(report.generations)]
        report.revisions = sum(generation.head - generation.since for generation in generations)
        report.compared, report.skipped = stage.compared, judge.skipped
        report.written, report.refused = stage.writer.written, stage.writer.failed
        report.processes, report.peak_bytes = lives.processes, lives.peak_bytes
        report.full_reads = lives.total("full_reads")
        report.reconnects = lives.total("watch_reconnects")
        if greedy(lives.peak_bytes):
            self._violated("memory", f"{lives.peak_bytes} bytes", f"{MEMORY_BYTES} are plenty for this range")
        for text in strange(stage.daemon.log_text(), tls=self.report.tls):
            self._violated("log", text, "nothing is logged as an error but the causes that there are")

    def _violated(self, rule: str, told: str, true: str) -> None:
        self.report.tally.violated(rule, "the run itself", told, true, monotonic(), "", 0)

    def _keep_evidence(self, stage: Stage) -> None:
        self._keep = Path(tempfile.mkdtemp(prefix="syncd-chaos-"))
        shutil.copy(stage.daemon.log_file, self._keep / "syncd.log")
        for member in stage.cluster.members:
            shutil.copy(member.log, self._keep / f"{member.name}.log")
        (self._keep / "report.txt").write_text(f"{self.report}\n")
        (self._keep / "violations.txt").write_text(
            "\n\n".join(str(violation) for violation in self.report.tally.violations)
        )


def chosen(version: str, only: Collection[str], *, tls: bool = False) -> list[Kind]:
    """The kinds for a version; with `only`, those whose names contain one of these. ValueError for none."""
    kinds = list(faults_for(version, tls=tls))
    found = [kind for kind in kinds if not only or any(text in kind.name for text in only)]
    if not found:
        raise ValueError(f"no kind of fault is called so; there are: {', '.join(k.name for k in kinds)}")
    return found


def strange(log: str, *, tls: bool = False) -> list[str]:
    """What in the daemon's log nobody had thought of: tracebacks, errors without a cause, no JSON."""
    due = CAUSES_TLS if tls else CAUSES
    return [line for line in log.splitlines() if "Traceback" in line or _is_strange(line, due)]


def _is_strange(line: str, due: Collection[str]) -> bool:
    try:
        logged = json.loads(line)
        return logged["level"] in ("error", "critical") and logged.get("code", logged["event"]) not in due
    except (ValueError, TypeError, KeyError):  # it is not one of syncd's lines
        return True


def greedy(peak_bytes: int) -> bool:
    """Whether a daemon took more memory than what it does here can explain."""
    return peak_bytes > MEMORY_BYTES


def why(error: BaseException) -> str:
    """What ended a run, in one line."""
    if isinstance(error, BaseExceptionGroup):
        return "; ".join(why(one) for one in error.exceptions)
    if isinstance(error, (KeyboardInterrupt, asyncio.CancelledError)):
        return "interrupted"
    return f"{type(error).__name__}: {error}"


def say(text: str) -> None:
    """One line of progress."""
    print(text, file=sys.stderr, flush=True)


def main(argv: Sequence[str] | None = None) -> int:
    """The command; its exit code: 0 all is well, 1 violations, 2 a wrong command, 3 the run was aborted."""
    parser = argparse.ArgumentParser(prog="tests/chaos", description=__doc__)
    parser.add_argument("--minutes", type=float, default=MINUTES, help=f"{MINUTES:g} by default")
    parser.add_argument("--rounds", type=int, help="so many of them, however long that takes")
    parser.add_argument("--seed", type=int, default=secrets.randbits(32), help="repeats a run's schedule")
    parser.add_argument("--version", default=VERSION, help=f"etcd's; {VERSION} by default")
    parser.add_argument("--tls", action="store_true", help="with certificates, and faults of those")
    parser.add_argument("--only", nargs="+", default=(), metavar="KIND", help="parts of the names of faults")
    parser.add_argument("--json", type=Path, metavar="FILE", help="where to write the report as JSON")
    arguments = parser.parse_args(argv)
    if reason := reason_missing(arguments.version):
        parser.error(f"no etcd {arguments.version}: {reason}")
    try:
        chaos = Chaos(arguments.version, arguments.seed, arguments.only, tls=arguments.tls)
    except ValueError as error:
        parser.error(str(error))
    most = arguments.rounds
    minutes = arguments.minutes if most is None else None
    length = f"{minutes:g} minutes" if most is None else f"{most} rounds"
    say(f"seed {arguments.seed}, {chaos.report.etcd}, {length}")
    try:
        asyncio.run(chaos.run(minutes, most))
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 - whatever it is, the report is due
        chaos.report.aborted = chaos.report.aborted or why(error)
        traceback.print_exc()
    print(chaos.report)
    if chaos.evidence:
        print(f"the logs are in {chaos.evidence}")
    if arguments.json:
        arguments.json.write_text(chaos.report.as_json())
    return chaos.report.exit_code


@asynccontextmanager
async def _running(work: Coroutine[None, None, None], name: str) -> AsyncIterator[None]:
    """Run `work` beside what is inside, and cancel it after; when it fails, so does what is inside."""
    async with asyncio.TaskGroup() as group:
        task = group.create_task(work, name=name)
        yield
        while not task.done():
            task.cancel()  # again, as one can get lost: seen once, after an hour, in a task that used aiohttp
            await asyncio.wait([task], timeout=LOST_SECONDS)


if __name__ == "__main__":
    sys.exit(main())
