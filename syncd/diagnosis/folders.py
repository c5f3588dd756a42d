"""What this user may do in a directory, and the command that gives it one."""

from __future__ import annotations

import os
import shlex
from pathlib import Path

from syncd.config.files import in_shell, user_name


def nearest(path: Path) -> Path:
    """What is there already of the way to `path`."""
    return next(folder for folder in (path, *path.parents) if os.path.lexists(folder))


def may_write(folder: Path) -> bool:
    """Whether it is a directory in which this user can make files."""
    return os.path.isdir(folder) and os.access(  # noqa: PTH112 - unlike Path.is_dir, raises nothing where it may not look
        folder, os.W_OK | os.X_OK, effective_ids=True
    )


def own(folder: Path) -> str:
    """The command that makes a directory for this user, or gives it the one that is there."""
    return f"  sudo install -d -o {shlex.quote(user_name())} {in_shell(folder)}"
