"""What can be wrong with the copy on disk; none of it keeps a range from being served from memory.

CacheError
├── Unusable      nothing can be kept there: permissions, owners, a read-only or full disk
├── InUse         another daemon keeps its copy there
└── Unreadable    what is there cannot be gone on with
    ├── Damaged       it is not what was written
    └── NewerFormat   a later version of syncd wrote it
"""

from __future__ import annotations

from pathlib import Path

from syncd.errors import SyncdError


class CacheError(SyncdError):
    """Base of the cache's errors; about `path`."""

    def __init__(self, path: Path, message: str) -> None:
        super().__init__(f"{path}: {message}")
        self.path = path
        self.message = message


class Unusable(CacheError):
    """Nothing can be kept there."""


class InUse(CacheError):
    """Another daemon keeps its copy there; `pid` is its process, None when that is not known."""

    def __init__(self, path: Path, pid: int | None) -> None:
        super().__init__(path, f"another syncd (pid {pid or 'unknown'}) keeps its copy there")
        self.pid = pid


class Unreadable(CacheError):
    """What is there cannot be gone on with."""


class Damaged(Unreadable):
    """It is not what was written."""


class NewerFormat(Unreadable):
    """A later version of syncd wrote it."""
