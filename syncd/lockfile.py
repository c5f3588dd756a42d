"""A lock that says who holds it, and goes away with its process, however that dies."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


class HeldError(Exception):
    """Another process has it; `pid` is that process, None when that is not known."""

    def __init__(self, pid: int | None) -> None:
        super().__init__(f"held by process {pid or 'unknown'}")
        self.pid = pid


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock file at `path`, made if need be; HeldError, or OSError when it cannot be opened.

    The file stays: removing it would let two processes lock two files of the same name.
    """
    file = open_lock(path)
    try:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            text = os.pread(file, 20, 0).decode("ascii", "replace").strip()
            raise HeldError(int(text) if text.isdecimal() else holder(path)) from error
        with suppress(OSError):  # it is held all the same; and who asks on a full disk, asks the kernel
            os.ftruncate(file, 0)
            os.pwrite(file, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(file)


def open_lock(path: Path) -> int:
    """Open the lock file, not locked yet; its descriptor."""
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)


def holder(path: Path) -> int | None:
    """The pid of the process that holds `path`, None when there is none that this process can see.

    The kernel tells (proc_locks(5)): to try the lock would be in the way of a process that starts right now.
    """
    try:
        file = path.lstat()
        locks = Path("/proc/locks").read_text()
    except OSError:
        return None
    wanted = f"{os.major(file.st_dev):02x}:{os.minor(file.st_dev):02x}:{file.st_ino}"
    for line in locks.splitlines():
        match line.split():
            case [_, "FLOCK", _, "WRITE", pid, inode, *_] if inode == wanted:
                return int(pid)
    return None
