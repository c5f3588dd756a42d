"""What a keeper has written, and when."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Iterator
from pathlib import Path

import pytest

from syncd.cache import keeper as keeper_module
from syncd.cache.proofs import age_of
from syncd.records import Record
from tests.cache.keeping import Stand
from tests.cache.written import must_hold, small_files
from tests.store.model import KEYS, new_store, small_blocks
from tests.until import until


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Little time passes between a change and its commit; nothing is written without a change."""
    monkeypatch.setattr(keeper_module, "GATHER", 0.02)
    monkeypatch.setattr(keeper_module, "PROOF_EVERY", 1000.0)
    with small_files(events=100, size=10**6):
        yield


@pytest.fixture
def stand(tmp_path: Path) -> Stand:
    """A store with some keys."""
    stand = Stand(tmp_path)
    for at, key in enumerate(KEYS):
        stand.write({key: b"%d" % at})
    return stand


async def test_a_change_is_on_disk_a_moment_later(stand: Stand) -> None:
    """Nothing else has to happen; and the file goes on being the same one."""
    async with stand.kept() as keeper:
        await until(lambda: keeper.status().revision == stand.store.revision)
        path = stand.copy
        must_hold(path, stand.store)
        for _ in range(3):
            stand.write({KEYS[0]: b"new"})
            await until(lambda: keeper.status().revision == stand.store.revision)
            must_hold(path, stand.store)
        status = keeper.status()
        assert (status.commits, status.failures, status.error) == (4, 0, None)
        assert status.bytes == sum(file.stat().st_size for file in stand.folder.glob("*.lmdb*"))
        assert stand.copy == path


async def test_many_changes_are_committed_together(stand: Stand) -> None:
    """All that came while the keeper waited, or the thread wrote."""
    async with stand.kept() as keeper:
        await until(lambda: keeper.status().commits == 1)
        for value in range(40):
            stand.write({KEYS[value % 30]: b"%d" % value})
        await until(lambda: keeper.status().revision == stand.store.revision)
        assert keeper.status().commits == 2
        stand.thread.hold()
        stand.write({KEYS[1]: b"while it waits"})
        await until(lambda: stand.thread.waiting)
        for value in range(40):
            stand.write({KEYS[value % 30]: b"%d" % value})
        assert keeper.status().revision == stand.store.revision - 41
        stand.thread.release()
        await until(lambda: keeper.status().revision == stand.store.revision)
        assert keeper.status().commits == 4
    must_hold(stand.copy, stand.store)


