"""What the files of certificates and password do to a gateway client when they change."""

from __future__ import annotations

import asyncio
import os
import resource
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from shutil import copy

import pytest

from syncd.config import TLS
from syncd.gateway import WrongPassword, credentials
from syncd.gateway.errors import FileUnusable
from syncd.keyrange import prefix_range
from tests.certificates import Authority
from tests.etcd import Etcd
from tests.gateway.conftest import Connect, Lines
from tests.gateway.rotating import look_twice, rotating, said
from tests.secure import demanding, secure
from tests.until import until

KEYS = prefix_range(b"/")


def emptied(tls: TLS) -> Path | None:
    """An editor was interrupted."""
    assert tls.key_file
    tls.key_file.write_bytes(b"")
    return tls.key_file


def vanished(tls: TLS) -> Path | None:
    """A volume was unmounted."""
    assert tls.cert_file
    tls.cert_file.unlink()
    return tls.cert_file


def nonsense(tls: TLS) -> Path | None:
    """A download was an error page."""
    assert tls.ca_file
    tls.ca_file.write_text("<html>")
    return tls.ca_file


def exchanged(tls: TLS) -> Path | None:
    """The new key was forgotten."""
    assert tls.cert_file
    Authority(tls.cert_file.parent, "strange").issue("strange")
    copy(tls.cert_file.with_name("strange.pem"), tls.cert_file)
    return tls.key_file


@pytest.mark.parametrize(
    ("spoil", "code"),
    [
        (emptied, "file.empty"),
        (vanished, "file.missing"),
        (nonsense, "file.not_pem"),
        (exchanged, "tls.key_mismatch"),
    ],
)
async def test_a_bad_file_is_told_and_changes_nothing(
    spoil: Callable[[TLS], Path],
    code: str,
    authority: Authority,
    tls: TLS,
    connect: Connect,
    lines: Lines,
) -> None:
    """Once in the log, with path and cure, and for as long as it lasts; a good one needs no SIGHUP."""
    assert tls.ca_file
    gateway = connect("https://127.0.0.1:1", tls=tls)
    before = gateway.certificates
    path = spoil(tls)
    for _ in range(3):
        await look_twice(gateway)
    [line] = said(lines, "file unusable")
    assert (line["log_level"], line["code"]) == ("error", code)
    assert str(path) in line["error"]
    assert line["cure"]
    error = gateway.rotation.troubles["certificates"]
    assert isinstance(error, FileUnusable)
    assert (error.code, error.path) == (code, path)
    assert gateway.certificates is before
    authority.issue("client")
    copy(authority.file, tls.ca_file)
    await look_twice(gateway)
    assert said(lines, "files usable again")
    assert not isinstance(gateway.rotation.troubles["certificates"], FileUnusable)


@contextmanager
def no_more_files() -> Iterator[None]:
    """Let this process open none."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    with Path(os.devnull).open() as stream:
        lowest = stream.fileno()
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


async def test_what_was_in_the_way_of_reading_passes(
    authority: Authority, tls: TLS, connect: Connect, lines: Lines, tmp_path: Path
) -> None:
    """Too many open files, such as connections of readers: the files are read again, though as they were."""
    password = tmp_path / "password"
    password.write_text("secret")
    now = 1000.0
    with secure(None, authority.issue("server"), *demanding(authority)) as etcd:
        gateway = connect(etcd.endpoint, tls=tls, user="reader", password_file=password)
        for source in (gateway.rotation._certificates, gateway.rotation._password):
            source._clock = lambda: now
        before = gateway.certificates
        authority.issue("client")
        password.write_text("another secret")
        await gateway.rotation._look()
        with no_more_files():
            for _ in range(2):
                await gateway.rotation._look()
                now += 60
        for line in said(lines, "file unusable"):
            assert (line["code"], "LimitNOFILE=" in line["cure"]) == ("file.unreadable", True)
            assert "Too many open files" in line["error"]
        assert {*gateway.rotation.troubles} == {"certificates", "password"}
        assert len(said(lines, "file unusable")) == 2
        assert gateway.certificates is before
        await gateway.rotation._look()
        assert gateway.certificates is not before
        assert not gateway.rotation.troubles
        assert said(lines, "password taken")


async def test_files_that_do_not_answer_hold_up_nothing(
    new_etcd: Etcd, connect: Connect, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As those of a file server that is down."""
    password = tmp_path / "password"
    password.write_text("secret")
    gateway = connect(new_etcd.endpoint, password_file=password)
    asked, answers = threading.Event(), threading.Event()

    def hanging(path: Path) -> credentials.State:
        asked.set()
        assert answers.wait(10)
        return ()

    monkeypatch.setattr(credentials, "_state", hanging)
    async with asyncio.TaskGroup() as group:
        group.create_task(gateway.rotation._look(), name="look")
        await until(asked.is_set)
        assert (await gateway.revision(KEYS)).revision == 1
        answers.set()


