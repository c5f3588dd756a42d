"""A keeper whose file cannot be written: it says so, tries again, and goes on when it can."""

from __future__ import annotations

import random
import resource
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from syncd.cache import Keeper
from syncd.cache import file as file_module
from syncd.cache import keeper as keeper_module
from syncd.cache.file import File
from tests.cache.disks import disk
from tests.cache.keeping import Stand, Thread
from tests.cache.written import found, must_hold, small_files
from tests.store.model import KEYS
from tests.until import until


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Everything happens soon, and nothing is written without a change."""
    monkeypatch.setattr(keeper_module, "GATHER", 0.005)
    monkeypatch.setattr(keeper_module, "PROOF_EVERY", 1000.0)
    monkeypatch.setattr(keeper_module, "RETRY_FIRST", 0.01)
    monkeypatch.setattr(keeper_module, "RETRY_MOST", 0.08)
    with small_files(events=100, size=10**6):
        yield


@pytest.fixture
def stand(tmp_path: Path) -> Stand:
    """A store with some keys, and a folder that may be removed."""
    stand = Stand(tmp_path / "cache")
    for at, key in enumerate(KEYS):
        stand.write({key: b"%d" % at})
    return stand


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Notes how long the keeper waits before it tries again, and has it wait."""
    seen: list[float] = []
    pause = Keeper._pause

    async def noted(self: Keeper, seconds: float) -> None:
        if seconds != keeper_module.GATHER:
            seen.append(seconds)
        await pause(self, seconds)

    monkeypatch.setattr(Keeper, "_pause", noted)
    return seen


async def test_a_folder_that_is_gone_is_tried_again_until_it_is_back(
    stand: Stand, pauses: list[float]
) -> None:
    """Less and less often; the status and one line of the log say what is wrong, and one that it is over."""
    with capture_logs() as log:
        async with stand.kept() as keeper:
            await until(lambda: keeper.status().commits == 1)
            saved = keeper.status().revision
            shutil.rmtree(stand.folder)
            stand.write({KEYS[0]: b"new"})
            await until(lambda: keeper.status().failures == 7)
            status = keeper.status()
            assert status.error
            assert str(stand.folder) in status.error
            assert (status.revision, status.commits) == (saved, 1)
            assert pauses[:7] == [0.01, 0.02, 0.04, 0.08, 0.08, 0.08, 0.08][: len(pauses)]
            stand.folder.mkdir()
            await until(lambda: not keeper.status().error)
            must_hold(stand.copy, stand.store)
            assert keeper.status().revision == stand.store.revision
            assert keeper.status().commits == 2
            assert keeper.status().failures >= 7
            # The next trouble is another one: told again, and tried again as soon.
            pauses.clear()
            shutil.rmtree(stand.folder)
            stand.write({KEYS[0]: b"newer"})
            await until(lambda: keeper.status().error)
            await until(lambda: len(pauses) > 1)
            assert pauses[:2] == [0.01, 0.02]
            stand.folder.mkdir()
            await until(lambda: not keeper.status().error)
    events = [line["event"] for line in log]
    assert events == ["cache written", *["cache not written", "cache works again"] * 2]
    assert (log[1]["log_level"], log[1]["saved_revision"]) == ("error", saved)
    assert log[2]["log_level"] == "info"


async def test_trouble_that_lasts_is_told_again_after_a_while(stand: Stand) -> None:
    """By the keeper's clock."""
    with capture_logs() as log:
        async with stand.kept() as keeper:
            await until(lambda: keeper.status().commits == 1)
            shutil.rmtree(stand.folder)
            stand.write({KEYS[0]: b"new"})
            for told in (1, 2, 3):
                failures = keeper.status().failures
                await until(lambda failures=failures: keeper.status().failures > failures + 2)  # type: ignore[misc]
                assert [line["event"] for line in log].count("cache not written") == told
                stand.time += keeper_module.SAY_AGAIN
            stand.time -= keeper_module.SAY_AGAIN
            stand.folder.mkdir()


async def test_a_file_that_somebody_removes_is_made_anew(stand: Stand) -> None:
    """What is written to it afterwards would be lost."""
    async with stand.kept() as keeper:
        await until(lambda: keeper.status().commits == 1)
        stand.copy.unlink()
        stand.write({KEYS[0]: b"new"})
        await until(lambda: keeper.status().failures and not keeper.status().error)
    must_hold(stand.copy, stand.store)


async def test_a_disk_that_takes_no_more_loses_nothing_of_what_it_has(stand: Stand) -> None:
    """Here it is a limit on the size of files: the copy stays as it was, and goes on when there is room."""
    async with stand.kept() as keeper:
        await until(lambda: keeper.status().commits == 1)
        before, revision = stand.copy, stand.store.revision
        with files_no_larger_than(4096):
            stand.write({KEYS[0]: b"new"})
            await until(lambda: keeper.status().failures >= 3)
            assert str(stand.folder) in (keeper.status().error or "")
            assert stand.copies() == [before]
            stand.thread.hold()
            await until(lambda: stand.thread.waiting)
        assert found(before)[0].revision == revision
        stand.thread.release()
        await until(lambda: not keeper.status().error)
        assert stand.copy != before
    must_hold(stand.copy, stand.store)


