"""Messages of a watch for what mirrors them, and a look at that while it works."""

from __future__ import annotations

import sys
from array import array
from collections.abc import Callable
from types import FrameType
from typing import Any, TypeVar

from syncd.client.lines import SnapshotEnd, SnapshotHead, WatchMessage
from syncd.client.packed import Block
from syncd.records import Event, Record

T = TypeVar("T")


def snapshot(
    revision: int, contents: dict[bytes, bytes], epoch: str = "e", *, packed: bool = False
) -> list[WatchMessage]:
    """The messages of a snapshot, whose keys all have its revision as theirs; `packed`: two at a time."""
    records = [Record(key, value, 1, revision, 1) for key, value in contents.items()]
    told: list[WatchMessage] = [*records]
    if packed:
        told = [_block(records[at : at + 2]) for at in range(0, len(records), 2)]
    return [SnapshotHead(revision, epoch, len(records)), *told, SnapshotEnd(len(records))]


def _block(records: list[Record]) -> Block:
    numbers = array("q", [n for r in records for n in (r.create_revision, r.mod_revision, r.version, 0)])
    return Block([record.key for record in records], [record.value for record in records], numbers)


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
