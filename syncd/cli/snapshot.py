"""`syncd snapshot PREFIX`: all keys and values as of one revision, as the daemon's NDJSON."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from syncd.cli.terminal import Output
from syncd.client import Client, ReadOptions, SnapshotHead

KEYS_A_STEP = 1000
"""Keys between two movements of the progress bar."""


class Progress(Protocol):
    """Takes how many keys are done, and of how many."""

    def __call__(self, done: int, total: int, /) -> None: ...


def snapshot(client: Client, output: Output, prefix: bytes, read: ReadOptions) -> None:
    """Print the snapshot as it is served; CutError when it breaks off or its count is wrong."""
    total = received = 0
    with client.snapshot(prefix, as_json=True, **read) as stream, progress(output) as show:
        for message in stream.messages():
            output.json(stream.line)
            if isinstance(message, SnapshotHead):
                total = message.count
            elif received < total:
                received += 1
            if received % KEYS_A_STEP == 0 or received == total:
                show(received, total)


@contextmanager
def progress(output: Output) -> Iterator[Progress]:
    """Show a bar on standard error, when a person waits there for what goes elsewhere."""
    if output.terminal or not sys.stderr.isatty():
        yield _show_nothing
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bars

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Bars(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("keys", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def _show_nothing(_done: int, _total: int, /) -> None:
    """Nobody waits."""