async def test_a_draft_of_a_process_that_was_killed_does_not_fill_the_disk(tmp_path: Path) -> None:
    """It is of no use to anybody, and the next file may need its room."""
    with disk(tmp_path / "disk", "4m") as small:
        stand = Stand(small.path / "cache")
        stand.write({KEYS[0]: b"one"})
        async with stand.kept():
            pass
        draft = stand.copy.with_name(stand.copy.name.replace(".1.", ".2.") + ".new")
        draft.write_bytes(bytes(2 << 20))
        small.fill(spare=100_000)
        stand = stand.successor()
        async with stand.kept(kept=True):
            stand.write({KEYS[0]: b"two"})
        assert not draft.exists()
        must_hold(stand.copy, stand.store)


@pytest.mark.parametrize("over", [True, False], ids=["it is over", "it lasts"])
async def test_a_keeper_in_trouble_ends_at_once(
    stand: Stand, monkeypatch: pytest.MonkeyPatch, *, over: bool
) -> None:
    """It tries once more, and does not wait for the next try."""
    monkeypatch.setattr(keeper_module, "RETRY_MOST", 1000.0)
    async with stand.kept() as keeper:
        await until(lambda: keeper.status().commits == 1)
        monkeypatch.setattr(keeper, "_retry", 1000.0)
        shutil.rmtree(stand.folder)
        stand.write({KEYS[0]: b"new"})
        await until(lambda: keeper.status().failures == 1)
        if over:
            stand.folder.mkdir()
    if over:
        assert keeper.status().error is None
        must_hold(stand.copy, stand.store)
    else:
        assert keeper.status().failures == 2


async def test_what_came_while_it_failed_is_not_missing(stand: Stand) -> None:
    """Changes, and a re-read, between the failure and the next try."""
    async with stand.kept() as keeper:
        await until(lambda: keeper.status().commits == 1)
        shutil.rmtree(stand.folder)
        stand.thread.hold()
        stand.write({KEYS[0]: b"lost"})
        await until(lambda: stand.thread.waiting)
        stand.write({KEYS[1]: b"while it failed"})
        stand.thread.release()
        await until(lambda: keeper.status().failures > 1)
        stand.write({KEYS[2]: b"after that"})
        stand.read("f")
        stand.write({KEYS[3]: None})
        stand.folder.mkdir()
        await until(lambda: keeper.status().revision == stand.store.revision)
    must_hold(stand.copy, stand.store)


async def test_a_wasteful_file_is_replaced(stand: Stand, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that the folder does not grow, however long it goes on."""
    monkeypatch.setattr(file_module, "WASTE_LEAST", 1 << 16)
    dice = random.Random(5)
    async with stand.kept() as keeper:
        await until(lambda: keeper.status().commits == 1)
        first, largest = stand.copy, 0
        for _ in range(100):
            for _ in range(20):
                stand.write({dice.choice(KEYS): dice.randbytes(dice.randrange(3000))})
            await until(lambda: keeper.status().revision == stand.store.revision)
            largest = max(largest, keeper.status().bytes)
        assert (keeper.status().failures, len(stand.copies())) == (0, 1)
        assert stand.copy != first
    # Keys and values are 45 kB, the journal at most 300 events of two values each.
    assert largest < file_module.WASTE * (2 * 45_000 + 300 * 3_500) + (1 << 16) + (1 << 18)
    must_hold(stand.copy, stand.store)


@contextmanager
def files_no_larger_than(size: int) -> Iterator[None]:
    """Let no file of this process grow past `size`; Python sees to it that the signal does nothing."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


async def test_what_nobody_has_thought_of_is_told_and_tried_again(
    stand: Stand, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A fault of syncd's own, or a machine without threads, must not end what serves from memory."""

    def fault(*_: object) -> None:
        raise RuntimeError("can't start new thread")

    async with stand.kept() as keeper:
        await until(lambda: keeper.status().commits == 1)
        with monkeypatch.context() as patch:
            patch.setattr(File, "commit", fault)
            stand.write({KEYS[0]: b"new"})
            await until(lambda: keeper.status().error)
        assert "can't start new thread" in (keeper.status().error or "")
        await until(lambda: keeper.status().error is None)
    must_hold(stand.copy, stand.store)


async def test_a_disk_that_hangs_is_told(stand: Stand) -> None:
    """Nothing has failed; but nothing is written any more, and the status must not say that all is well."""
    async with stand.kept() as keeper:
        await until(lambda: keeper.status().commits == 1)
        stand.thread.hold()
        stand.write({KEYS[0]: b"new"})
        await until(lambda: stand.thread.waiting)
        assert keeper.status().error is None
        stand.time += 61
        assert keeper.status().error == "the disk does not answer: it is written for 61 s"
        stand.thread.release()
        await until(lambda: keeper.status().commits == 2)
        assert keeper.status().error is None


async def test_the_first_proof_of_a_process_is_written_at_once(
    stand: Stand, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that dies every minute would otherwise never keep any."""
    looks = list[None]()
    behind = Keeper._behind

    def looked(keeper: Keeper) -> bool:
        looks.append(None)
        return behind(keeper)

    monkeypatch.setattr(keeper_module, "FIRST_PROOF", 0.01)
    monkeypatch.setattr(Keeper, "_behind", looked)
    async with stand.kept():
        pass
    stand.age = 100.0
    stand.thread = Thread()
    async with stand.kept(kept=True) as keeper:
        stand.time += 10
        seen = len(looks)
        await until(lambda: len(looks) > seen + 3)
        assert keeper.status().commits == 0
        stand.age = 2.0
        await until(lambda: keeper.status().commits == 1)
