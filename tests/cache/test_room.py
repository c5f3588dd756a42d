"""Room for copies: what is looked at before one is made, and what happens where there is none for two."""

from __future__ import annotations

from pathlib import Path

import pytest

from syncd.cache import Directory
from syncd.cache import file as file_module
from syncd.cache import keeper as keeper_module
from tests.cache.disks import disk
from tests.cache.keeping import Stand
from tests.cache.written import must_hold
from tests.store.model import EVERYTHING
from tests.until import until


def test_to_look_for_room_changes_nothing(tmp_path: Path) -> None:
    """Whoever only asks, as `syncd check` does, may do so while a daemon makes a copy."""
    files = Directory(tmp_path, None).files_of(EVERYTHING)
    draft = files.next().with_name(f"{files.next().name}.new")
    draft.touch()
    assert files.have_room(1)
    files.must_have_room(1)
    assert draft.exists()
    files.drop_drafts()
    assert not draft.exists()


async def test_a_wasteful_copy_goes_on_where_another_has_no_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is kept up to date as it is, and replaced when there is room."""
    monkeypatch.setattr(file_module, "WASTE_LEAST", 1 << 16)
    monkeypatch.setattr(file_module, "SWEEP_EVENTS", 100)
    monkeypatch.setattr(file_module, "SWEEP_EVENTS_A_BLOCK", 0)
    monkeypatch.setattr(keeper_module, "SWEEP_BYTES", 1 << 16)
    with disk(tmp_path / "disk", "4m") as tight:
        stand = Stand(tight.path / "cache")
        keys = [b"/%04d" % i for i in range(300)]
        stand.write(dict.fromkeys(keys, bytes(3000)))
        async with stand.kept() as keeper:
            await until(lambda: keeper.status().commits == 1)
            first = stand.copy
            tight.fill(spare=1_000_000)
            stand.write(dict.fromkeys(keys, b"x"))
            for i in range(5):
                stand.write({b"/some": b"%d" % i})
                commits = keeper.status().commits
                await until(lambda commits=commits: keeper.status().commits > commits)  # type: ignore[misc]
            assert (keeper.status().failures, stand.copy) == (0, first)
            assert keeper.status().revision == stand.store.revision
            tight.clear()
            stand.write({b"/some": b"more"})
            await until(lambda: first not in stand.copies())
        assert keeper.status().failures == 0
        must_hold(stand.copy, stand.store)


async def test_a_journal_takes_room_as_well(tmp_path: Path) -> None:
    """It may be longer than all that is left; then nothing is begun, and it is told how much is missing."""
    with disk(tmp_path / "disk", "4m") as tight:
        stand = Stand(tight.path / "cache")
        for _ in range(4):
            stand.write({b"/%03d" % i: bytes(10_000) for i in range(100)})
        stand.write({b"/%03d" % i: None for i in range(100)})
        async with stand.kept() as keeper:
            await until(lambda: keeper.status().failures)
            assert "the disk is full: " in (keeper.status().error or "")
            assert stand.copies() == []
