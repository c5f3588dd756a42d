"""The files that a configuration names: read with care, and refused with what is wrong and what helps.

Only regular files of bounded size are read, so that no pipe blocks and no device fills the memory. No message
repeats anything that a file holds.
"""

from __future__ import annotations

import errno
import os
import pwd
import shlex
import stat
from pathlib import Path

from syncd.config.errors import shown

FILE_BYTES = 1 << 20
"""The largest file; all the authorities that a machine trusts are a quarter of it."""

PASSWORD = "a file with nothing but the password"  # noqa: S105 - not one itself

_MISSING = {errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG}
_TOO_MANY = {
    errno.EMFILE: "the file may be well, but syncd may open no more files; let it have more (in a "
    "unit of systemd, LimitNOFILE=), or see what it has: ls -l /proc/$(pgrep -o syncd)/fd",
    errno.ENFILE: "the file may be well, but this machine may open no more files; let it have more: "
    "sysctl fs.file-nr fs.file-max",
}
_OTHERS_MAY = stat.S_IROTH | stat.S_IWOTH | stat.S_IWGRP


class Unusable(ValueError):
    """A file cannot be used for what it is named for; the text is a sentence for people.

    `code` is the one that a finding about it has (`syncd.diagnosis.catalogue`); `cure` says how to mend it,
    with the command.
    """

    def __init__(self, code: str, path: Path, found: str, *, expected: str, cure: str) -> None:
        super().__init__(f"{shown(path)} {found}; it should be {expected}")
        self.code = code
        self.path = path
        self.cure = cure


def read_file(path: Path, most: int = FILE_BYTES, *, expected: str = "a file") -> bytes:
    """Return what the file holds, from 1 to `most` bytes; Unusable when it cannot be read, or is none.

    `expected` tells in that error what the file should be.
    """
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # opening a pipe or a device could block or do harm
            raise _not_a_file(path, expected)
        with path.open("rb") as stream:
            data = stream.read(most + 1)
    except OSError as error:
        raise unreadable(path, error, expected) from error
    if not data:
        cure = f"write it again; since when it is empty: ls -l {in_shell(path)}"
        raise Unusable("file.empty", path, "is empty", expected=expected, cure=cure)
    if len(data) > most:
        cure = f"name the right file; what this one is: ls -l {in_shell(path)}"
        found = f"is larger than {most} bytes"
        raise Unusable("file.wrong_kind", path, found, expected=expected, cure=cure)
    return data


def read_password(path: Path) -> str:
    """Return the password that the file holds: its only line, without the line's end; Unusable otherwise."""
    data = read_file(path, expected=PASSWORD)
    new = in_shell(path.with_name(path.name + ".new"))  # what stands here may be somebody's key
    cure = (
        "write the password alone into a file that nobody else can read, and name that: "
        f'(umask 077; read -rs password; printf %s "$password" > {new})'
    )
    try:
        text: str | None = data.decode()
    except UnicodeDecodeError:
        text = None
    if text is None:  # not raised above: it would remember the other error, which quotes the file
        raise Unusable("file.wrong_kind", path, "is not UTF-8", expected=PASSWORD, cure=cure)
    password = text.removesuffix("\n").removesuffix("\r")
    if not password:
        raise Unusable("file.empty", path, "holds only an empty line", expected=PASSWORD, cure=cure)
    if "\n" in password or "\r" in password:
        raise Unusable("file.wrong_kind", path, "has more than one line", expected=PASSWORD, cure=cure)
    return password


def readable_by_others(path: Path) -> str | None:
    """Return the mode, such as "0644", of a private file that is open to more than its owner and group.

    None when all is well: the group may read it, for that is how syncd's own user gets at a file of root's,
    but not write it. Unusable when it cannot be looked at.
    """
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
    except OSError as error:
        raise unreadable(path, error, "a file") from error
    return f"{mode:04o}" if mode & _OTHERS_MAY else None


def unreadable(path: Path, error: OSError, expected: str) -> Unusable:
    """What to say when the system refuses to open or read the file."""
    reason = error.strerror or str(error)
    if error.errno in _MISSING:
        near = next((folder for folder in path.parents if os.path.isdir(folder)), path)  # noqa: PTH112 - as above
        target = os.path.islink(path) and Path(os.path.realpath(path))  # noqa: PTH114 - as above
        found = f"is a link to {shown(target)}, where nothing is" if target else "is not there"
        cure = f"put it there, or name another one; what there is: ls -l {in_shell(near)}"
        return Unusable("file.missing", path, f"{found}: {reason}", expected=expected, cure=cure)
    if error.errno in _TOO_MANY:
        found, cure = f"cannot be read: {reason}", _TOO_MANY[error.errno]
        return Unusable("file.unreadable", path, found, expected=expected, cure=cure)
    if not isinstance(error, PermissionError):
        cure = f"look at the disk, until this says nothing: cat {in_shell(path)} > /dev/null"
        return Unusable("file.unreadable", path, f"cannot be read: {reason}", expected=expected, cure=cure)
    # The file's own permissions may be well, and a directory on the way the one that is shut.
    real = Path(os.path.realpath(path))
    shut = next((folder for folder in reversed(real.parents) if not _may(folder, os.X_OK)), None)
    if shut:
        reason = f"{shown(shut)} is shut to that user"
        cure = f"put the file elsewhere, or let everybody pass there: chmod o+x {in_shell(shut)}"
    else:
        word = in_shell(real)
        cure = f"let that user's group read it: chgrp {os.getegid()} {word} && chmod g+r {word}"
    found = f"cannot be read by user {user_name()}: {reason}"
    return Unusable("file.unreadable", path, found, expected=expected, cure=cure)


def close_to_others(path: Path) -> str:
    """The command; the group may go on reading, as that may be how syncd itself does."""
    return f"chmod g-w,o= {in_shell(path)}"


def in_shell(path: Path) -> str:
    """Return the path as a word of a command for bash, on one line."""
    text = str(path)
    if text.isprintable():
        return shlex.quote(text)
    plain = set(range(0x20, 0x7F)) - set(b"\\'")
    return (
        "$'" + "".join(chr(byte) if byte in plain else f"\\x{byte:02x}" for byte in os.fsencode(text)) + "'"
    )


def _not_a_file(path: Path, expected: str) -> Unusable:
    folder = os.path.isdir(path)  # noqa: PTH112 - unlike Path.is_dir, raises nothing
    found = "is a directory" if folder else "is a pipe, a device or a socket"
    cure = f"name a {'file in it' if folder else 'regular file'}; what is there: ls -l {in_shell(path)}"
    return Unusable("file.not_a_file", path, found, expected=expected, cure=cure)


def _may(path: Path, access: int) -> bool:
    return os.access(path, access, effective_ids=os.access in os.supports_effective_ids)


def user_name() -> str:
    """The user whose permissions decide here: the name, or the number of one without."""
    uid = os.geteuid()
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
