"""syncd's lines as values; what does not have their form is Malformed."""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from tests.reliability.history import Record

Only = Literal["put", "delete"]


class Malformed(Exception):
    """Something told that is not of the form that the local API has."""


@dataclass(frozen=True, slots=True)
class Selection:
    """What was asked for."""

    prefix: bytes
    prev_kv: bool = False
    only: Only | None = None


class Told(NamedTuple):
    """One event as told: `kv` is None for a delete, `revision` its own."""

    key: bytes
    kv: Record | None
    revision: int
    prev: Record | None


@dataclass(frozen=True, slots=True)
class Batch:
    """All that a revision changed; with `resync`, all that changed since what was told before, in `epoch`."""

    revision: int
    events: tuple[Told, ...]
    resync: bool = False
    epoch: str = ""


@dataclass(frozen=True, slots=True)
class Progress:
    """Nothing more up to `revision`."""

    revision: int
    state: str
    age_ms: int | None


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All that `epoch` held at `revision`; `counts` are what its head and its end said."""

    revision: int
    epoch: str
    state: str
    age_ms: int | None
    records: tuple[Record, ...]
    counts: tuple[int, int]
    keys_only: bool = False


@dataclass(frozen=True, slots=True)
class Refusal:
    """An error."""

    code: str
    message: str
    oldest_revision: int | None = None


@dataclass(slots=True)
class Lines:
    """Puts a stream's lines together: a snapshot is one thing, told when its end has come."""

    keys_only: bool = False
    _head: dict[str, Any] | None = None
    _records: list[Record] = field(default_factory=list)

    @property
    def within(self) -> bool:
        """Whether a snapshot was begun and not ended."""
        return self._head is not None

    def add(self, line: Mapping[str, Any]) -> Batch | Progress | Snapshot | Refusal | None:
        """What is told with this line; None in the middle of a snapshot."""
        try:
            if self._head is None:
                if "count" not in line:
                    return _alone(line)
                self._head = dict(line)
                return None
            if "end" not in line:
                self._records.append(record(line, keys_only=self.keys_only))
                return None
            head, self._head = self._head, None
            records, self._records = tuple(self._records), []
            return Snapshot(
                head["revision"],
                head["epoch"],
                head["state"],
                head["age_ms"],
                records,
                (head["count"], line["count"]),
                self.keys_only,
            )
        except (KeyError, TypeError, ValueError) as error:
            raise Malformed(f"{error!r} in {line}") from error


def refusal(line: Mapping[str, Any]) -> Refusal:
    """An error, from its JSON."""
    try:
        error = line["error"]
        return Refusal(error["code"], error["message"], error.get("oldest_revision"))
    except (KeyError, TypeError) as missing:
        raise Malformed(f"{missing!r} in {line}") from missing


def record(fields: Mapping[str, Any], *, keys_only: bool = False) -> Record:
    """A record, from its JSON."""
    return Record(
        _bytes(fields, "key"),
        b"" if keys_only else _bytes(fields, "value"),
        fields["create_revision"],
        fields["mod_revision"],
        fields["version"],
        fields["lease"],
    )


def _alone(line: Mapping[str, Any]) -> Batch | Progress | Refusal:
    if "error" in line:
        return refusal(line)
    if line.get("progress"):
        return Progress(line["revision"], line["state"], line["age_ms"])
    resync = line.get("resync", False)
    return Batch(line["revision"], _events(line["events"]), resync, line["epoch"] if resync else "")


def _events(events: Sequence[Mapping[str, Any]]) -> tuple[Told, ...]:
    told = []
    for event in events:
        kv, prev = event["kv"], event.get("prev_kv")
        if (kind := event["type"]) not in ("put", "delete"):
            raise ValueError(kind)
        put = record(kv) if kind == "put" else None
        told.append(
            Told(_bytes(kv, "key"), put, kv["mod_revision"], record(prev) if prev is not None else None)
        )
    return tuple(told)


def _bytes(fields: Mapping[str, Any], name: str) -> bytes:
    if name in fields:
        text: str = fields[name]
        return text.encode()
    return b64decode(fields[f"{name}_b64"], validate=True)
