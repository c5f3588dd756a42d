"""Who is at the other end of a connection, as the kernel tells it."""

from __future__ import annotations

import asyncio
import errno
import os
import pwd
import socket
from array import array
from dataclasses import dataclass
from struct import Struct

_UCRED = Struct("iII")
"""pid, uid and gid of the process that connected, as unix(7) has them."""

_SO_PEERGROUPS = getattr(socket, "SO_PEERGROUPS", 59)
"""Its supplementary groups (Linux 4.13; asm-generic/socket.h). Python has no name for it."""

_BUFFER = 1024
"""Bytes that Python's getsockopt returns at most: 256 groups."""


@dataclass(frozen=True)
class Peer:
    """A process that connected, as it was at that moment: it may have changed its user since."""

    uid: int | None = None
    """None for who came through TCP: then nothing is known, and there are no groups."""
    groups: frozenset[int] = frozenset()
    """The primary group and the supplementary ones."""
    pid: int = 0

    @property
    def runs_the_daemon(self) -> bool:
        """Whether it is root or the daemon's own user, who can read the daemon's memory anyway."""
        return self.uid is not None and self.uid in {0, os.geteuid()}


def peer_of(transport: asyncio.BaseTransport | None) -> Peer:
    """Who is at the other end of an open connection; ConnectionResetError when nobody is any more."""
    if transport is None:
        raise ConnectionResetError("whoever asked is gone")
    connection: socket.socket = transport.get_extra_info("socket")
    if connection.family != socket.AF_UNIX:
        return Peer()
    pid, uid, gid = _credentials(connection)
    return Peer(uid, frozenset((gid, *_supplementary(connection, uid, gid))), pid)


def user_of(connection: socket.socket) -> int | None:
    """The uid of who is at the other end of an open connection; None through TCP."""
    return _credentials(connection)[1] if connection.family == socket.AF_UNIX else None


def _credentials(connection: socket.socket) -> tuple[int, int, int]:
    pid, uid, gid = _UCRED.unpack(connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size))
    return pid, uid, gid


def _supplementary(connection: socket.socket, uid: int, gid: int) -> list[int]:
    try:
        return array("I", connection.getsockopt(socket.SOL_SOCKET, _SO_PEERGROUPS, _BUFFER)).tolist()
    except OSError as error:
        if error.errno == errno.ERANGE:
            return _very_many(connection)
        if error.errno != errno.ENOPROTOOPT:
            raise
    # This kernel does not know; what the process would have been given at login is the next best.
    try:
        return os.getgrouplist(pwd.getpwuid(uid).pw_name, gid)
    except KeyError:  # a user without a name is in no group's list
        return []


def _very_many(connection: socket.socket) -> list[int]:
    """As getsockopt(2) itself tells them: up to 65,536 (NGROUPS_MAX)."""
    import ctypes  # noqa: PLC0415 - hardly any process is in more than 256 groups

    groups = (ctypes.c_uint32 * 65536)()
    size = ctypes.c_uint32(ctypes.sizeof(groups))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.getsockopt(connection.fileno(), socket.SOL_SOCKET, _SO_PEERGROUPS, groups, ctypes.byref(size)):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return groups[: size.value // 4]
