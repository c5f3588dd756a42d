"""`serve.tls`: who shows a certificate from the right authority is let in, and nobody else."""

from __future__ import annotations

import shutil
import socket
import ssl
import warnings
from collections.abc import Iterator
from contextlib import suppress
from http.client import HTTPSConnection
from pathlib import Path
from signal import SIGHUP

import pytest

from tests.certificates import CLIENT, HOUR, SERVER, Authority, Issued
from tests.daemon import hasty
from tests.daemon.process import Daemon
from tests.etcd import Etcd
from tests.serve.local import Answer, wait_until


@pytest.fixture
def shown(authority: Authority) -> Issued:
    """What the daemon shows; clients expect 127.0.0.1."""
    return authority.issue("server", usages=(SERVER,))


@pytest.fixture
def daemon(new_etcd: Etcd, port: int, authority: Authority, shown: Issued) -> Iterator[Daemon]:
    """A daemon that listens on every address, with TLS."""
    new_etcd.put("/a", "1")
    tls = {"cert_file": shown.certificate, "key_file": shown.key, "client_ca_file": authority.file}
    serve = {"listen": f"0.0.0.0:{port}", "tls": {name: str(path) for name, path in tls.items()}}
    with Daemon(new_etcd.endpoint, settings={"serve": serve}, module=hasty.MODULE) as daemon:
        yield daemon.wait_for("live")
        daemon.stop()


def ask(port: int, trusted: Path, own: Issued | None, host: str = "127.0.0.1", **headers: str) -> Answer:
    """One request, over TLS; ssl.SSLError or ConnectionError when it is not let in."""
    context = ssl.create_default_context(cafile=str(trusted))
    if own:
        context.load_cert_chain(own.certificate, own.key)
    connection = HTTPSConnection(host, port, context=context, timeout=30)
    try:
        connection.request("GET", "/v1/value?key=/a", headers=headers)
        response = connection.getresponse()
        return Answer(response.status, response.headers, response.read())
    finally:
        connection.close()


def is_let_in(port: int, trusted: Path, own: Issued | None) -> bool:
    """Whether there is an answer."""
    try:
        return ask(port, trusted, own).status == 200
    except (ssl.SSLError, ConnectionError):
        return False