async def test_a_quiet_range_is_written_for_its_proof_only(
    stand: Stand, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Now and then, so that after a crash it is known how old it is; that etcd is ahead is no change."""
    monkeypatch.setattr(keeper_module, "PROOF_EVERY", 0.2)
    async with stand.kept() as keeper:
        await until(lambda: keeper.status().commits == 1)
        for _ in range(1000):
            stand.store.advance(stand.store.revision + 1)
        assert keeper.status().commits == 1
        stand.age = 7.0
        await until(lambda: keeper.status().commits == 2)
        saved = must_hold(stand.copy, stand.store)
        assert saved.head.revision == stand.store.revision
        age = age_of(saved.head.proof)
        assert age is not None
        assert 7.0 <= age < 20.0


async def test_the_last_state_and_its_proof_are_written_at_the_end(
    stand: Stand, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At once, however long a keeper may wait otherwise."""
    async with stand.kept() as keeper:
        await until(lambda: keeper.status().commits == 1)
        monkeypatch.setattr(keeper_module, "GATHER", 1000.0)
        stand.write({KEYS[3]: b"the last word"})
        stand.age = 3.0
    saved = must_hold(stand.copy, stand.store)
    age = age_of(saved.head.proof)
    assert age is not None
    assert 3.0 <= age < 20.0


async def test_what_was_never_proved_is_kept_without_a_proof(stand: Stand) -> None:
    """Its age is unknown, which is not zero."""
    stand.age = None
    async with stand.kept():
        pass
    assert must_hold(stand.copy, stand.store).head.proof is None


async def test_a_cold_range_is_not_written(tmp_path: Path) -> None:
    """There is nothing to write before the first read, not even at the end; after it there is."""
    cold = Stand(tmp_path)
    cold.store.epoch = ""
    async with cold.kept() as keeper:
        cold.store.wake()
        assert keeper.status().commits == 0
    assert cold.copies() == []
    cold = Stand(tmp_path)
    cold.store.epoch = ""
    async with cold.kept() as keeper:
        cold.read("e")
        await until(lambda: keeper.status().commits)
    must_hold(cold.copy, cold.store)


@pytest.mark.parametrize("epoch", ["e", "f"])
@pytest.mark.parametrize("under_way", [False, True], ids=["while idle", "while writing"])
async def test_a_full_read_begins_a_new_file(stand: Stand, epoch: str, under_way: bool) -> None:
    """What the journal has does not lead there. Also when changes come just before and after it."""
    async with stand.kept() as keeper:
        await until(lambda: keeper.status().commits == 1)
        before = stand.copy
        if under_way:
            stand.thread.hold()
            stand.write({KEYS[0]: b"written"})
            await until(lambda: stand.thread.waiting)
        stand.write({KEYS[1]: b"before"})
        stand.read(epoch)
        read_at = stand.store.revision
        stand.write({KEYS[2]: b"after"})
        stand.thread.release()
        await until(lambda: keeper.status().revision == stand.store.revision)
        assert stand.copy != before
        saved = must_hold(stand.copy, stand.store)
        assert (saved.head.epoch, saved.head.oldest_revision) == (epoch, read_at)
        path = stand.copy
        stand.write({KEYS[4]: None})
    assert stand.copy == path
    must_hold(path, stand.store)


@pytest.mark.parametrize("bound", ["PENDING_EVENTS", "PENDING_BYTES"])
async def test_what_waits_for_a_disk_that_hangs_is_bounded(
    stand: Stand, bound: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Past that it is let go of, and everything is written anew, when it can be."""
    most = {"PENDING_EVENTS": 40, "PENDING_BYTES": 40 * 1200}[bound]
    monkeypatch.setattr(keeper_module, bound, most)
    async with stand.kept() as keeper:
        await until(lambda: keeper.status().commits == 1)
        before = stand.copy
        stand.thread.hold()
        stand.write({KEYS[0]: b"written"})
        await until(lambda: stand.thread.waiting)
        held = []
        for at in range(200):
            stand.write({KEYS[at % 30]: bytes(500)})
            held.append(len(keeper._pending))
        assert 20 <= max(held) <= 100
        assert held[-1] == 0
        stand.thread.release()
        await until(lambda: keeper.status().revision == stand.store.revision)
        assert stand.copy != before
    must_hold(stand.copy, stand.store)


async def test_a_restart_goes_on_with_what_is_there(stand: Stand) -> None:
    """With the first change comes a new file, which has the past of the old one."""
    async with stand.kept():
        pass
    before = stand.copy
    stand = stand.successor()
    oldest = stand.store.history.oldest_revision
    async with stand.kept(kept=True) as keeper:
        assert keeper.status().revision == stand.store.revision
        assert keeper.status().bytes >= before.stat().st_size
        stand.write({KEYS[5]: b"anew", KEYS[6]: None})
        stand.write({KEYS[6]: b"anew"})
        await until(lambda: keeper.status().revision == stand.store.revision)
        assert keeper.status().commits == 1
        assert stand.copy != before
        saved = must_hold(stand.copy, stand.store)
        assert saved.head.oldest_revision == oldest
        past = [batch.revision for batch in saved.image.batches]
        assert past == [*range(oldest + 1, stand.store.revision + 1)]


async def test_the_event_loop_hardly_notices(tmp_path: Path) -> None:
    """While a large file is made: nobody ever waits for a quarter of the time that it takes."""
    records = [Record(b"/%06d" % at, bytes(500), 1, 1, 1) for at in range(60_000)]
    gc.disable()
    try:
        shares = [await _longest_pause(tmp_path / str(at), records) for at in range(3)]
    finally:
        gc.enable()
    assert min(shares) < 0.25


async def _longest_pause(folder: Path, records: list[Record]) -> float:
    """The longest time that somebody waited for the event loop, as a part of what the whole took."""
    loop = asyncio.get_running_loop()
    with small_files(events=10_000, size=8 << 20, piece=4 << 20), small_blocks(128):
        stand = Stand(folder, new_store({record.key: record for record in records}))
        longest = 0.0
        stand.thread.hold()
        async with stand.kept() as keeper:
            await until(lambda: stand.thread.waiting)
            stand.thread.release()
            start = loop.time()
            while not keeper.status().commits:
                began = loop.time()
                await asyncio.sleep(0.0005)
                longest = max(longest, loop.time() - began)
            took = loop.time() - start
    return longest / took


async def test_a_sweep_goes_on_though_nothing_changes(tmp_path: Path) -> None:
    """Piece by piece; in the end the journal is replayed from its end on."""
    with small_blocks():
        stand = Stand(tmp_path)
        for at, key in enumerate(KEYS):
            stand.write({key: b"%d" % at})
        async with stand.kept() as keeper:
            await until(lambda: keeper.status().commits == 1)
            for count in (98, 3):
                for at in range(count):
                    stand.write({KEYS[at % 30]: b"swept"})
                await until(lambda: keeper.status().revision == stand.store.revision)
            # The commit in which it began wrote its share only, which is small; the rest comes by itself.
            await until(lambda: not (keeper._file and keeper._file.sweeping))
            assert keeper.status().commits > 4
        assert must_hold(stand.copy, stand.store).head.base_revision == stand.store.revision
