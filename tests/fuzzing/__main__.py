"""Runs targets under atheris, one after the other, and says what came of it; see `tests/fuzz`."""

from __future__ import annotations

import argparse
import os
import re
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from tests.fuzzing.targets import TARGETS, Target

ROOT = Path(__file__).resolve().parents[2]
WORK = ROOT / ".cache" / "fuzz"

REPORT_SECONDS = 10.0
"""Between two lines of progress."""

_STATUS = re.compile(r"#(\d+)\s+\w+\s+cov: (\d+) ft: (\d+)")
_KEPT = re.compile(r"Test unit written to (.+)")
_RUNS = re.compile(r"stat::number_of_executed_units: (\d+)")


@dataclass
class Outcome:
    """What running one target gave; `failure` is empty when no input failed."""

    target: str
    executions: int = 0
    coverage: int = 0
    features: int = 0
    seconds: float = 0.0
    failure: str = ""


def main() -> int:
    """Run; 0 when no input failed, 1 when some did, 2 when nothing can be run."""
    parser = argparse.ArgumentParser(prog="tests/fuzz", description="Fuzz with atheris, target by target.")
    parser.add_argument("--seconds", type=int, default=60, help="for each target (default: 60)")
    parser.add_argument(
        "--replay", type=Path, metavar="FILE", help="give one target one input, without atheris"
    )
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=f"of {', '.join(TARGETS)}; default: all")
    arguments = parser.parse_args()
    if unknown := [name for name in arguments.targets if name not in TARGETS]:
        parser.error(f"no target {unknown[0]}; there are {', '.join(TARGETS)}")
    chosen = [TARGETS[name] for name in arguments.targets or TARGETS]
    if arguments.replay:
        for target in chosen:
            os.environ.update(target.environment)
            target.load()(arguments.replay.read_bytes())
        return 0
    if not find_spec("atheris"):
        print("tests/fuzz: there is no atheris here; it has wheels for CPython 3.11 to 3.13 on x86-64 Linux")
        return 2
    outcomes = [fuzz(target, arguments.seconds) for target in chosen]
    _summarise(outcomes)
    return int(any(outcome.failure for outcome in outcomes))


def command(target: Target, flags: Sequence[str], *folders: Path) -> list[str]:
    """The command line of a process that fuzzes `target`, and ends with whoever started it."""
    python = ["setpriv", "--pdeathsig", "KILL", "--", sys.executable]
    return [*python, "-m", "tests.fuzzing.under_atheris", target.name, *flags, *map(str, folders)]


def write_seeds(target: Target, folder: Path) -> None:
    """The corpus as libFuzzer wants it: a folder of files."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, data in enumerate(target.seeds().values()):
        (folder / f"seed-{number:03}").write_bytes(data)


def fuzz(target: Target, seconds: int) -> Outcome:
    """Run one target for `seconds`, or until an input fails; the next time goes on from what was found."""
    folder = WORK / target.name
    corpus, crashes, log = folder / "corpus", folder / "crashes", folder / "log"
    crashes.mkdir(parents=True, exist_ok=True)
    write_seeds(target, corpus)
    outcome = Outcome(target.name)
    flags = [f"-max_total_time={seconds}", f"-artifact_prefix={crashes}/", "-print_final_stats=1"]
    print(f"{target.name}: from {len(list(corpus.iterdir()))} inputs, for {seconds} s", flush=True)
    begin = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="fuzz-") as temporary, log.open("w+") as said:
        environment = {**os.environ, **target.environment, "TMPDIR": temporary}
        process = subprocess.Popen(
            command(target, flags, corpus), cwd=ROOT, env=environment, stdout=said, stderr=said
        )
        try:
            while not _ended(process):
                _read_log(outcome, log)
                print(f"{target.name}: {_progress(outcome, time.monotonic() - begin)}", flush=True)
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
    outcome.seconds = time.monotonic() - begin
    _read_log(outcome, log)
    if process.returncode:
        kept = _KEPT.search(log.read_text(errors="replace"))
        outcome.failure = kept[1] if kept else f"ended with {process.returncode}; see {log}"
        print(f"{target.name}: FAILED\n{_last_traceback(log)}", flush=True)
    return outcome


def _ended(process: subprocess.Popen[bytes]) -> bool:
    try:
        process.wait(REPORT_SECONDS)
    except subprocess.TimeoutExpired:
        return False
    return True


def _read_log(outcome: Outcome, log: Path) -> None:
    text = log.read_text(errors="replace")
    for status in _STATUS.finditer(text):
        outcome.executions, outcome.coverage, outcome.features = map(int, status.groups())
    if runs := _RUNS.search(text):
        outcome.executions = int(runs[1])


def _progress(outcome: Outcome, seconds: float) -> str:
    return f"{seconds:.0f} s, {outcome.executions:,} executions, coverage {outcome.coverage}"


def _last_traceback(log: Path) -> str:
    """What the process said last, without what libFuzzer says about itself."""
    text = log.read_text(errors="replace")
    begin = max(text.find("=== Uncaught Python exception"), text.rfind("Traceback (most recent"), 0)
    return text[begin:].partition("==")[0][-4000:] or text[-4000:]


def _summarise(outcomes: Sequence[Outcome]) -> None:
    print(f"\n{'target':<15} {'executions':>12} {'per second':>10} {'coverage':>9} {'features':>9}  failed")
    for outcome in outcomes:
        rate = outcome.executions / max(outcome.seconds, 1e-9)
        print(
            f"{outcome.target:<15} {outcome.executions:>12,} {rate:>10,.0f} {outcome.coverage:>9} "
            f"{outcome.features:>9}  {outcome.failure or 'no input'}"
        )
    for outcome in outcomes:
        if Path(outcome.failure).is_file():
            print(f"again: tests/fuzz --replay {shlex.quote(outcome.failure)} {outcome.target}")


if __name__ == "__main__":
    sys.exit(main())
