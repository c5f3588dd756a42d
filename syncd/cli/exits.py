"""How a command ends: the exit codes, and the one line that says what went wrong and what helps."""

from __future__ import annotations

import errno
import os
import stat
from contextlib import suppress

from syncd.client import (
    AnswerError,
    BadRequestError,
    ClientError,
    ClosingError,
    CompactedError,
    ConnectError,
    CutError,
    ForbiddenError,
    InternalError,
    NotFoundError,
    NotMirroredError,
    NotReadyError,
    OverloadedError,
    ProtocolError,
    SilenceError,
    TooStaleError,
)

DONE = 0
FAILED = 1
USAGE = 2
NO_SUCH_KEY = 3
NOT_SERVED = 4
INTERRUPTED = 130
"""128 + SIGINT, as shells report it."""
NO_READER = 141
"""128 + SIGPIPE: whoever read the output has left, as with `| head`."""

_STATUS_TELLS = "`syncd status` tells how the daemon is doing"
_HINTS: dict[type[ClientError], str] = {
    NotMirroredError: "`syncd status` lists the ranges that are mirrored",
    NotReadyError: f"the daemon has nothing to serve yet; {_STATUS_TELLS}",
    TooStaleError: _STATUS_TELLS,
    ForbiddenError: "your user and your groups decide that; after joining a group, log in again",
    CompactedError: "watch without --from, or read a snapshot first",
    OverloadedError: "try again in a moment",
    InternalError: "the daemon's log has the details",
    SilenceError: "the daemon hangs or is overloaded; its log may tell why",
    CutError: "the daemon has died or was stopped; try again",
    ClosingError: "the daemon is being stopped",
    ProtocolError: "is this the socket of a syncd, and of this version?",
}
_NAMES_ITS_PATH = (ConnectError, SilenceError)


def exit_code(error: ClientError) -> int:
    """Return the exit code that stands for `error`."""
    match error:
        case NotFoundError():
            return NO_SUCH_KEY
        case NotReadyError() | TooStaleError():
            return NOT_SERVED
        case BadRequestError():
            return USAGE
        case _:
            return FAILED


def explain(error: ClientError, socket_path: str) -> str:
    """Say what happened, where, and what helps, in one line."""
    if isinstance(error, ConnectError):
        return f"{error}; {_why_no_connection(error)}"
    code = f"{error.code}: " if isinstance(error, AnswerError) and error.code else ""
    where = "" if isinstance(error, _NAMES_ITS_PATH) else f" (asked at {socket_path})"
    hint = _HINTS.get(type(error))
    return f"{code}{error}{where}" + (f"; {hint}" if hint else "")


def _why_no_connection(error: ConnectError) -> str:
    match error.errno:
        case errno.ENOENT:
            return (
                "is the daemon running, and is this its `serve.socket`? "
                "--socket or $SYNCD_SOCKET name another place"
            )
        case errno.ECONNREFUSED:
            return "nobody listens there; the daemon is not running (`systemctl status syncd`)"
        case errno.EACCES | errno.EPERM:
            return _who_may(error.path)
        case errno.EAGAIN | None:
            return "the daemon does not take connections: it hangs or is overloaded"
        case _:
            return "--socket or $SYNCD_SOCKET name the daemon's `serve.socket`"


def _who_may(path: str) -> str:
    """Say which group opens the socket, when that can be seen from here."""
    with suppress(OSError, KeyError):
        import grp

        found = os.stat(path)  # noqa: PTH116 - pathlib is slow to import
        group = grp.getgrgid(found.st_gid).gr_name
        return (
            f"the socket is for its owner and the group `{group}` (mode {stat.S_IMODE(found.st_mode):04o}): "
            f"join that group (`usermod -aG {group} USER`, then log in again), or see `serve.group`"
        )
    return "its folder is closed to you: join the group that `serve.group` names, then log in again"