def test_who_is_let_in(daemon: Daemon, port: int, authority: Authority, tmp_path: Path) -> None:
    """A client's certificate from the authority, good today; none other, and none at all."""
    (tmp_path / "other").mkdir()
    stranger = Authority(tmp_path / "other").issue("stranger", usages=(CLIENT,))
    client = authority.issue("client", usages=(CLIENT,))
    assert ask(port, authority.file, client).body == b"1"
    assert ask(port, authority.file, client, Host="a.name").body == b"1"  # which the certificate vouches for
    assert ask(port, authority.file, client, Origin="https://page.example").status == 403
    assert not is_let_in(port, authority.file, None)
    assert not is_let_in(port, authority.file, stranger)
    assert not is_let_in(port, authority.file, authority.issue("old", until=-HOUR / 2))
    assert not is_let_in(port, authority.file, authority.issue("server2", usages=(SERVER,)))
    with socket.create_connection(("127.0.0.1", port)) as plain:
        plain.sendall(b"GET /v1/value?key=/a HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        with suppress(ConnectionError):
            assert b"HTTP" not in plain.recv(1000)
    assert ask(port, authority.file, client).body == b"1"
    daemon.assert_no_traceback()


def test_versions_of_tls(daemon: Daemon, port: int, authority: Authority) -> None:
    """1.2 and 1.3 are spoken, and none below."""
    del daemon
    client = authority.issue("client", usages=(CLIENT,))
    context = ssl.create_default_context(cafile=str(authority.file))
    context.load_cert_chain(client.certificate, client.key)

    def spoken(version: ssl.TLSVersion) -> bool:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            context.minimum_version = context.maximum_version = version
        plain = socket.create_connection(("127.0.0.1", port))
        with plain, context.wrap_socket(plain, server_hostname="127.0.0.1") as secured:
            secured.sendall(b"GET /healthz HTTP/1.0\r\n\r\n")
            return secured.recv(100).startswith(b"HTTP/1.0 200")

    assert spoken(ssl.TLSVersion.TLSv1_3)
    assert spoken(ssl.TLSVersion.TLSv1_2)
    context.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.raises(ssl.SSLError):
        spoken(ssl.TLSVersion.TLSv1_1)


def test_renewal(daemon: Daemon, port: int, authority: Authority, shown: Issued, tmp_path: Path) -> None:
    """Other files are taken by themselves, and on SIGHUP: other certificates are shown and demanded then."""
    client = authority.issue("client", usages=(CLIENT,))
    (tmp_path / "other").mkdir()
    other = Authority(tmp_path / "other")
    theirs, new = other.issue("theirs", usages=(CLIENT,)), other.issue("new", usages=(SERVER,))
    assert not is_let_in(port, other.file, theirs)
    shutil.copy(new.certificate, shown.certificate)
    [line] = daemon.wait_for_log("file unusable")
    assert line["code"] == "tls.key_mismatch"
    assert [finding["code"] for finding in daemon.status()["etcd"]["findings"]] == ["tls.key_mismatch"]
    assert is_let_in(port, authority.file, client)
    shutil.copy(new.key, shown.key)
    daemon.wait_for_log("certificates taken")
    wait_until(lambda: is_let_in(port, other.file, client), "the new certificate is shown")
    assert not daemon.status()["etcd"]["findings"]
    shutil.copy(other.file, authority.file)
    daemon.signal(SIGHUP)
    [line] = daemon.wait_for_log("reloaded")
    assert "serve.tls" in line["taken"]
    assert is_let_in(port, other.file, theirs)
    assert not is_let_in(port, other.file, client)


def test_open_connections_go_on(daemon: Daemon, port: int, authority: Authority) -> None:
    """Certificates are for those who come; who is in, stays."""
    client = authority.issue("client", usages=(CLIENT,))
    context = ssl.create_default_context(cafile=str(authority.file))
    context.load_cert_chain(client.certificate, client.key)
    connection = HTTPSConnection("127.0.0.1", port, context=context, timeout=30)
    for _ in range(2):
        connection.request("GET", "/v1/value?key=/a")
        assert connection.getresponse().read() == b"1"
        daemon.signal(SIGHUP)
        daemon.wait_for_log("reloaded")
    connection.close()


def test_files_that_are_no_good(new_etcd: Etcd, port: int, shown: Issued, authority: Authority) -> None:
    """They are mistakes in the configuration; a key that others can read is told of."""
    tls = {"cert_file": str(shown.certificate), "key_file": str(shown.key), "client_ca_file": str(shown.key)}
    serve = {"listen": f"127.0.0.1:{port}", "tls": tls}
    daemon = Daemon(new_etcd.endpoint, settings={"serve": serve})
    try:
        daemon.launch()
        assert daemon.wait() == 2
        assert "serve.tls.client_ca_file: " in daemon.log_text()
        shown.key.chmod(0o644)
        tls["client_ca_file"] = str(authority.file)
        daemon.settings["serve"] |= serve
        daemon.write()
        daemon.log_file.unlink()
        daemon.start().wait_for("live")
        [line] = daemon.log("file readable by others")
        assert line["file"] == str(shown.key)
        assert [each["code"] for each in daemon.status()["etcd"]["findings"]] == ["file.readable_by_others"]
    finally:
        daemon.close()


def test_handshakes_that_do_not_come(daemon: Daemon, port: int, authority: Authority) -> None:
    """They keep nobody waiting, also not the daemon's end."""
    client = authority.issue("client", usages=(CLIENT,))
    silent = [socket.create_connection(("127.0.0.1", port)) for _ in range(50)]
    assert ask(port, authority.file, client).body == b"1"
    assert daemon.stop() == 0
    daemon.start()
    for connection in silent:
        connection.close()
