"""The Unix socket: bound with the right owner before anyone can connect, and never taken from the living."""

from __future__ import annotations

import os
import socket
import stat
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from grp import getgrnam
from pathlib import Path

from syncd.errors import SyncdError
from syncd.lockfile import HeldError, locked


class ListenError(SyncdError):
    """The socket cannot be had."""


@contextmanager
def bound(path: Path, mode: int, group: str | None) -> Iterator[socket.socket]:
    """A bound Unix socket at `path`, not yet listening; its file is removed in the end.

    A lock on `path`.lock decides who serves there: it goes away with its process, however that dies. So a
    socket file without a lock holder is a dead one and replaced. ListenError tells what is in the way.
    """
    with _locked(path):
        _remove_dead(path)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        try:
            _bind(listener, path, mode, group)
            inode = path.stat().st_ino
            try:
                yield listener
            finally:
                with suppress(FileNotFoundError):
                    if path.stat().st_ino == inode:
                        path.unlink()
        finally:
            listener.close()


def _bind(listener: socket.socket, path: Path, mode: int, group: str | None) -> None:
    # Nobody can connect before `listen`, which comes after this.
    old = os.umask(0o177)
    try:
        listener.bind(os.fspath(path))
    except OSError as error:
        raise ListenError(f"serve.socket {path}: cannot be made: {error.strerror}") from error
    finally:
        os.umask(old)
    try:
        if group is not None:
            os.chown(path, -1, getgrnam(group).gr_gid)
        path.chmod(mode)
    except (OSError, KeyError) as error:
        path.unlink()
        raise ListenError(
            f"serve.socket {path}: cannot be given mode {mode:04o}, group {group}: {error}"
        ) from error


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    lock = lock_file(path)
    with ExitStack() as held:
        try:
            held.enter_context(locked(lock))
        except HeldError as error:
            raise ListenError(
                f"serve.socket {path}: another syncd (pid {error.pid or 'unknown'}) serves there; "
                "stop it, or give this one another socket"
            ) from error
        except OSError as error:
            raise ListenError(f"serve.socket {path}: {lock.name} cannot be made: {error.strerror}") from error
        yield


def lock_file(path: Path) -> Path:
    """The file whose lock decides who serves at `path`."""
    return path.with_name(path.name + ".lock")


def left_behind(path: Path) -> bool:
    """Whether there is the socket of a dead server at `path`; ListenError when there is anything else."""
    try:
        found = path.lstat()
    except FileNotFoundError:
        return False
    if not stat.S_ISSOCK(found.st_mode):
        raise ListenError(f"serve.socket {path}: there is a file that is not a socket; it is left alone")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(os.fspath(path))
        except FileNotFoundError:
            return False
        except ConnectionRefusedError:
            return True
        except OSError as error:
            raise ListenError(f"serve.socket {path}: there is a socket, and {error.strerror}") from error
    raise ListenError(f"serve.socket {path}: another program serves there; it is left alone")


def _remove_dead(path: Path) -> None:
    if not left_behind(path):
        return
    try:
        path.unlink(missing_ok=True)
    except OSError as error:  # in a directory like /tmp, only its owner may
        raise ListenError(
            f"serve.socket {path}: a dead server's socket is there, and cannot be removed: {error.strerror}"
        ) from error
