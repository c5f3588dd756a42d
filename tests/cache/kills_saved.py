"""What a killed daemon has left on the disk, read as the next one would, and held against what etcd did."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from syncd import records
from syncd.cache import occupied
from syncd.keyrange import KeyRange, prefix_range
from syncd.store import Store
from tests.cache.kills_court import Court, Place
from tests.cache.kills_load import PREFIX, Changed
from tests.calls import RefusedError
from tests.etcd import Etcd
from tests.reliability.history import Event, Generation, Record
from tests.store.model import contents
from tests.sync.harness import etcds_state

WHO = "the disk"
RANGE: KeyRange = prefix_range(PREFIX)
UNBOUNDED = 1 << 40


@dataclass(frozen=True, slots=True)
class Saved:
    """What a daemon would begin with."""

    place: Place
    state: dict[bytes, Record]
    oldest_revision: int
    """What readers could resume from,"""
    changes: list[Changed]
    """with this,"""
    epochs: set[str]
    """which is said to have happened in these."""


def saved(directory: Path) -> Saved | None:
    """What a daemon would find in `directory`; None when there is nothing. Only with one thread."""
    store = Store(RANGE, history_events=UNBOUNDED, history_bytes=UNBOUNDED)
    with occupied(directory) as held:
        if held.files_of(RANGE).load(store) is None:
            return None
    return seen(store)


def seen(store: Store) -> Saved:
    """What `store` holds."""
    batches = store.history.since(store.history.first, UNBOUNDED)
    return Saved(
        Place(store.epoch, store.revision),
        {key: _record(record) for key, record in contents(store).items()},
        store.history.oldest_revision,
        [(batch.revision, tuple(map(_event, batch.events))) for batch in batches],
        {batch.epoch for batch in batches},
    )


def judge(court: Court, found: Saved) -> Generation:
    """It is what etcd held at that revision, with the history that leads there; the generation it is of."""
    generation = court.state(WHO, found.place, found.state)
    if found.epochs - {found.place.epoch}:
        court.violated(WHO, f"its history is of {found.epochs}, its state of {found.place}")
    court.changes(WHO, generation, found.oldest_revision, found.place.revision, found.changes)
    return generation


def compare(court: Court, found: Saved, etcd: Etcd) -> bool:
    """The same by etcd's own word; False when it has forgotten that revision."""
    try:
        true = etcds_state(etcd, RANGE, found.place.revision)
    except RefusedError as error:
        if "compacted" in error.text:
            return False
        raise
    if found.state != {key: _record(record) for key, record in true.items()}:
        court.violated(WHO, f"etcd has something else at {found.place}")
    return True


def drafts(directory: Path) -> list[str]:
    """Files whose making was never ended."""
    return [path.name for path in directory.glob("*.new")]


def strange(directory: Path, *, by_itself: bool) -> list[str]:
    """Files that should not be there, after a daemon that was killed, or one that ended `by_itself`."""
    found = [path.name for path in directory.glob("*.aside")]
    if by_itself:
        copies = sorted(path.name for path in directory.glob("*.lmdb"))
        found += [*drafts(directory), *copies[1:]]
    return found


def _record(record: records.Record) -> Record:
    return Record(
        record.key,
        record.value,
        record.create_revision,
        record.mod_revision,
        record.version,
        record.lease,
    )


def _event(event: records.Event) -> Event:
    return Event(
        event.kv.key,
        None if event.deleted else _record(event.kv),
        _record(event.prev) if event.prev else None,
    )