async def test_the_systems_authorities_are_renewed(
    authority: Authority,
    successor: Authority,
    connect: Connect,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    lines: Lines,
) -> None:
    """By themselves when they change; read again, as they were, they are no change."""
    of_system = tmp_path / "system.pem"
    monkeypatch.setenv("SSL_CERT_FILE", str(of_system))
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path / "none"))
    copy(authority.file, of_system)
    with secure(None, authority.issue("server")) as etcd:
        gateway = connect(etcd.endpoint)
        await gateway.revision(KEYS)
        before = gateway.certificates
        of_system.touch()
        await look_twice(gateway)
        assert await gateway.rotation.reload() == ["certificates"]
        assert gateway.certificates is before
        of_system.write_bytes(authority.file.read_bytes() + successor.file.read_bytes())
        await look_twice(gateway)
        [line] = said(lines, "certificates taken")
        assert str(of_system) in line["files"]
        successor.issue("server")
        await gateway.look_again(etcd.endpoint)
        assert not gateway.rotation.troubles


async def test_the_same_again_is_no_change(tls: TLS, connect: Connect, lines: Lines) -> None:
    """Whoever writes the same files anew, or restores what was there, disturbs nobody."""
    assert tls.cert_file
    gateway = connect("https://127.0.0.1:1", tls=tls)
    before = gateway.certificates
    good = tls.cert_file.read_bytes()
    for text in (b"", good):
        tls.cert_file.write_bytes(text)
        await look_twice(gateway)
    await gateway.rotation.reload()
    assert gateway.certificates is before
    assert not gateway.rotation.troubles
    assert [line["event"] for line in lines] == ["file unusable", "files usable again"]


async def test_a_link_is_turned_to_other_files(
    authority: Authority, connect: Connect, tmp_path: Path
) -> None:
    """As Kubernetes does it: files of one moment, in a directory that a link names."""
    server = authority.issue("server")
    for version in ("one", "two"):
        (tmp_path / version).mkdir()
        issued = authority.issue("client")
        copy(issued.certificate, tmp_path / version)
        copy(issued.key, tmp_path / version)
    link, new = tmp_path / "data", tmp_path / "new"
    link.symlink_to("one")
    tls = TLS(ca_file=authority.file, cert_file=link / "client.pem", key_file=link / "client.key")
    with secure(None, server, *demanding(authority)) as etcd:
        gateway = connect(etcd.endpoint, tls=tls)
        await gateway.revision(KEYS)
        before = gateway.certificates
        new.symlink_to("two")
        new.rename(link)
        await look_twice(gateway)
        assert gateway.certificates is not before
        assert (await gateway.revision(KEYS)).revision == 1


async def test_told_to_read_nothing_is_waited_for(authority: Authority, tls: TLS, connect: Connect) -> None:
    """One look is enough then, and it tells what came of it."""
    with secure(None, authority.issue("server"), *demanding(authority)) as etcd:
        gateway = connect(etcd.endpoint, tls=tls)
        before = gateway.certificates
        authority.issue("client")
        await gateway.rotation.reload()
        assert gateway.certificates is not before
        assert not gateway.rotation.troubles


async def test_the_password_is_taken_when_it_changes(
    new_etcd: Etcd, connect: Connect, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lines: Lines
) -> None:
    """Also when it was no password before; a stream is not opened anew for that."""
    new_etcd.guard("reader", "secret", "/")
    password = tmp_path / "password"
    password.write_text("wrong")
    gateway = connect(new_etcd.endpoint, user="reader", password_file=password)
    for _ in range(3):  # after that, etcd would not be asked for some time
        with pytest.raises(WrongPassword):
            await gateway.revision(KEYS)
    async with rotating(gateway, monkeypatch):
        password.unlink()
        await until(lambda: gateway.rotation.troubles)
        error = gateway.rotation.troubles["password"]
        assert isinstance(error, FileUnusable)
        assert (error.code, error.path) == ("file.missing", password)
        password.write_text("secret")
        await until(lambda: said(lines, "password taken"))
        assert not gateway.rotation.troubles
        async with gateway.watch(KEYS, 1) as stream:
            assert (await anext(stream)).created
            password.write_text("secret too")
            await until(lambda: len(said(lines, "password taken")) == 2)
            assert not gateway.outdated(stream)
    assert "secret" not in str(lines)


async def test_open_secrets_are_warned_about(
    tls: TLS, connect: Connect, monkeypatch: pytest.MonkeyPatch, lines: Lines
) -> None:
    """Once at the start, and once more after each change; not when all is well."""
    assert tls.key_file
    tls.key_file.chmod(0o644)
    gateway = connect("https://127.0.0.1:1", tls=tls)
    async with rotating(gateway, monkeypatch):
        await until(lambda: gateway.rotation.exposed == {tls.key_file: "0644"})
        tls.key_file.chmod(0o666)
        await until(lambda: gateway.rotation.exposed == {tls.key_file: "0666"})
        tls.key_file.chmod(0o600)
        await until(lambda: not gateway.rotation.exposed)
    warned = said(lines, "file readable by others")
    assert [(line["log_level"], line["mode"]) for line in warned] == [
        ("warning", "0644"),
        ("warning", "0666"),
    ]
    assert str(tls.key_file) in warned[0]["cure"]
