"""The contents of a mirror: messages of a watch in, steps out, each of which becomes visible at once.

No I/O, no threads, no clock. `stage` does the work, above all the decoding, and changes nothing that anyone
sees; `commit` makes a step visible, and is quick:

    step = replica.stage(message)
    if step: replica.commit(step)

Readers look into `data`, a plain dict, at any time, also between two bytecodes of a `commit`. So each commit
is one step of the interpreter's: a batch of puts is one `dict.update`, a single delete one `del`; any other
batch is made in a copy, which then takes the dict's place. Whoever needs several keys of one revision takes a
`hold`: while it lives, the `data` of that moment is not written to; the next commit makes a copy.

Copying 500,000 entries takes some 10 ms, once for a hold and however many batches come while it lives. What
was looked at instead: buckets by hash, and old values kept beside a dict that goes on, make that copy cheap
but every lookup half as dear again or twice; a lock for each lookup costs more than the lookup.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any, Generic, NoReturn, TypeVar, cast

import msgspec

from syncd.client.errors import ClientError, NotReadyError, ProtocolError
from syncd.client.lines import Bookmark, Progress, SnapshotEnd, SnapshotHead, WatchMessage
from syncd.client.mirror.updates import KeyChange, Update
from syncd.client.packed import Block
from syncd.records import Batch, Record

V = TypeVar("V")
T = TypeVar("T")

_ABSENT: Any = object()
"""Stands for the value of a key that does not exist; None can be a decoded value."""


class DecodeError(ClientError):
    """`decode` failed on the value that `key` has had since `revision`; `__cause__` is what it raised."""

    def __init__(self, key: str, revision: int, cause: BaseException, *, kept: bool) -> None:
        told = f"the value of {key!r} at revision {revision} cannot be decoded"
        left = "its last good value is kept" if kept else "the key is left out"
        super().__init__(f"{told}, {left}: {type(cause).__name__}: {cause}")
        self.key = key
        self.revision = revision
        self.kept = kept
        """Whether there is an older value, which is kept."""
        self.__cause__ = cause


class Nothing(dict[str, V]):
    """Contents that are not known yet. They are not empty: every look at them is a NotReadyError."""

    reason = "nothing was received yet"

    def _refuse(self, *_: object) -> NoReturn:
        raise NotReadyError(f"not mirrored yet: {self.reason}")

    __missing__ = __contains__ = __iter__ = __len__ = __bool__ = _refuse
    get = keys = values = items = copy = _refuse


class Hold:
    """While it lives, the dict that was `data` when it was taken stays as it is."""

    __slots__ = ("__weakref__",)


class Reach(msgspec.Struct, frozen=True):
    """Nothing changed up to `revision`."""

    revision: int
    epoch: str


class Amend(msgspec.Struct, Generic[V], frozen=True):
    """Some keys have changed."""

    update: Update[V]
    puts: dict[str, V]
    removed: list[str]
    raw: dict[str, bytes | None]
    """Of all that came, what was decoded or could not be; None if deleted."""
    failures: dict[str, DecodeError | None]
    """Of the same keys; None where there is none any more."""
    reports: list[DecodeError]


class Replace(msgspec.Struct, Generic[V], frozen=True):
    """These are the contents, whatever was held before."""

    update: Update[V]
    data: dict[str, V]
    raw: dict[str, bytes]
    failures: dict[str, DecodeError]
    reports: list[DecodeError]


Step = Reach | Amend[V] | Replace[V]
"""What `commit` makes visible. `update` is what to tell of it, `reports` the failures that are new."""


class Replica(Generic[V]):
    """What a mirror holds; see the module's text. `decode` None takes the bytes as they are.

    With `decode`, the bytes are kept beside what they were decoded to: what a gap changed is told exactly,
    and what it did not change is not decoded again.
    """

    def __init__(self, decode: Callable[[bytes], V] | None) -> None:
        self.data: dict[str, V] = Nothing()
        self.revision = 0
        self.epoch = ""
        self.failures: dict[str, DecodeError] = {}
        self._decode = decode
        self._raw: dict[str, bytes] = {}
        self._incoming: _Incoming[V] | None = None
        self._hold: weakref.ref[Hold] | None = None

    @property
    def ready(self) -> bool:
        """Whether anything was received yet; once it was, it stays so."""
        return not isinstance(self.data, Nothing)

    @property
    def bookmark(self) -> Bookmark | None:
        """After which the changes are still to come; None while nothing is held."""
        return Bookmark(self.revision, self.epoch) if self.ready else None

    def hold(self) -> Hold:
        """Keep `data` as it is for as long as the hold lives."""
        hold = self._living_hold()
        if hold is None:
            hold = Hold()
            self._hold = weakref.ref(hold)
        return hold

    def stage(self, message: WatchMessage) -> Step[V] | None:
        """Work out what a message changes; None when that is known only after further messages."""
        match message:
            case SnapshotHead():
                self._incoming = _Incoming(message)
            case Record():
                self._receive(message)
            case Block():
                self._receive_block(message)
            case SnapshotEnd():
                return self._replace()
            case Batch():
                return self._amend(message)
            case Progress():
                return Reach(message.revision, message.epoch)
        return None

    def commit(self, step: Step[V]) -> None:
        """Make a step visible."""
        match step:
            case Reach(revision, epoch):
                self.revision, self.epoch = revision, epoch
                return
            case Replace():
                self.data, self._raw, self.failures = step.data, step.raw, step.failures
                self._hold = None
            case Amend():
                self._write(step.puts, step.removed)
                _lay_over(self._raw, step.raw)
                _lay_over(self.failures, step.failures)
        self.revision, self.epoch = step.update.revision, step.update.epoch

    def _write(self, puts: dict[str, V], removed: list[str]) -> None:
        data = self.data
        if self._living_hold() or (removed and len(puts) + len(removed) > 1):
            data = data.copy()
            self._hold = None
        data.update(puts)
        for key in removed:
            del data[key]
        self.data = data

    def _living_hold(self) -> Hold | None:
        return None if self._hold is None else self._hold()

    def _amend(self, batch: Batch) -> Amend[V]:
        if not self.ready:
            raise ProtocolError("a batch came before the snapshot that it belongs to")
        self._incoming = None
        values: dict[str, V] = {}
        raw: dict[str, bytes | None] = {}
        failures: dict[str, DecodeError | None] = {}
        changes: list[KeyChange[V]] = []
        for event in batch.events:
            key, value = _text(event.kv.key), event.kv.value
            old = values[key] if key in values else self.data.get(key, _ABSENT)
            new: V = _ABSENT
            raw[key] = failures[key] = None
            if not event.deleted:
                if batch.resync and self._holds(key, value):
                    del raw[key], failures[key]
                    continue
                raw[key] = value
                try:
                    new = self._decoded(key, value, event.kv.mod_revision, kept=old is not _ABSENT)
                except DecodeError as error:
                    failures[key] = error
                    continue
            values[key] = new
            if (change := _change(key, old, new, batch.revision)) is not None:
                changes.append(change)
        return Amend(
            update=Update(batch.revision, batch.epoch, tuple(changes), gap=batch.resync),
            puts={key: value for key, value in values.items() if value is not _ABSENT},
            removed=[key for key, value in values.items() if value is _ABSENT and key in self.data],
            raw=raw if self._decode else {},
            failures=failures if self._decode else {},
            reports=[error for error in failures.values() if error],
        )

    def _receive(self, record: Record) -> None:
        incoming = self._snapshot()
        key, value = _text(record.key), record.value
        held = self.data if self.ready else {}
        if self._decode:
            incoming.raw[key] = value
        if self._holds(key, value):
            incoming.data[key] = held[key]  # the same object: this is how _replace knows that it is no change
            return
        try:
            incoming.data[key] = self._decoded(key, value, record.mod_revision, kept=key in held)
        except DecodeError as error:
            if key in held:
                incoming.data[key] = held[key]
            known = self.failures.get(key)
            if known and self._raw.get(key) == value:
                incoming.failures[key] = known
            else:
                incoming.failures[key] = error
                incoming.reports.append(error)

    def _receive_block(self, block: Block) -> None:
        if self.ready or self._decode:
            for record in block.records():
                self._receive(record)
        else:  # there is nothing to compare with
            values = cast("list[V]", block.values)
            self._snapshot().data.update(zip(map(_text, block.keys), values, strict=True))

    def _replace(self) -> Replace[V]:
        incoming, self._incoming = self._snapshot(), None
        head, data = incoming.head, incoming.data
        held = self.data if self.ready else {}
        changes = [
            change
            for key, value in data.items()
            if (old := held.get(key, _ABSENT)) is not value
            and (change := _change(key, old, value, head.revision))
        ]
        changes += [
            KeyChange(key, "removed", None, old, head.revision)
            for key, old in held.items()
            if key not in data
        ]
        update = Update(head.revision, head.epoch, tuple(changes), gap=True)
        return Replace(update, data, incoming.raw, incoming.failures, incoming.reports)

    def _snapshot(self) -> _Incoming[V]:
        if self._incoming is None:
            raise ProtocolError("a snapshot's line came before its head")
        return self._incoming

    def _holds(self, key: str, value: bytes) -> bool:
        """Whether the key has these very bytes already, and they could be decoded."""
        if not self.ready:
            return False
        if self._decode is None:
            return self.data.get(key) == value
        return self._raw.get(key) == value and key not in self.failures

    def _decoded(self, key: str, value: bytes, revision: int, *, kept: bool) -> V:
        if self._decode is None:
            return cast("V", value)
        try:
            return self._decode(value)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # also of sys.exit(), which would end the mirror without a word
            raise DecodeError(key, revision, error, kept=kept) from error


class _Incoming(Generic[V]):
    """A snapshot that is not complete yet."""

    def __init__(self, head: SnapshotHead) -> None:
        self.head = head
        self.data: dict[str, V] = {}
        self.raw: dict[str, bytes] = {}
        self.failures: dict[str, DecodeError] = {}
        self.reports: list[DecodeError] = []


def _text(key: bytes) -> str:
    return key.decode("utf-8", "surrogateescape")


def _change(key: str, old: V, new: V, revision: int) -> KeyChange[V] | None:
    if old is _ABSENT:
        return None if new is _ABSENT else KeyChange(key, "added", new, None, revision)
    if new is _ABSENT:
        return KeyChange(key, "removed", None, old, revision)
    return KeyChange(key, "changed", new, old, revision)


def _lay_over(under: dict[str, T], over: dict[str, T | None]) -> None:
    for key, value in over.items():
        if value is None:
            under.pop(key, None)
        else:
            under[key] = value
