"""What a watch is told, line by line, when all is well: `honest` tells what etcd did as syncd should."""

from __future__ import annotations

from collections.abc import Sequence

from tests.reliability.court import Court, Place
from tests.reliability.history import Event, Generation, Record
from tests.reliability.rules import Watch
from tests.reliability.script import Script
from tests.reliability.tally import Tally
from tests.reliability.told import Batch, Progress, Selection, Snapshot, Told

EPOCH, NEXT_EPOCH = "abc", "abc-1"
HEARTBEAT = 1.0
EVERYTHING = Selection(b"/c/", prev_kv=True)
SELECTIONS = [
    Selection(prefix, prev_kv=prev_kv, only=only)
    for prefix in (b"/c/", b"/c/b/")
    for prev_kv in (False, True)
    for only in (None, "put", "delete")
]

Line = Batch | Progress | Snapshot
Dialogue = list[Line]


def written() -> Script:
    """Revisions 2 to 12 of generation 0: puts, a delete, a transaction, something outside of the range."""
    script = Script()
    script.mark()  # 2
    script.put((b"/c/a/1", b"one"))
    script.put((b"/c/b/1", b"1"))
    script.put((b"/c/a/2", b"two"))  # 5
    script.put((b"/c/a/1", b"uno"), (b"/c/b/1", b"I"), (b"/c/b/\xff", b"\xff"))
    script.put((b"/o/1", b"outside"))
    script.delete(b"/c/a/2")  # 8
    script.put((b"/c/c/1", b"c"))
    script.delete(b"/c/b/1", b"/c/c/1")  # 10
    script.put((b"/c/b/1", b"again"), (b"/o/1", b"too"))
    script.put((b"/c/a/1", b"eins"))  # 12
    return script


def snapshot(generation: Generation, prefix: bytes, revision: int, epoch: str = EPOCH) -> Snapshot:
    """What there was."""
    records = tuple(generation.state(prefix, revision).values())
    return Snapshot(revision, epoch, "live", 10, records, (len(records), len(records)))


def batch(generation: Generation, selection: Selection, revision: int) -> Batch | None:
    """What happened."""

    def wanted(event: Event) -> bool:
        only = {None: True, "put": event.kv is not None, "delete": event.kv is None}[selection.only]
        return event.key.startswith(selection.prefix) and only

    told = tuple(
        Told(event.key, event.kv, revision, event.prev if selection.prev_kv else None)
        for event in generation.events(revision)
        if wanted(event)
    )
    return Batch(revision, told) if told else None


def honest(
    generation: Generation, selection: Selection, after: int, until: int, *, begin: bool = True
) -> Dialogue:
    """A snapshot, a line for each revision, a progress after every third, one at the end."""
    dialogue: Dialogue = [snapshot(generation, selection.prefix, after)] if begin else []
    for revision in range(after + 1, until + 1):
        if line := batch(generation, selection, revision):
            dialogue.append(line)
        if revision % 3 == 0:
            dialogue.append(Progress(revision, "live", 20))
    return [*dialogue, Progress(until, "stale", 4000)]


def resync(
    generation: Generation,
    selection: Selection,
    before: dict[bytes, Record],
    revision: int,
    epoch: str = EPOCH,
) -> Batch:
    """The difference between what was held and what there is."""
    now = generation.state(selection.prefix, revision)
    puts = [Told(k, kv, kv.mod_revision, None) for k, kv in now.items() if before.get(k) != kv]
    gone = [Told(k, None, revision, None) for k in before if k not in now]
    wanted = {None: puts + gone, "put": puts, "delete": gone}[selection.only]
    return Batch(revision, tuple(wanted), resync=True, epoch=epoch)


def judged(
    script: Script,
    dialogue: Sequence[Line],
    selection: Selection = EVERYTHING,
    place: Place | None = None,
    *,
    resumed: bool = False,
) -> Tally:
    """What the court says about a dialogue."""
    tally = Tally()
    court = Court(script.history, tally, HEARTBEAT)
    # Somebody else was told the markers.
    court.epochs.learn(EPOCH, 2, [(b"/c/a/!generation", b"0")])
    watch = Watch(court, "reader", selection, place, resumed=resumed)
    for number, line in enumerate(dialogue):
        watch.hear(line, float(number))
        watch.judge()
    assert watch.waiting == 0, "something was not judged"
    return tally


def broken(tally: Tally) -> set[str]:
    """The rules that were broken."""
    return {violation.rule for violation in tally.violations}
