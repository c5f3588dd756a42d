"""Messages of a watch for what mirrors them, and a look at that while it works."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FrameType
from typing import Any, TypeVar

from syncd.client.lines import SnapshotEnd, SnapshotHead, WatchMessage
from syncd.records import Event, Record

T = TypeVar("T")


def snapshot(revision: int, contents: dict[bytes, bytes], epoch: str = "e") -> list[WatchMessage]:
    """The messages of a snapshot, whose keys all have its revision as theirs."""
    records = [Record(key, value, 1, revision, 1) for key, value in contents.items()]
    return [SnapshotHead(revision, epoch, len(records)), *records, SnapshotEnd(len(records))]


def put(key: bytes, value: bytes, revision: int) -> Event:
    """One key has a value."""
    return Event(Record(key, value, 1, revision, 1))


def delete(key: bytes, revision: int) -> Event:
    """One key has none."""
    return Event(Record(key, mod_revision=revision), deleted=True)


def between(action: Callable[[], object], look: Callable[[], T]) -> list[T]:
    """What one sees who looks before each bytecode that Python executes for `action`."""
    seen = []

    def trace(frame: FrameType, event: str, argument: Any) -> Any:
        frame.f_trace_opcodes = True
        sys.settrace(None)
        seen.append(look())
        sys.settrace(trace)
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        action()
    finally:
        sys.settrace(before)
    return seen
