"""Whether a snapshot is what etcd held. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from tests.reliability.court import Court
from tests.reliability.history import Generation, Record
from tests.reliability.told import Snapshot


def judge_snapshot(
    court: Court, reader: str, prefix: bytes, told: Snapshot, generation: Generation, at: float
) -> None:
    """It is what etcd held at its revision, in key order, and complete."""
    true = list(generation.state(prefix, told.revision).values())
    if told.keys_only:
        true = [record._replace(value=b"") for record in true]
    count = (len(told.records),) * 2
    if told.counts != count:
        what = f"{len(told.records)} records"
        court.tally.violated("snapshot", reader, f"counts {told.counts}", what, at, told.epoch, told.revision)
    if list(told.records) != true:
        wrong = _first_difference(told.records, true)
        court.tally.violated("snapshot", reader, *wrong, at, told.epoch, told.revision)


def _first_difference(told: Iterable[Record], true: list[Record]) -> tuple[str, str]:
    told = list(told)
    missing, extra = [r for r in true if r not in told], [r for r in told if r not in true]
    if not missing and not extra:
        return "keys in another order, or twice", "each key once, in order"
    return (
        f"{len(told)} records, of which wrong: {extra}",
        f"{len(true)} records, of which not told: {missing}",
    )
