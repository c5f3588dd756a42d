"""`syncd run`: the daemon in the foreground, with a progress bar when a person watches a long read."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from syncd.cli import exits
from syncd.cli.terminal import discard_output, say
from syncd.config import ConfigError
from syncd.daemon import StartError
from syncd.daemon import run as run_daemon
from syncd.serve import ListenError
from syncd.status import RangeStatus

REFRESH = 0.2
"""Seconds between two looks at the reads under way."""


def run(config: Path) -> int:
    """Run the daemon until it is told to stop; the exit code."""
    try:
        run_daemon(config, _progress if sys.stderr.isatty() else None)
    except ConfigError as error:
        print(error, file=sys.stderr)
        return exits.USAGE
    except (StartError, ListenError) as error:
        say(str(error))
        return exits.FAILED
    try:
        sys.stderr.flush()
    except OSError:
        discard_output(2)  # that nobody reads the log any more is no failure of the daemon
    return exits.DONE


@contextmanager
def _progress(states: Callable[[], Sequence[RangeStatus]]) -> Iterator[None]:
    """Show a bar for each full read under way, from a thread of its own: drawing must not delay readers."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("reading {task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    display = Progress(*columns, console=Console(stderr=True), transient=True, auto_refresh=False)
    done = threading.Event()

    def draw() -> None:
        tasks = {status.range: display.add_task(status.range, visible=False) for status in states()}
        while not done.wait(REFRESH):
            for status in states():
                reading = status.syncing
                task = tasks[status.range]
                if reading is None or reading.count is None:
                    display.update(task, visible=False)
                else:
                    display.update(task, visible=True, completed=reading.keys, total=reading.count)
            display.refresh()

    with display:
        thread = threading.Thread(target=draw, name="progress", daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()
