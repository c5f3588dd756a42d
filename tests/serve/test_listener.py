"""The socket file: whose it is, who may connect, and when."""

import grp
import os
import re
import socket
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from syncd.serve import ListenError, bound


@pytest.fixture
def path(tmp_path: Path) -> Iterator[Path]:
    """Where the socket shall be; reached by a short way, since such paths have at most 107 bytes."""
    before = Path.cwd()
    os.chdir(tmp_path)
    yield Path("sock")
    os.chdir(before)


def connect(path: Path) -> None:
    """Connect and hang up."""
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))


@contextmanager
def refused(message: str) -> Iterator[None]:
    """Expect a ListenError that names the setting and says `message`."""
    with pytest.raises(ListenError, match=re.escape(message)) as error:
        yield
    assert str(error.value).startswith("serve.socket ")


@pytest.mark.parametrize("mode", [0o600, 0o660, 0o666, 0o777])
@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_mode(path: Path, mode: int, umask: int) -> None:
    """The mode asked for, whatever the umask, which is left as it was."""
    old = os.umask(umask)
    try:
        with bound(path, mode, None):
            assert stat.S_IMODE(path.stat().st_mode) == mode
            assert os.umask(umask) == umask
    finally:
        os.umask(old)


def test_group(path: Path) -> None:
    """The group asked for; one that doesn't exist is refused, and nothing is left behind."""
    gid = os.getgroups()[-1] if os.getgroups() else os.getgid()
    with bound(path, 0o660, grp.getgrgid(gid).gr_name):
        assert path.stat().st_gid == gid
    with refused("cannot be given mode 0660, group no-such-group"), bound(path, 0o660, "no-such-group"):
        pass
    assert not path.exists()


def test_nobody_connects_too_early(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the moment it exists, the file is the owner's alone, until it has its mode; nobody listens yet."""
    seen = []

    def chmod(self: Path, mode: int) -> None:
        seen.append(stat.S_IMODE(path.stat().st_mode))
        with pytest.raises(ConnectionRefusedError):
            connect(path)
        os.chmod(self, mode)  # noqa: PTH101 - the one replaced here would call itself

    monkeypatch.setattr(Path, "chmod", chmod)
    old = os.umask(0)
    try:
        with bound(path, 0o666, None) as listener:
            assert seen == [0o600]
            with pytest.raises(ConnectionRefusedError):
                connect(path)
            listener.listen()
            connect(path)
    finally:
        os.umask(old)


def test_it_goes_with_its_server(path: Path) -> None:
    """In the end the file is removed, also after a failure; one of somebody else's making is not."""
    with pytest.raises(ZeroDivisionError), bound(path, 0o600, None):
        raise ZeroDivisionError
    assert not path.exists()
    with bound(path, 0o600, None):
        path.unlink()
    with bound(path, 0o600, None):
        path.unlink()
        path.write_text("mine")
    assert path.read_text() == "mine"


def test_a_dead_socket_is_replaced(path: Path) -> None:
    """A socket on which nobody listens is one that was left behind."""
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    assert path.is_socket()
    with bound(path, 0o600, None) as listener:
        listener.listen()
        connect(path)
    assert not path.exists()


def test_a_living_syncd_is_left_alone(path: Path) -> None:
    """Two of them never serve on one socket, not even before the first one listens."""
    with bound(path, 0o600, None) as listener:
        with refused(f"another syncd (pid {os.getpid()}) serves there"), bound(path, 0o600, None):
            pass
        listener.listen()
        with refused("another syncd"), bound(path, 0o600, None):
            pass
        connect(path)
    with bound(path, 0o600, None):
        pass


def test_another_server_is_left_alone(path: Path) -> None:
    """A socket on which some other program listens is its own."""
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(path))
        other.listen()
        with refused("another program serves there; it is left alone"), bound(path, 0o600, None):
            pass
        connect(path)
    assert path.is_socket()


def test_any_other_file_is_left_alone(path: Path) -> None:
    """What is not a socket is never removed: a file, a directory, a link to either or to nothing."""
    with refused("there is a file that is not a socket"):
        path.write_text("precious")
        with bound(path, 0o600, None):
            pass
    assert path.read_text() == "precious"
    path.unlink()
    path.mkdir()
    with refused("there is a file that is not a socket"), bound(path, 0o600, None):
        pass
    path.rmdir()
    path.symlink_to("nowhere")
    with refused("there is a file that is not a socket"), bound(path, 0o600, None):
        pass
    assert path.is_symlink()


def test_where_nothing_can_be_made(path: Path) -> None:
    """No such directory; a lock that is a link to somebody's file."""
    with refused("sock.lock cannot be made: No such file"), bound(Path("nowhere/sock"), 0o600, None):
        pass
    Path("precious").write_text("precious")
    Path("sock.lock").symlink_to("precious")
    with refused("sock.lock cannot be made"), bound(path, 0o600, None):
        pass
    assert Path("precious").read_text() == "precious"


@pytest.mark.skipif(os.geteuid() != 0, reason="NOT TESTED: a dead socket of another user (needs root)")
def test_a_dead_socket_that_cannot_be_removed() -> None:
    """In a directory like /tmp, only its owner may; that is told, not a traceback."""
    with tempfile.TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX) as dead:
        path = Path(folder, "sock")
        dead.bind(str(path))
        path.chmod(0o777)
        Path(folder).chmod(0o1777)
        dead.close()
        os.seteuid(65534)
        try:
            with (
                refused("a dead server's socket is there, and cannot be removed: Operation not permitted"),
                bound(path, 0o600, None),
            ):
                pass
        finally:
            os.seteuid(0)
