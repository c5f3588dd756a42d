"""What is found out about this host, as one user and as another; the cures are tried, too."""

import grp
import os
import socket
from pathlib import Path

import pytest

from syncd.config import TLS, Cache, Config, Etcd, Serve
from syncd.diagnosis.local import local_findings
from syncd.findings import Finding
from syncd.keyrange import prefix_range
from syncd.serve import bound
from tests.diagnosis.host import NOBODY, as_nobody, needs_root, run_cure


def looked_at(serve: Serve, etcd: Etcd | None = None) -> dict[str, Finding]:
    """The findings by code; looking changed nothing."""
    config = Config(
        ranges=(prefix_range(b"/"),), serve=serve, cache=Cache(directory=None), etcd=etcd or Etcd()
    )
    before = sorted(serve.socket.parent.glob("*"))
    findings = local_findings(config)
    assert sorted(serve.socket.parent.glob("*")) == before
    return {finding.code: finding for finding in findings}


def codes(serve: Serve) -> set[str]:
    """What is found of the socket."""
    return set(looked_at(serve)) - {"cache.off"}


def test_all_is_well(folder: Path) -> None:
    """A directory that can be written in; the mode is told, and the group when there is one."""
    group = grp.getgrgid(os.getgid()).gr_name
    found = looked_at(Serve(socket=folder / "s", mode=0o640, group=group))
    assert set(found) == {"socket.ok", "cache.off"}
    assert f"with mode 0640 and group {group}" in found["socket.ok"].seen


def test_no_directory_is_mended_by_its_cure(folder: Path) -> None:
    """The command makes one in which this user can serve; for one in /run, systemd's way is told as well."""
    serve = Serve(socket=folder / "new one" / "s")
    unwritable = looked_at(serve)["socket.unwritable"]
    assert f"there is no directory {folder / 'new one'}" in unwritable.seen
    assert "RuntimeDirectory" not in unwritable.cure
    run_cure(unwritable)
    assert codes(serve) == {"socket.ok"}
    in_run = looked_at(Serve(socket=Path("/run/no-such/syncd/s")))["socket.unwritable"]
    assert "RuntimeDirectory=no-such/syncd in the unit" in in_run.cure


def test_a_file_in_place_of_the_directory(folder: Path) -> None:
    """It is no directory, and not stumbled over."""
    (folder / "file").touch()
    assert codes(Serve(socket=folder / "file" / "s")) == {"socket.unwritable"}


@needs_root
def test_a_directory_of_somebody_else(folder: Path) -> None:
    """The user is named, for the daemon may be another one."""
    with as_nobody():
        found = looked_at(Serve(socket=folder / "s"))
    assert found["socket.unwritable"].seen == f"the user nobody may not write in {folder}"
    assert "check as the user that the daemon runs as" in found["socket.unwritable"].cure


@needs_root
def test_a_directory_that_is_shut(folder: Path) -> None:
    """Not even a look inside is an answer, no traceback."""
    folder.chmod(0o700)
    with as_nobody():
        assert codes(Serve(socket=folder / "s")) == {"socket.unwritable"}


@needs_root
def test_the_lock_of_somebody_else_is_mended_by_its_cure(folder: Path) -> None:
    """A daemon once ran as root, and left its lock file behind."""
    folder.chmod(0o777)
    serve = Serve(socket=folder / "s")
    with bound(serve.socket, 0o600, None):
        pass
    with as_nobody():
        unwritable = looked_at(serve)["socket.unwritable"]
        assert "s.lock cannot be made: Permission denied (as the user nobody)" in unwritable.seen
    run_cure(unwritable)
    with as_nobody():
        assert codes(serve) == {"socket.ok"}


@needs_root
@pytest.mark.parametrize("inherited", [True, False])
def test_a_group_that_the_user_is_not_in(folder: Path, *, inherited: bool) -> None:
    """It cannot be given, unless the directory gives it; as `bound` finds, too."""
    other = next(group for group in grp.getgrall() if group.gr_gid not in {0, *os.getgroups()})
    os.chown(folder, NOBODY, other.gr_gid)
    folder.chmod(0o2755 if inherited else 0o755)
    serve = Serve(socket=folder / "s", group=other.gr_name)
    with as_nobody():
        found = looked_at(serve)
        if inherited:
            assert "socket.ok" in found
            with bound(serve.socket, serve.mode, serve.group):
                pass
            return
    assert f"nobody may not give it to the group {other.gr_name}" in found["socket.unwritable"].seen
    assert f"usermod -aG {other.gr_name} nobody" in found["socket.unwritable"].cure


