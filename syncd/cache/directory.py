"""Where the files are: whose it is, who uses it, and which file is which range's.

A range's files are called by it, as people would, and by a hash of it:

    apisix-1f0c9a77.12.lmdb           the copy; the one made before it was 11
    apisix-1f0c9a77.12.lmdb-lock      LMDB's, of readers
    apisix-1f0c9a77.13.lmdb.new       being made
    apisix-1f0c9a77.9.lmdb.aside      one that could not be gone on with

Nothing is deleted but what a newer copy has replaced: what cannot be gone on with is set aside, until the
next time, and the files of ranges that are no longer configured are told of and left.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import stat
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import structlog

from syncd.cache.errors import CacheError, Damaged, Full, InUse, NotRead, Unusable
from syncd.cache.file import DRAFT
from syncd.cache.layout import Head
from syncd.cache.reading import read
from syncd.keyrange import KeyRange
from syncd.lockfile import HeldError, locked
from syncd.store import Store

LOCK = "lock"
ASIDE = ".aside"

_COPY = re.compile(r"[A-Za-z0-9_-]+-[0-9a-f]{8}\.([0-9]+)\.lmdb")
_OURS = re.compile(rf"{LOCK}|{_COPY.pattern}(?:-lock|\{DRAFT}|\{ASIDE})?")

NAME_LENGTH = 40
"""Bytes of a range's name in that of its file, for people; the hash tells ranges apart."""

COPY_FACTOR = 1.3
COPY_LEAST = 1 << 20
"""What a copy takes: times the bytes of keys and values, and so many bytes more."""

log = structlog.get_logger("syncd.cache")


class Directory:
    """One that this process may read. `trouble` says why nothing can be written there, if so."""

    def __init__(self, path: Path, trouble: Unusable | None) -> None:
        self.path = path
        self.trouble = trouble

    def files_of(self, keys: KeyRange) -> RangeFiles:
        """The files of one range."""
        return RangeFiles(self, keys)

    def others(self, ranges: Iterable[KeyRange]) -> list[Path]:
        """The copies of other ranges than these."""
        known = tuple(f"{_stem(keys)}." for keys in ranges)
        return [
            self.path / name
            for name in _names(self.path)
            if _COPY.fullmatch(name) and not name.startswith(known)
        ]


class RangeFiles:
    """The copies of `keys`, of which the one with the highest number counts."""

    def __init__(self, directory: Directory, keys: KeyRange) -> None:
        self.directory = directory
        self._stem = _stem(keys)

    def load(self, store: Store) -> Head | None:
        """Fill `store` with the newest copy that can be gone on with; those that cannot are set aside."""
        for path in self.copies():
            try:
                try:
                    return _load(path, store)
                except NotRead:
                    return _load(path, store)  # a busy machine, perhaps
            except NotRead as error:
                log.error(  # noqa: TRY400 - where it happened is no matter
                    "cache not read",
                    code=error.code,
                    path=str(path),
                    error=error.message,
                    meaning="the file stays where it is, for the next start; the range is read from etcd",
                )
            except CacheError as error:
                self._set_aside(error)
        return None

    def copies(self) -> list[Path]:
        """The copies, the newest first."""
        return copies(self.directory.path).get(self._stem, [])

    def next(self) -> Path:
        """Where the next copy is to be."""
        numbers = map(_number, self._files())
        return self.directory.path / f"{self._stem}.{max(numbers, default=0) + 1}.lmdb"

    def replaced_by(self, current: Path) -> None:
        """Remove what `current` has replaced."""
        for path in self._files():
            if path.suffix != ASIDE and not path.name.startswith(current.name):
                with suppress(OSError):  # what stays does no harm: of several copies, the last one counts
                    path.unlink()

    def size(self) -> int:
        """Bytes that all of them take."""
        return sum(path.lstat().st_size for path in self._files())

    def drop_drafts(self) -> None:
        """Remove what a process has left that was killed while it made a copy: the room may be needed."""
        for path in self._files():
            if path.suffix == DRAFT:
                path.unlink(missing_ok=True)

    def have_room(self, size: int) -> bool:
        """Whether a copy of `size` bytes has room beside what is there."""
        free, needed = self._room(size)
        return free >= needed

    def must_have_room(self, size: int) -> None:
        """Full when it has none: to fill the disk helps nobody."""
        free, needed = self._room(size)
        if free < needed:
            raise Full(self.directory.path, f"the disk is full: {needed} bytes are needed, {free} are free")

    def _room(self, size: int) -> tuple[int, int]:
        disk = os.statvfs(self.directory.path)
        return disk.f_bavail * disk.f_frsize, int(COPY_FACTOR * size) + COPY_LEAST

    def _set_aside(self, error: CacheError) -> None:
        path, aside = error.path, error.path.with_name(error.path.name + ASIDE)
        try:
            path.rename(aside)
        except OSError as refusal:
            log.error(  # noqa: TRY400 - what happened is told, and where is no matter
                "cache unreadable",
                code=error.code,
                path=str(path),
                error=error.message,
                meaning="the range begins with an older copy, or is read from etcd; "
                f"the file is left where it is: {refusal.strerror}",
            )
            return
        with suppress(OSError):
            path.with_name(f"{path.name}-lock").unlink()
        replaced = [old for old in self._files() if old.suffix == ASIDE and _number(old) < _number(aside)]
        for old in replaced:
            with suppress(OSError):
                old.unlink()
        log.error(
            "cache set aside",
            code=error.code,
            path=str(path),
            error=error.message,
            kept=str(aside),
            removed=[str(old) for old in replaced],
            meaning="the range begins with an older copy, or is read from etcd; the file may be removed",
        )

    def _files(self) -> list[Path]:
        return [
            self.directory.path / name
            for name in _names(self.directory.path)
            if _OURS.fullmatch(name) and name.startswith(f"{self._stem}.")
        ]


