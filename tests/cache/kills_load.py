"""The load on etcd, and what it made of it: there is no other writer, so this one knows each revision.

Puts, deletes, transactions of several keys, whole folders deleted, large values, and keys beside the range.
Each write waits for etcd's answer, and takes its place in the history then.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterable, Sequence
from typing import Any

from tests.calls import prefix_end
from tests.etcd import Etcd
from tests.reliability.history import Change, Event, Generation, History, Record
from tests.reliability.members import Members, b64, revision

PREFIX = b"/k/"
"""What is mirrored."""

MARK = PREFIX + b"!generation"
"""Tells which generation it is; the first thing written, and never again."""

OUTSIDE = b"/o/"
FOLDERS = 40
KEYS = 100
"""Keys in each folder: 32 blocks and more, in all."""

WRITES_A_SECOND = 100.0
FILL_KEYS = 500
"""In one transaction."""

TXN_KEYS = 12
VALUE_BYTES = (20, 300)
LARGE_BYTES = (8 << 10, 48 << 10)
KINDS = {"put": 60, "delete": 12, "txn": 15, "folder": 1, "large": 2, "outside": 10}
"""What is written, and how often."""

SECONDS = 30.0  # for an answer: a busy machine is no failure

Changed = tuple[int, tuple[Event, ...]]
"""A revision, and what it changed in the range."""


class Load:
    """Writes to `etcd` through `members`; what was written is in `history`."""

    def __init__(self, etcd: Etcd, members: Members, draw: random.Random) -> None:
        self.etcd = etcd
        self.history = History()
        self._members = members
        self._draw = draw
        self._held: dict[bytes, Record] = {}
        self._turn = asyncio.Lock()

    @property
    def head(self) -> int:
        """The last revision."""
        return self.history.current.head

    async def run(self) -> None:
        """Write until cancelled."""
        while True:
            async with self._turn:
                await self._write_anything()
            await asyncio.sleep(self._draw.expovariate(WRITES_A_SECOND))

    async def answered(self) -> None:
        """Return when the write under way, of which others may know already, is in the history."""
        async with self._turn:
            pass

    async def fill(self) -> None:
        """Write every key, after a mark of the generation."""
        async with self._turn:
            await self._fill()

    async def compact(self, writes: int) -> None:
        """Write so much, and have all history before it forgotten, and some of it."""
        async with self._turn:
            for _ in range(writes):
                await self._write_anything()
            await self._ask("/kv/compaction", {"revision": self.head, "physical": True})

    async def begin_anew(self) -> None:
        """Another etcd takes the place of this one, with the same cluster id or with a new one."""
        async with self._turn:
            self.etcd.begin_anew(new_cluster_id=self._draw.random() < 0.5)
            self.history.begin(since=1)
            self._held.clear()
            await self._members.revision()  # notices that the connections are those to the old one
            await self._fill()

    async def _fill(self) -> None:
        await self._write([(MARK, b"%d" % self.history.generation)])
        keys = [_key(folder, number) for folder in range(FOLDERS) for number in range(KEYS)]
        for begin in range(0, len(keys), FILL_KEYS):
            await self._write([(key, self._value()) for key in keys[begin : begin + FILL_KEYS]])

    async def _write_anything(self) -> None:
        draw = self._draw
        kind = draw.choices(tuple(KINDS), tuple(KINDS.values()))[0]
        if kind == "folder":
            await self._delete_folder(PREFIX + b"%02d/%d" % (draw.randrange(FOLDERS), draw.randrange(10)))
        elif kind == "txn":
            keys = sorted({self._any_key() for _ in range(draw.randint(2, TXN_KEYS))})
            values = [self._value() if draw.random() < 0.7 else None for _ in keys]
            await self._write(list(zip(keys, values, strict=True)))
        elif kind == "outside":
            await self._write([(OUTSIDE + b"%d" % draw.randrange(50), self._value())])
        elif kind == "large":
            await self._write([(self._any_key(), draw.randbytes(draw.randint(*LARGE_BYTES)))])
        else:
            await self._write([(self._any_key(), self._value() if kind == "put" else None)])

    async def _write(self, writes: Sequence[tuple[bytes, bytes | None]]) -> None:
        """One transaction; None deletes."""
        steps: list[dict[str, Any]] = [
            {"request_put": {"key": b64(key), "value": b64(value)}}
            if value is not None
            else {"request_delete_range": {"key": b64(key)}}
            for key, value in writes
        ]
        await self._do("/kv/txn", {"success": steps}, writes)

    async def _delete_folder(self, folder: bytes) -> None:
        gone = sorted(key for key in self._held if key.startswith(folder))
        interval = {"key": b64(folder), "range_end": b64(prefix_end(folder))}
        await self._do("/kv/deleterange", interval, [(key, None) for key in gone])

    async def _do(
        self, path: str, body: dict[str, Any], writes: Iterable[tuple[bytes, bytes | None]]
    ) -> None:
        number = self.head + 1
        changes = []
        for key, value in writes:
            prev = self._held.get(key)
            if value is not None:
                created, version = (prev.create_revision, prev.version + 1) if prev else (number, 1)
                self._held[key] = Record(key, value, created, number, version, 0)
                changes.append(Change(key, self._held[key], prev))
            elif prev:
                del self._held[key]
                changes.append(Change(key, None, prev))
        answer = await self._ask(path, body)
        if changes:
            self.history.current.add(number, changes)
        if revision(answer) != self.head:
            raise AssertionError(f"{path} came to revision {revision(answer)}, not to {self.head}")

    async def _ask(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        return await self._members.ask(path, body, SECONDS)

    def _any_key(self) -> bytes:
        return _key(self._draw.randrange(FOLDERS), self._draw.randrange(KEYS))

    def _value(self) -> bytes:
        return self._draw.randbytes(self._draw.randint(*VALUE_BYTES))


def changed(generation: Generation, after: int, until: int) -> list[Changed]:
    """All revisions after `after`, up to `until`, that changed something in the range, and what."""
    found = []
    for number in range(after + 1, until + 1):
        events = tuple(event for event in generation.events(number) if event.key.startswith(PREFIX))
        if events:
            found.append((number, events))
    return found


def generation_of(history: History, mark: Record | None) -> Generation:
    """Whose state it is that has `mark`; before it is written, there is nothing, and that is now."""
    return history.of(int(mark.value)) if mark else history.current


def _key(folder: int, number: int) -> bytes:
    return PREFIX + b"%02d/%02d" % (folder, number)