@pytest.mark.parametrize("listening", [True, False])
def test_a_living_daemon_is_well(folder: Path, *, listening: bool) -> None:
    """It is known by its lock, from the moment that it has one; nobody connects to it."""
    path = folder / "s"
    with bound(path, 0o660, None) as listener:
        if listening:
            listener.listen()
        found = looked_at(Serve(socket=path))
        assert found["socket.in_use"].seen == f"a syncd serves there (pid {os.getpid()})"
        if listening:
            listener.setblocking(False)
            with pytest.raises(BlockingIOError):
                listener.accept()
    assert codes(Serve(socket=path)) == {"socket.ok"}


@needs_root
def test_a_living_daemon_of_another_user_is_well(folder: Path) -> None:
    """Who may neither connect nor open the lock still sees that it serves."""
    path = folder / "s"
    with bound(path, 0o600, None) as listener, as_nobody():
        listener.listen()
        assert codes(Serve(socket=path)) == {"socket.in_use"}


def test_a_dead_socket_will_be_replaced(folder: Path) -> None:
    """That is no obstacle, and told."""
    path = folder / "s"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    assert "left behind by a daemon that died" in looked_at(Serve(socket=path))["socket.ok"].seen


def test_what_is_no_daemons_is_taken(folder: Path) -> None:
    """A file, or the socket of another program: syncd would not start, and the cure shows what it is."""
    path = folder / "s"
    path.touch()
    taken = looked_at(Serve(socket=path))["socket.taken"]
    assert taken.seen == "there is a file that is not a socket; it is left alone"
    path.unlink()
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(path))
        other.listen()
        taken = looked_at(Serve(socket=path))["socket.taken"]
        assert taken.seen == "another program serves there; it is left alone"
        run_cure(taken)


def test_a_socket_for_all_is_told(folder: Path) -> None:
    """Unless a directory on the way shuts others out."""
    serve = Serve(socket=folder / "s", mode=0o666)
    assert codes(serve) == {"socket.ok", "socket.open_to_all"}
    folder.chmod(0o750)
    assert codes(serve) == {"socket.ok"}
    folder.chmod(0o755)
    assert codes(Serve(socket=folder / "s", mode=0o664)) == {"socket.ok"}


@pytest.mark.parametrize("mode", [0o644, 0o602, 0o620])
def test_private_files_that_others_may_touch_are_closed_by_the_cure(folder: Path, mode: int) -> None:
    """The key and the password; not the certificates, which everybody may read."""
    files = {name: folder / name for name in ("the key", "password", "cert", "ca")}
    for file in files.values():
        file.touch()
        file.chmod(mode)
    etcd = Etcd(
        password_file=files["password"],
        tls=TLS(key_file=files["the key"], cert_file=files["cert"], ca_file=files["ca"]),
    )
    config = Config(ranges=(), etcd=etcd, serve=Serve(socket=folder / "s"), cache=Cache(directory=None))
    open_ones = [one for one in local_findings(config) if one.code == "file.readable_by_others"]
    assert [(one.subject, one.seen) for one in open_ones] == [
        (str(files["the key"]), f"etcd.tls.key_file has mode {mode:04o}"),
        (str(files["password"]), f"etcd.password_file has mode {mode:04o}"),
    ]
    for finding in open_ones:
        run_cure(finding)
    assert "file.readable_by_others" not in {one.code for one in local_findings(config)}


def test_a_private_file_that_is_gone_meanwhile(folder: Path) -> None:
    """The configuration could be read, and then the file was removed."""
    found = looked_at(Serve(socket=folder / "s"), etcd=Etcd(password_file=folder / "gone"))
    assert found["file.missing"].subject == str(folder / "gone")
