"""The disk cache: whether the daemon can keep its copies there, and what is there.

Names and sizes tell that. Whether a copy is whole shows when it is read, and then the daemon's log tells it.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from syncd.cache import Directory, Unusable
from syncd.cache.directory import ASIDE, LOCK, not_ours
from syncd.config import Config
from syncd.config.files import in_shell, user_name
from syncd.diagnosis.catalogue import found
from syncd.diagnosis.ends import span
from syncd.diagnosis.folders import may_write, nearest, own
from syncd.findings import Finding
from syncd.keyrange import KeyRange
from syncd.lockfile import holder

_OTHERS_MAY_WRITE = stat.S_IWGRP | stat.S_IWOTH


class _Copy(NamedTuple):
    """Bytes, and when it was written last, in seconds since 1970."""

    size: int
    written: float


def cache_findings(config: Config) -> Iterator[Finding]:
    """What is found of `cache.directory`; nothing there is changed."""
    path = config.cache.directory
    if path is None:
        yield found("cache.off", "cache.directory", "null")
        return
    pid = holder(path / LOCK)
    if pid is None and (unwritable := _unwritable(path)):
        yield unwritable
        return
    directory = Directory(path, None)
    listed = os.access(path, os.R_OK | os.X_OK, effective_ids=True)
    copies = {keys: _newest(directory, keys) for keys in config.ranges} if listed else {}
    told = "; ".join(f"{keys.name or '(all keys)'}: {_told(copy)}" for keys, copy in copies.items())
    if pid is not None:
        seen = f"a syncd keeps its copies there (pid {pid})"
        yield found("cache.in_use", str(path), f"{seen}; {told}" if listed else seen)
    elif listed:
        yield found("cache.ok", str(path), told)
    else:
        yield found("cache.ok", str(path), f"can be made by the user {user_name()}")
    if full := _full(path, config.ranges[0], max((copy.size for copy in copies.values() if copy), default=0)):
        yield full
    if listed:
        yield from _left(directory, config.ranges)


def _unwritable(path: Path) -> Finding | None:
    """Why this user could keep nothing there."""
    folder, user = nearest(path), user_name()
    cure = "make it for the user that the daemon runs as"
    commands = own(path)
    if not os.path.isdir(folder):  # noqa: PTH112 - unlike Path.is_dir, raises nothing where it may not look
        seen = f"{folder} is no directory"
        cure, commands = "set another cache.directory, or see what is there", f"  ls -ld {in_shell(folder)}"
    elif os.statvfs(folder).f_flag & os.ST_RDONLY:
        seen = f"the disk of {folder} is read-only"
        cure, commands = (
            "see why, or set a cache.directory on another disk",
            f"  findmnt -T {in_shell(folder)}",
        )
    elif folder == path and folder.stat().st_uid != os.geteuid():
        seen = f"it belongs to the user with the uid {folder.stat().st_uid}, and not to {user}"
        cure = "check as the user that the daemon runs as; if this is the one, give it the directory"
    elif not may_write(folder):
        seen = f"the user {user} may not write in {folder}"
    elif folder == path and folder.stat().st_mode & _OTHERS_MAY_WRITE and (others := not_ours(folder)):
        seen = f"others may write there, and it has files of others, such as {others[0]}"
        cure, commands = "set a cache.directory of its own, or shut it", f"  sudo chmod go-w {in_shell(path)}"
    else:
        return None
    return found("cache.unwritable", str(path), seen, f"{cure}; or set cache.directory: null\n{commands}")


def _newest(directory: Directory, keys: KeyRange) -> _Copy | None:
    return next(filter(None, map(_copy, directory.files_of(keys).copies())), None)


def _copy(path: Path) -> _Copy | None:
    """None when a daemon has just replaced it."""
    with suppress(FileNotFoundError):
        file = path.lstat()
        return _Copy(file.st_size, file.st_mtime)
    return None


def _told(copy: _Copy | None) -> str:
    if copy is None:
        return "no copy yet"
    size = f"{copy.size / (1 << 20):.1f} MiB" if copy.size >= 1 << 20 else f"{copy.size / (1 << 10):.1f} KiB"
    age = time.time() - copy.written
    return f"{size}, written {'just now' if age < 2 else f'{span(age)} ago'}"


def _full(path: Path, keys: KeyRange, size: int) -> Finding | None:
    """Whether a copy of so many bytes has room: a new one is made beside the one that it replaces."""
    place = nearest(path)
    try:
        Directory(place, None).files_of(keys).must_have_room(size)
    except Unusable as error:
        cure = f"make room, or set a cache.directory on another disk:\n  df -h {in_shell(place)}"
        return found("cache.full", str(path), error.message, cure)
    return None


def _left(directory: Directory, ranges: Sequence[KeyRange]) -> Iterator[Finding]:
    """What no daemon with these ranges uses."""
    aside = sorted(directory.path.glob(f"*{ASIDE}"))
    for code, paths in (("cache.set_aside", aside), ("cache.other_ranges", directory.others(ranges))):
        for path in paths:
            if copy := _copy(path):
                cure = f"remove it when nobody wants to look at it any more:\n  rm {in_shell(path)}"
                yield found(code, str(path), _told(copy), cure)
