"""Files that cannot be read or are none, and files with a password."""

from __future__ import annotations

import os
import shlex
import socket
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from syncd.config.files import Unusable, in_shell, read_file, read_password, readable_by_others

SECRET = "correct horse"
NOBODY = 65534


def directory(path: Path) -> None:
    """Make what is often named instead of a file in it."""
    path.mkdir()


def listening(path: Path) -> None:
    """Make a socket."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))


def dangling(path: Path) -> None:
    """Make a link to nothing."""
    path.symlink_to(path.with_name("gone"))


def circular(path: Path) -> None:
    """Make a link to itself."""
    path.symlink_to(path)


def below_a_file(path: Path) -> None:
    """Make a file of the directory."""
    path.parent.rmdir()
    path.parent.touch()


def huge(path: Path) -> None:
    """Make a file of a terabyte, all of it a hole."""
    path.touch()
    os.truncate(path, 1 << 40)


@pytest.mark.parametrize(
    ("make", "code", "found"),
    [
        (lambda path: None, "file.missing", "{} is not there: No such file or directory"),
        (dangling, "file.missing", "{} is a link to {}/gone, where nothing is: No such file or directory"),
        (circular, "file.missing", "Too many levels of symbolic links"),
        (below_a_file, "file.missing", "{} is not there: Not a directory"),
        (directory, "file.not_a_file", "{} is a directory"),
        (os.mkfifo, "file.not_a_file", "{} is a pipe, a device or a socket"),
        (listening, "file.not_a_file", "{} is a pipe, a device or a socket"),
        (lambda path: path.symlink_to("/dev/zero"), "file.not_a_file", "{} is a pipe, a device or a socket"),
        (Path.touch, "file.empty", "{} is empty"),
        (huge, "file.wrong_kind", "{} is larger than 1048576 bytes"),
    ],
)
def test_what_is_no_file(tmp_path: Path, make: Callable[[Path], None], code: str, found: str) -> None:
    """Told with its path, what it is and what it should be; the command of the cure works."""
    path = tmp_path / "some where" / "password"
    path.parent.mkdir()
    make(path)
    with pytest.raises(Unusable) as caught:
        read_password(path)
    assert (caught.value.code, caught.value.path) == (code, path)
    assert found.format(path, path.parent) in str(caught.value)
    assert str(caught.value).endswith("; it should be a file with nothing but the password")
    command = caught.value.cure.rpartition(": ")[2]
    assert subprocess.run(["bash", "-c", command], capture_output=True, check=True).stderr == b""


def test_a_name_that_no_file_can_have(tmp_path: Path) -> None:
    """It is told as that of a file that is not there, with the nearest directory that is."""
    for path in (tmp_path / ("y" * 300), tmp_path / "x" / "y" / "z"):
        with pytest.raises(Unusable, match=r"is not there: (File name too long|No such file)") as caught:
            read_file(path)
        assert caught.value.code == "file.missing"
        assert caught.value.cure.endswith(f": ls -l {tmp_path}")


@contextmanager
def as_nobody() -> Iterator[int]:
    """Be a user without rights for a while, unless that is so already; the uid."""
    own = os.geteuid()
    if own == 0:
        os.seteuid(NOBODY)
    try:
        yield own or NOBODY
    finally:
        os.seteuid(own)


@pytest.mark.parametrize(
    ("shut", "reason", "command"),
    [
        ("tls/key.pem", "Permission denied", "chgrp {gid} {shut} && chmod g+r {shut}"),
        ("tls", "{shut} is shut to that user", "chmod o+x {shut}"),
    ],
)
def test_a_file_that_this_user_may_not_read(shut: str, reason: str, command: str) -> None:
    """It is told who may not, what on the way to the file is shut, and the command that opens it."""
    with tempfile.TemporaryDirectory() as top:
        path, closed = Path(top) / "tls" / "key.pem", Path(top) / shut
        path.parent.mkdir()
        path.touch()
        for folder in (Path(top), path.parent):
            folder.chmod(0o755)
        closed.chmod(0)
        try:
            with as_nobody(), pytest.raises(Unusable) as caught:
                read_file(path)
        finally:
            closed.chmod(0o700)
    assert (caught.value.code, caught.value.path) == ("file.unreadable", path)
    assert "cannot be read by user " in str(caught.value)
    assert f": {reason.format(shut=closed)}; " in str(caught.value)
    assert caught.value.cure.endswith(f": {command.format(gid=os.getegid(), shut=closed)}")


def test_a_file_that_the_disk_does_not_give() -> None:
    """An error in reading is told as it is; the memory of this process has one at its beginning."""
    with pytest.raises(Unusable, match=r"^/proc/self/mem cannot be read: Input/output error; ") as caught:
        read_file(Path("/proc/self/mem"))
    assert caught.value.code == "file.unreadable"


def test_a_file_is_read_up_to_a_bound(tmp_path: Path) -> None:
    """As many bytes as are allowed, and not one more."""
    path = tmp_path / "file"
    path.write_bytes(b"12345")
    assert read_file(path, 5) == b"12345"
    with pytest.raises(Unusable, match="larger than 4 bytes"):
        read_file(path, 4)


@pytest.mark.parametrize("end", ["", "\n", "\r\n"])
@pytest.mark.parametrize("password", [SECRET, f" {SECRET}\t", "pässwörd", "\ufeff", "a\u2028b\x0cc"])
def test_a_password_is_a_line(tmp_path: Path, password: str, end: str) -> None:
    """Without the line's end, which editors put there; everything else counts."""
    path = tmp_path / "password"
    path.write_bytes((password + end).encode())
    assert read_password(path) == password


