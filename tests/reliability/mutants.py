"""Dialogues with one thing wrong in each; `dialogue` is the honest one of revisions 3 to 12, of all keys."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from tests.reliability.dialogue import Dialogue, Line
from tests.reliability.history import Record
from tests.reliability.told import Batch, Progress, Snapshot, Told


def at(dialogue: Dialogue, revision: int) -> int:
    """The index of the batch of `revision`."""
    return next(i for i, line in enumerate(dialogue) if isinstance(line, Batch) and line.revision == revision)


def changed(dialogue: Dialogue, revision: int, *lines: Line) -> Dialogue:
    """With `lines` in the place of the batch of `revision`."""
    index = at(dialogue, revision)
    return [*dialogue[:index], *lines, *dialogue[index + 1 :]]


def events(dialogue: Dialogue, revision: int) -> tuple[Told, ...]:
    """The events of `revision`."""
    line = dialogue[at(dialogue, revision)]
    assert isinstance(line, Batch)
    return line.events


def event_left_out(dialogue: Dialogue) -> Dialogue:
    return changed(dialogue, 5)


def two_left_out_before_a_progress(dialogue: Dialogue) -> Dialogue:
    return changed(changed(dialogue, 11), 12)


def swapped(dialogue: Dialogue) -> Dialogue:
    one, two = at(dialogue, 4), at(dialogue, 5)
    return [*dialogue[:one], dialogue[two], dialogue[one], *dialogue[two + 1 :]]


def events_swapped(dialogue: Dialogue) -> Dialogue:
    return changed(dialogue, 6, Batch(6, events(dialogue, 6)[::-1]))


def doubled(dialogue: Dialogue) -> Dialogue:
    line = dialogue[at(dialogue, 8)]
    return changed(dialogue, 8, line, line)


def event_doubled(dialogue: Dialogue) -> Dialogue:
    told = events(dialogue, 6)
    return changed(dialogue, 6, Batch(6, (*told, told[0])))


def first_batch_of_the_snapshot_again(dialogue: Dialogue) -> Dialogue:
    return [dialogue[0], Batch(2, (Told(b"/c/a/!generation", None, 2, None),)), *dialogue[1:]]


def split(dialogue: Dialogue) -> Dialogue:
    told = events(dialogue, 6)
    return changed(dialogue, 6, Batch(6, told[:1]), Batch(6, told[1:]))


def part_left_out(dialogue: Dialogue) -> Dialogue:
    return changed(dialogue, 6, Batch(6, events(dialogue, 6)[:2]))


def merged(dialogue: Dialogue) -> Dialogue:
    return changed(changed(dialogue, 4), 5, Batch(5, events(dialogue, 4) + events(dialogue, 5)))


def invented(dialogue: Dialogue) -> Dialogue:
    told = Told(b"/c/a/9", Record(b"/c/a/9", b"", 7, 7, 1, 0), 7, None)
    return [*dialogue[: at(dialogue, 8)], Batch(7, (told,)), *dialogue[at(dialogue, 8) :]]


def wrong_value(dialogue: Dialogue) -> Dialogue:
    [told] = events(dialogue, 5)
    assert told.kv
    return changed(dialogue, 5, Batch(5, (told._replace(kv=told.kv._replace(value=b"tw0")),)))


def wrong_version(dialogue: Dialogue) -> Dialogue:
    [told] = events(dialogue, 12)
    assert told.kv
    return changed(dialogue, 12, Batch(12, (told._replace(kv=told.kv._replace(version=7)),)))


def wrong_revision_of_a_delete(dialogue: Dialogue) -> Dialogue:
    [told] = events(dialogue, 8)
    return changed(dialogue, 8, Batch(8, (told._replace(revision=7),)))


def put_told_as_delete(dialogue: Dialogue) -> Dialogue:
    [told] = events(dialogue, 5)
    return changed(dialogue, 5, Batch(5, (told._replace(kv=None),)))


def outside_the_prefix(dialogue: Dialogue) -> Dialogue:
    told = Told(b"/o/1", Record(b"/o/1", b"outside", 7, 7, 1, 0), 7, None)
    return [*dialogue[: at(dialogue, 8)], Batch(7, (told,)), *dialogue[at(dialogue, 8) :]]


def line_about_nothing(dialogue: Dialogue) -> Dialogue:
    return [*dialogue[: at(dialogue, 8)], Batch(7, ()), *dialogue[at(dialogue, 8) :]]


def progress_too_early(dialogue: Dialogue) -> Dialogue:
    index = at(dialogue, 8)
    return [*dialogue[:index], Progress(8, "live", 1), *dialogue[index:]]


def progress_falls(dialogue: Dialogue) -> Dialogue:
    return [*dialogue, Progress(11, "live", 1)]


def progress_below_a_batch(dialogue: Dialogue) -> Dialogue:
    index = at(dialogue, 8) + 1
    return [*dialogue[:index], Progress(7, "live", 1), *dialogue[index:]]


def old_batch_after_progress(dialogue: Dialogue) -> Dialogue:
    return [*dialogue, dialogue[at(dialogue, 9)]]


def wrong_prev(dialogue: Dialogue) -> Dialogue:
    [told] = events(dialogue, 12)
    assert told.prev
    return changed(dialogue, 12, Batch(12, (told._replace(prev=told.prev._replace(value=b"one")),)))


def prev_left_out(dialogue: Dialogue) -> Dialogue:
    [told] = events(dialogue, 8)
    return changed(dialogue, 8, Batch(8, (told._replace(prev=None),)))


def prev_of_nothing(dialogue: Dialogue) -> Dialogue:
    [told] = events(dialogue, 5)
    return changed(dialogue, 5, Batch(5, (told._replace(prev=told.kv),)))


def head(dialogue: Dialogue) -> Snapshot:
    """The snapshot it begins with."""
    line = dialogue[0]
    assert isinstance(line, Snapshot)
    return line


def torn_snapshot(dialogue: Dialogue) -> Dialogue:
    """One key is as it will be at revision 6."""
    told = head(dialogue)
    newer = tuple(
        record._replace(value=b"uno", mod_revision=6, version=2) if record.key == b"/c/a/1" else record
        for record in told.records
    )
    assert newer != told.records
    return [replace(told, records=newer), *dialogue[1:]]


def snapshot_without_a_key(dialogue: Dialogue) -> Dialogue:
    told = head(dialogue)
    count = len(told.records) - 1
    return [replace(told, records=told.records[1:], counts=(count, count)), *dialogue[1:]]


def snapshot_out_of_order(dialogue: Dialogue) -> Dialogue:
    told = head(dialogue)
    return [replace(told, records=told.records[::-1]), *dialogue[1:]]


def snapshot_counts_wrong(dialogue: Dialogue) -> Dialogue:
    told = head(dialogue)
    return [replace(told, counts=(told.counts[0], told.counts[1] + 1)), *dialogue[1:]]


def snapshot_of_another_revision(dialogue: Dialogue) -> Dialogue:
    return [replace(head(dialogue), revision=5), *dialogue[1:]]


def live_too_old(dialogue: Dialogue) -> Dialogue:
    return [*dialogue, Progress(12, "live", 1001)]


def live_never_proved(dialogue: Dialogue) -> Dialogue:
    return [*dialogue, Progress(12, "live", None)]


def cold_and_served(dialogue: Dialogue) -> Dialogue:
    return [*dialogue, Progress(12, "cold", 1)]


MUTANTS: list[tuple[Callable[[Dialogue], Dialogue], str]] = [
    (event_left_out, "reliable"),
    (two_left_out_before_a_progress, "reliable"),
    (invented, "reliable"),
    (merged, "reliable"),
    (wrong_value, "reliable"),
    (wrong_version, "reliable"),
    (wrong_revision_of_a_delete, "reliable"),
    (put_told_as_delete, "reliable"),
    (progress_too_early, "reliable"),
    (swapped, "ordered"),
    (events_swapped, "ordered"),
    (doubled, "unique"),
    (event_doubled, "unique"),
    (first_batch_of_the_snapshot_again, "unique"),
    (split, "atomic"),
    (part_left_out, "atomic"),
    (outside_the_prefix, "filter"),
    (line_about_nothing, "filter"),
    (progress_falls, "bookmarkable"),
    (progress_below_a_batch, "bookmarkable"),
    (old_batch_after_progress, "bookmarkable"),
    (wrong_prev, "prev_kv"),
    (prev_left_out, "prev_kv"),
    (prev_of_nothing, "prev_kv"),
    (torn_snapshot, "snapshot"),
    (snapshot_without_a_key, "snapshot"),
    (snapshot_out_of_order, "snapshot"),
    (snapshot_counts_wrong, "snapshot"),
    (snapshot_of_another_revision, "snapshot"),
    (live_too_old, "live"),
    (live_never_proved, "live"),
    (cold_and_served, "live"),
]