@contextmanager
def occupied(path: Path) -> Iterator[Directory]:
    """Use the directory at `path`, made if need be, while no other process does.

    InUse when one does; Unusable when what is there cannot be trusted, or nothing can be there.
    """
    with ExitStack() as held:
        try:
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            _must_be_ours(path)
            _shut(path)
        except FileExistsError as error:
            raise Unusable(path, "it is no directory, or a link to none") from error
        except OSError as error:
            raise Unusable(path, f"it cannot be used: {error.strerror}") from error
        trouble = None
        try:
            held.enter_context(locked(path / LOCK))
        except HeldError as error:
            raise InUse(path, error.pid) from error
        except OSError as error:
            if error.errno != errno.EROFS:
                raise Unusable(path, f"its file {LOCK} cannot be locked: {error.strerror}") from error
            trouble = Unusable(path, f"nothing can be written there: {error.strerror}")
        yield Directory(path, trouble)


def copies(path: Path) -> dict[str, list[Path]]:
    """The copies in a directory: those of one range together, the newest first."""
    found: dict[str, list[Path]] = {}
    for name in _names(path):
        if _COPY.fullmatch(name):
            stem, _, _ = name.removesuffix(".lmdb").rpartition(".")
            found.setdefault(stem, []).append(path / name)
    for newest_first in found.values():
        newest_first.sort(key=_number, reverse=True)
    return found


def not_ours(path: Path) -> list[str]:
    """The names of files in a directory that no syncd has put there."""
    return [name for name in _names(path) if not _OURS.fullmatch(name)]


def _load(path: Path, store: Store) -> Head:
    try:
        _must_be_ours(path)
    except OSError as error:
        raise NotRead(path, f"it cannot be read: {error.strerror}") from error
    if path.is_dir():
        raise Unusable(path, "it is no file")
    head, image = read(path)
    if head.range != store.keys:
        raise Damaged(path, f"it is of the range {head.range.name!r}")
    try:
        store.restore(image)
    except ValueError as error:
        raise Damaged(path, f"it is damaged: {error}") from error
    return head


def _must_be_ours(path: Path) -> None:
    """Unusable unless nobody else may have put there what there is."""
    found = path.stat(follow_symlinks=path.is_dir())
    if found.st_uid != os.geteuid():
        raise Unusable(path, f"it belongs to the user with the uid {found.st_uid}, not to {os.geteuid()}")
    if not stat.S_ISDIR(found.st_mode) and not stat.S_ISREG(found.st_mode):
        raise Unusable(path, "it is no file")
    if stat.S_ISREG(found.st_mode) and found.st_mode & 0o022:
        raise Unusable(path, f"others may write to it (mode {found.st_mode & 0o7777:04o})")


def _shut(path: Path) -> None:
    """Shut others out of the directory, if only our files are in it; Unusable if they may write there."""
    mode, others = path.stat().st_mode, not_ours(path)
    if not mode & 0o077:
        return
    if not others:
        with suppress(OSError):  # on a read-only disk it is as it is
            path.chmod(0o700)
    elif mode & 0o022:
        raise Unusable(path, f"others may write there (mode {mode & 0o7777:04o}), and it has files of others")


def _stem(keys: KeyRange) -> str:
    name = re.sub(r"[^A-Za-z0-9_]+", "-", keys.name).strip("-")[:NAME_LENGTH] or "all"
    whole = b"%d:%b%b" % (len(keys.key), keys.key, keys.range_end)
    return f"{name}-{hashlib.sha256(whole).hexdigest()[:8]}"


def _number(path: Path) -> int:
    found = _OURS.fullmatch(path.name)
    return int(found[1]) if found and found[1] else 0


def _names(path: Path) -> list[str]:
    return sorted(os.listdir(path))  # noqa: PTH208 - names are wanted, not paths