@pytest.mark.parametrize(
    ("data", "code", "found"),
    [
        (b"\n", "file.empty", "holds only an empty line"),
        (b"\r\n", "file.empty", "holds only an empty line"),
        (SECRET.encode() + b"\n\n", "file.wrong_kind", "has more than one line"),
        (b"one\r" + SECRET.encode(), "file.wrong_kind", "has more than one line"),
        (SECRET.encode("utf-16"), "file.wrong_kind", "is not UTF-8"),
    ],
)
def test_what_is_no_password(tmp_path: Path, data: bytes, code: str, found: str) -> None:
    """Refused without a word of what it holds; what the cure says makes a good one, beside it and private."""
    path = tmp_path / "it's a password"
    path.write_bytes(data)
    with pytest.raises(Unusable) as caught:
        read_password(path)
    assert (caught.value.code, caught.value.path) == (code, path)
    assert found in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__ or caught.value.__context__ is None
    assert not any(word in str(caught.value) + caught.value.cure for word in SECRET.split())
    command = caught.value.cure.partition(": ")[2]
    subprocess.run(["bash", "-c", command], input=f"{SECRET}\n".encode(), check=True)
    new = path.with_name(f"{path.name}.new")
    assert read_password(new) == SECRET
    assert new.stat().st_mode & 0o777 == 0o600
    assert path.read_bytes() == data


@pytest.mark.parametrize(
    ("mode", "open_to_others"),
    [(0o400, None), (0o600, None), (0o640, None), (0o644, "0644"), (0o602, "0602"), (0o660, "0660")],
)
def test_who_may_read_a_private_file(tmp_path: Path, mode: int, open_to_others: str | None) -> None:
    """Its owner and, without writing, its group; a mode that allows more is told."""
    path = tmp_path / "key.pem"
    path.touch()
    path.chmod(mode)
    assert readable_by_others(path) == open_to_others


def test_whom_a_file_that_is_gone_is_open_to(tmp_path: Path) -> None:
    """A file that cannot be looked at is not said to be well guarded."""
    with pytest.raises(Unusable) as caught:
        readable_by_others(tmp_path / "gone")
    assert caught.value.code == "file.missing"


@pytest.mark.parametrize("name", ["plain", "two words", "it's", "$HOME", "new\nline", "a\\\x85'\n", "\udcff"])
def test_a_name_in_a_command(tmp_path: Path, name: str) -> None:
    """Whatever a file is called, a shell understands the name, and it stays on one line."""
    path = tmp_path / name
    path.write_bytes(b"x")
    word = in_shell(path)
    assert word.isprintable()
    assert (word == shlex.quote(str(path))) == str(path).isprintable()
    assert subprocess.run(["bash", "-c", f"cat {word}"], capture_output=True, check=True).stdout == b"x"
    with pytest.raises(Unusable) as caught:
        read_file(path / "below")
    assert str(caught.value).isprintable()
    assert caught.value.cure.isprintable()
