"""A daemon that cannot get in says why: once in the log, and in the status until it can."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.certificates import SERVER, Authority, Issued
from tests.cli.command import syncd
from tests.daemon.process import Daemon
from tests.etcd import Etcd
from tests.secure import demanding, secure
from tests.serve.local import wait_until

CAUSE = "etcd cannot be had"


def codes(daemon: Daemon) -> list[str]:
    """What stops it, as the status says; the certificates expire soon, too."""
    return [each["code"] for each in daemon.status()["etcd"]["findings"] if each["level"] == "error"]


def causes(daemon: Daemon) -> list[str]:
    """What the log says."""
    return [line["code"] for line in daemon.log(CAUSE)]


@pytest.fixture
def crippled(authority: Authority) -> Iterator[Etcd]:
    """Run an etcd whose gateway cannot reach it: its certificate is for servers alone."""
    issued, client = authority.issue("server", usages=[SERVER]), authority.issue("client")
    with secure(None, issued, *demanding(authority), own=client) as etcd:
        yield etcd


def settings(authority: Authority, own: Issued) -> dict[str, Any]:
    """The `tls` of a configuration."""
    return {"ca_file": str(authority.file), "cert_file": str(own.certificate), "key_file": str(own.key)}


def test_the_cause_and_the_cure(crippled: Etcd, authority: Authority) -> None:
    """In the log once, in the status, in what readers are told, in `syncd status`; gone when it is mended."""
    daemon = Daemon(crippled.endpoint)
    daemon.settings["etcd"]["tls"] = settings(authority, authority.issue("client"))
    daemon.write()
    with daemon:
        wait_until(lambda: codes(daemon) == ["tls.server_cert_no_client_auth"])
        error = daemon.ask("/readyz").error["message"]
        assert "tls.server_cert_no_client_auth" in error
        assert "--client-cert-file" in error
        shown = syncd("status", socket=daemon.socket).stdout.decode()
        assert "tls.server_cert_no_client_auth" in shown
        assert "extendedKeyUsage=serverAuth,clientAuth" in shown
        [line] = daemon.log(CAUSE)
        assert line["level"] == "error"
        assert "--client-cert-file" in line["cure"]
        assert "without clientAuth" in line["seen"]
        # It fails again and again, and is not said again.
        tries = len(daemon.log("etcd lost"))
        wait_until(lambda: daemon.status()["etcd"]["endpoints"][0]["failures"] > tries + 3)
        assert causes(daemon) == ["tls.server_cert_no_client_auth"]
        authority.issue("server")
        daemon.wait_for("live")
        assert codes(daemon) == []
        daemon.assert_no_traceback()


def test_each_range_that_may_not_be_read(new_etcd: Etcd, tmp_path: Path) -> None:
    """Is told with the command that grants it, while the others are live."""
    new_etcd.guard("reader", "sesame", "/mine/")
    password = tmp_path / "password"
    password.write_text("sesame")
    password.chmod(0o600)
    daemon = Daemon(new_etcd.endpoint, prefixes=["/mine/", "/theirs/", "/nobodys/"])
    daemon.settings["etcd"] |= {"user": "reader", "password_file": str(password)}
    daemon.write()
    with daemon:
        wait_until(lambda: codes(daemon) == ["auth.permission_denied"] * 2)
        cures = sorted(finding["cure"] for finding in daemon.status()["etcd"]["findings"])
        assert "grant-permission ROLE --prefix=true read /nobodys/" in cures[0]
        assert "grant-permission ROLE --prefix=true read /theirs/" in cures[1]
        assert [daemon.range_status(i)["state"] for i in range(3)] == ["live", "cold", "cold"]
        for prefix in ("/theirs/", "/nobodys/"):
            grant = ("role", "grant-permission", "reading", "--prefix=true", "read", prefix)
            new_etcd.etcdctl("--user=root:sesame", *grant)
        daemon.wait_for("live")
        assert codes(daemon) == []
        assert causes(daemon) == ["auth.permission_denied"] * 2
        daemon.assert_no_traceback()


def test_an_outage_is_told_once(new_etcd: Etcd) -> None:
    """One look, one line; and when it comes again soon, the log does not repeat it, but the status does."""
    with Daemon(new_etcd.endpoint) as daemon:
        daemon.wait_for("live")
        for _ in range(2):
            new_etcd.kill()
            wait_until(lambda: codes(daemon) == ["tcp.refused"])
            new_etcd.start()
            daemon.wait_for("live")
            assert codes(daemon) == []
        [line] = daemon.log(CAUSE)
        assert (line["code"], line["level"]) == ("tcp.refused", "error")
