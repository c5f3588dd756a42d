"""Whatever happens to a copy on disk: what comes back was etcd's state at that revision, or nothing does."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest
from structlog.testing import capture_logs

from syncd.cache import file as file_module
from syncd.cache import occupied
from syncd.cache.directory import ASIDE, RangeFiles
from syncd.store import Store
from tests.cache.copies import assert_as_it_was, drawn, empty_store, kept
from tests.store.model import EVERYTHING, Model, small_blocks

PAGE = 4096
KEYS = 200
DRAWS = 40
"""Of each kind of damage; reading a file takes some 5 ms."""

Damage = Callable[[bytearray, Random], None]


class Original:
    """A whole copy, as it was after each commit, and what etcd held at each revision."""

    def __init__(self, commits: list[bytes], model: Model) -> None:
        self.commits = commits
        self.bytes = commits[-1]
        self.model = model


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Original:
    """One with many blocks, a journal, and some sweeps behind it."""
    random = Random(5)
    path = tmp_path_factory.mktemp("original") / "copy"
    commits = []
    with pytest.MonkeyPatch.context() as patch, small_blocks(8):
        patch.setattr(file_module, "SWEEP_EVENTS", 150)
        patch.setattr(file_module, "SWEEP_EVENTS_A_BLOCK", 0)
        with kept(path, drawn(random, KEYS)) as copy:
            for _ in range(12):
                copy.commit(*(_writes(random) for _ in range(5)))
                commits.append(path.read_bytes())
    return Original(commits, copy.model)


def _writes(random: Random) -> dict[bytes, bytes | None]:
    return {key: random.choice([value, value, None]) for key, value in drawn(random, KEYS, 0.05).items()}


@pytest.fixture
def files(tmp_path: Path) -> Iterator[RangeFiles]:
    """The files of a range, none yet."""
    with occupied(tmp_path / "cache") as directory:
        yield directory.files_of(EVERYTHING)


def loaded(files: RangeFiles, contents: bytes) -> tuple[Store, list[Any]]:
    """What the next start makes of a copy with such `contents`; the store, and what was logged."""
    path = files.next()
    path.write_bytes(contents)
    path.chmod(0o600)
    store = empty_store()
    with capture_logs() as logs:
        head = files.load(store)
    if head:
        assert (store.revision, store.epoch) == (head.revision, head.epoch)
        assert not logs
        path.unlink()
    else:
        assert not store.ready
        assert store.count == 0
        (line,) = logs
        assert line["path"] == str(path)
        if line["event"] == "cache not read":  # a root that asks for more addresses than there are
            assert "Cannot allocate memory" in line["error"]
            assert path.read_bytes() == contents
            path.unlink()
        else:
            aside = path.with_name(path.name + ASIDE)
            assert aside.read_bytes() == contents
            assert (line["event"], line["kept"]) == ("cache set aside", str(aside))
    return store, logs


def test_a_whole_copy(files: RangeFiles, original: Original) -> None:
    """All comes back: the last state, and a history that leads there."""
    store, _ = loaded(files, original.bytes)
    assert store.revision == original.model.revision
    assert store.history.oldest_revision < store.revision - 5
    assert_as_it_was(store, original.model)


@pytest.mark.parametrize(
    "length",
    [0, 1, PAGE // 2, PAGE, PAGE + 1, 2 * PAGE, 3 * PAGE, 0.25, 0.5, 0.75, -2 * PAGE, -PAGE, -1],
)
def test_truncated(files: RangeFiles, original: Original, length: float) -> None:
    """Cut off anywhere: so many bytes are left, or such a share, or so many are missing."""
    whole = len(original.bytes)
    size = int(length * whole) if isinstance(length, float) else length if length >= 0 else whole + length
    store, _ = loaded(files, original.bytes[:size])
    if store.ready:
        assert size > whole // 2
        assert_as_it_was(store, original.model)


def _a_bit(content: bytearray, random: Random) -> None:
    content[random.randrange(len(content))] ^= 1 << random.randrange(8)


def _random_bytes(content: bytearray, random: Random) -> None:
    at = random.randrange(len(content))
    content[at : at + random.choice([8, 100, 50_000])] = random.randbytes(8)


def _an_overwritten_page(content: bytearray, random: Random) -> None:
    at = random.randrange(len(content) // PAGE) * PAGE
    content[at : at + PAGE] = random.randbytes(PAGE)


def _zeros(content: bytearray, random: Random) -> None:
    at, pages = random.randrange(len(content) // PAGE) * PAGE, random.choice([1, 1, 16])
    content[at : at + pages * PAGE] = bytes(len(content[at : at + pages * PAGE]))


def _a_page_of_another_place(content: bytearray, random: Random) -> None:
    here, there = (random.randrange(len(content) // PAGE) * PAGE for _ in range(2))
    content[here : here + PAGE] = content[there : there + PAGE]


def _roots(content: bytearray, random: Random) -> None:
    at = random.choice([0, PAGE]) + random.randrange(random.choice([160, PAGE]))
    content[at : at + 8] = random.randbytes(8)


def _everywhere(content: bytearray, random: Random) -> None:
    for _ in range(random.choice([10, 1000])):
        content[random.randrange(len(content))] = random.randrange(256)


@pytest.mark.parametrize(
    "damage",
    [_a_bit, _random_bytes, _an_overwritten_page, _zeros, _a_page_of_another_place, _roots, _everywhere],
)
def test_written_over(
    files: RangeFiles, original: Original, damage: Damage, capfd: pytest.CaptureFixture[str]
) -> None:
    """Whatever bytes stand anywhere: wrong data never come back, and nobody ends or speaks but the child."""
    random = Random(damage.__name__)
    came = Counter[bool]()
    for _ in range(DRAWS):
        content = bytearray(original.bytes)
        damage(content, random)
        store, _ = loaded(files, bytes(content))
        came[store.ready] += 1
        if store.ready:
            assert_as_it_was(store, original.model)
    assert came[False], "nothing was hit"
    assert came[True] or damage is _everywhere, "all was hit"
    assert capfd.readouterr() == ("", "")


def test_an_old_page_in_the_place_of_a_new_one(files: RangeFiles, original: Original) -> None:
    """A write that the disk has lost: LMDB may take the page for good, the digests do not."""
    reasons = Counter[str]()
    for age, old in enumerate(reversed(original.commits[:-1])):
        for at in range(0, min(len(old), len(original.bytes)), PAGE):
            page = old[at : at + PAGE]
            if page == original.bytes[at : at + PAGE] or at // PAGE % 8 != age % 8:
                continue
            store, logs = loaded(files, original.bytes[:at] + page + original.bytes[at + PAGE :])
            if store.ready:
                assert_as_it_was(store, original.model)
            reasons[logs[0]["error"] if logs else ""] += 1
    noticed = ("its checksum is wrong", "something is missing, or older than the rest")
    assert any(reasons[f"it is damaged: {reason}"] for reason in noticed), reasons
