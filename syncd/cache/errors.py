"""What can be wrong with the copy on disk; none of it keeps a range from being served from memory.

CacheError
├── Unusable      nothing can be kept there: permissions, owners, a read-only disk
│   ├── Full          the disk has no room for it
│   └── NotRead       this process could not read it now, which says nothing of the file
├── InUse         another daemon keeps its copy there
└── Unreadable    what is there cannot be gone on with
    ├── Damaged       it is not what was written
    └── NewerFormat   a later version of syncd wrote it
"""

from __future__ import annotations

import errno
import os
from math import inf
from pathlib import Path
from typing import ClassVar

import lmdb

from syncd.errors import SyncdError

_NO_ROOM = tuple(map(os.strerror, (errno.ENOSPC, errno.EDQUOT)))

LITTLE = 1 << 20
"""Bytes; a disk on which fewer are free, when something could not be written, is full."""


class CacheError(SyncdError):
    """Base of the cache's errors; about `path`. `code` is that of the catalogue of syncd.diagnosis."""

    code: ClassVar[str]

    def __init__(self, path: Path, message: str) -> None:
        super().__init__(f"{path}: {message}")
        self.path = path
        self.message = message


class Unusable(CacheError):
    """Nothing can be kept there."""

    code = "cache.unwritable"


class Full(Unusable):
    """The disk has no room for it."""

    code = "cache.full"


class NotRead(Unusable):
    """It could not be read just now: that says nothing of the file, which stays where it is."""

    code = "cache.not_read"


class InUse(CacheError):
    """Another daemon keeps its copy there; `pid` is its process, None when that is not known."""

    code = "cache.in_use"

    def __init__(self, path: Path, pid: int | None) -> None:
        super().__init__(path, f"another syncd (pid {pid or 'unknown'}) keeps its copy there")
        self.pid = pid


class Unreadable(CacheError):
    """What is there cannot be gone on with."""

    code = "cache.damaged"


class Damaged(Unreadable):
    """It is not what was written."""


class NewerFormat(Unreadable):
    """A later version of syncd wrote it."""

    code = "cache.newer_format"


def not_written(path: Path, error: lmdb.Error | OSError) -> Unusable:
    """What kept the files in the directory `path` from being written."""
    reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
    # LMDB has no error of its own for a write that found room only in part (mdb_page_flush: EIO).
    if reason.endswith(_NO_ROOM) or _free(path) < LITTLE:
        return Full(path, f"it cannot be written, as the disk is full: {reason}")
    return Unusable(path, f"it cannot be written: {reason}")


def _free(path: Path) -> float:
    """Bytes that are free on the disk of `path`, as far as that is known."""
    try:
        disk = os.statvfs(path)
    except OSError:
        return inf
    return disk.f_bavail * disk.f_frsize
