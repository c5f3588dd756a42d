"""The host itself: the socket's place, and private files that others can read; with copies.py, all of it.

It is asked as the user that runs now, and nothing on the disk is changed. A daemon that serves already is
only noticed: it is not connected to, and its lock is not tried.
"""

from __future__ import annotations

import grp
import os
import shlex
import stat
from collections.abc import Iterator
from pathlib import Path

from syncd.config import Config, Serve
from syncd.config.files import Unusable, close_to_others, in_shell, readable_by_others, user_name
from syncd.diagnosis.catalogue import found
from syncd.diagnosis.copies import cache_findings
from syncd.diagnosis.folders import may_write, own
from syncd.findings import Finding
from syncd.lockfile import holder, open_lock
from syncd.serve.listener import ListenError, left_behind, lock_file

USUAL = Path("/run/syncd")
"""Where the socket is by default, in a directory that is the daemon's own."""


def local_findings(config: Config) -> list[Finding]:
    """Look at it; that takes a second at most."""
    return [*_private_files(config), *_socket(config.serve), *cache_findings(config)]


def _private_files(config: Config) -> Iterator[Finding]:
    etcd = config.etcd
    for key, file in (("etcd.tls.key_file", etcd.tls.key_file), ("etcd.password_file", etcd.password_file)):
        if file is None:
            continue
        try:
            mode = readable_by_others(file)
        except Unusable as error:  # it was there when the configuration was read
            yield found(error.code, str(file), f"{key}: {error}", error.cure)
            continue
        if mode is not None:
            cure = f"close it to others:\n  {close_to_others(file)}"
            yield found("file.readable_by_others", str(file), f"{key} has mode {mode}", cure)


def _socket(serve: Serve) -> Iterator[Finding]:
    path = serve.socket
    if serve.mode & stat.S_IWOTH and _open_to_all(path):
        yield found(
            "socket.open_to_all",
            str(path),
            f"serve.mode is {serve.mode:04o}",
            'set serve.mode: "0660", and serve.group to a group of those who shall read',
        )
    if pid := holder(lock_file(path)):
        yield found("socket.in_use", str(path), f"a syncd serves there (pid {pid})")
        return
    if unwritable := _unwritable(path):
        yield unwritable
        return
    try:
        dead = left_behind(path)
    except ListenError as error:
        yield found(
            "socket.taken",
            str(path),
            _said(error, path),
            "see what it is, and end or remove it; or set another serve.socket\n"
            f"  ls -l {in_shell(path)}\n"
            f"  ss -xlp src {in_shell(path)}",
        )
        return
    if group := _group_not_given(serve):
        yield group
        return
    seen = f"can be made by the user {user_name()}, with mode {serve.mode:04o}"
    if serve.group is not None:
        seen += f" and group {serve.group}"
    if dead:
        seen += "; the one that is there was left behind by a daemon that died, and will be replaced"
    yield found("socket.ok", str(path), seen)


def _open_to_all(path: Path) -> bool:
    """Whether no directory on the way shuts others out."""
    try:
        return all(folder.stat().st_mode & stat.S_IXOTH for folder in path.parents)
    except OSError:
        return True


def _unwritable(path: Path) -> Finding | None:
    """Why this user can make neither the socket nor the lock beside it."""
    folder, lock, user = path.parent, lock_file(path), user_name()
    if not os.path.isdir(folder):  # noqa: PTH112 - unlike Path.is_dir, raises nothing where it may not look
        seen = f"there is no directory {folder}"
        cure = f"make it, for the user that the daemon runs as{_by_systemd(folder)}:\n{own(folder)}"
    elif not may_write(folder):
        seen = f"the user {user} may not write in {folder}"
        cure = (
            "check as the user that the daemon runs as; if this is the one, give it a directory of its own"
            f"{_by_systemd(USUAL)}, and set serve.socket: {USUAL}/syncd.sock\n{own(USUAL)}"
        )
    else:
        try:
            if os.path.lexists(lock):  # otherwise, opening it would make it
                os.close(open_lock(lock))
        except OSError as error:
            seen = f"{lock.name} cannot be made: {error.strerror} (as the user {user})"
            cure = f"remove it, if no syncd of another user serves there:\n  sudo rm {in_shell(lock)}"
        else:
            return None
    return found("socket.unwritable", str(path), seen, cure)


def _by_systemd(folder: Path) -> str:
    """How systemd makes a directory under /run, which is empty after each boot."""
    try:
        return f" (systemd does so by RuntimeDirectory={folder.relative_to('/run')} in the unit)"
    except ValueError:
        return ""


def _group_not_given(serve: Serve) -> Finding | None:
    """Why the socket cannot be given its group; chown(2) tells who may."""
    if serve.group is None or os.geteuid() == 0:
        return None
    wanted, folder = grp.getgrnam(serve.group).gr_gid, serve.socket.parent.stat()
    inherited = folder.st_mode & stat.S_ISGID and folder.st_gid == wanted
    if inherited or wanted in {os.getegid(), *os.getgroups()}:
        return None
    user = user_name()
    return found(
        "socket.unwritable",
        str(serve.socket),
        f"the user {user} may not give it to the group {serve.group}, being no member",
        "make the daemon's user one (systemd does so by SupplementaryGroups= in the unit):\n"
        f"  sudo usermod -aG {shlex.quote(serve.group)} {shlex.quote(user)}",
    )


def _said(error: ListenError, path: Path) -> str:
    return str(error).removeprefix(f"serve.socket {path}: ")
