"""SIGHUP: what is taken over, what is not, and what is refused."""

import json
from collections.abc import Iterator
from pathlib import Path
from signal import SIGHUP

import pytest

from tests.certificates import Authority
from tests.daemon.process import Daemon
from tests.etcd import Etcd
from tests.serve.local import target, wait_until

FIRST, SECOND = "swordfish-1", "swordfish-2"


def test_log_level(daemon: Daemon) -> None:
    """Taken over at once; nothing else is, for there are neither certificates nor a password."""
    daemon.settings["log"]["level"] = "error"
    daemon.write()
    daemon.signal(SIGHUP)
    daemon.signal(SIGHUP)  # another one changes nothing
    daemon.settings["log"]["level"] = "debug"
    daemon.write()
    before = len(daemon.log("reloaded"))
    daemon.signal(SIGHUP)
    assert daemon.wait_for_log("reloaded", before + 1)[-1]["taken"] == ["log"]
    assert not daemon.log("reload needs a restart")
    assert daemon.stop() == 0


def test_what_needs_a_restart(daemon: Daemon) -> None:
    """Everything else is named, and stays as it is."""
    daemon.settings["ranges"].append({"key": "unheard-of"})
    daemon.settings["history"] = {"events": 1}
    daemon.write()
    daemon.signal(SIGHUP)
    [line] = daemon.wait_for_log("reload needs a restart")
    assert (line["sections"], line["level"]) == (["ranges", "history"], "warning")
    assert len(daemon.status()["ranges"]) == 1


def test_broken(daemon: Daemon) -> None:
    """A configuration that cannot be used is refused with its mistakes; the old one stays in force."""
    for text in ("ranges: [", "ranges: []\nlog: {level: loud}", "\0"):
        daemon.config.write_text(text)
        count = len(daemon.log("reload refused"))
        daemon.signal(SIGHUP)
        line = daemon.wait_for_log("reload refused", count + 1)[-1]
        assert "config.yaml" in line["error"]
    daemon.config.unlink()
    daemon.signal(SIGHUP)
    daemon.wait_for_log("reload refused", 4)
    assert daemon.ask("/readyz").status == 200
    assert not daemon.log("reloaded")
    daemon.assert_no_traceback()


def test_all_or_nothing(tmp_path: Path) -> None:
    """When a certificate cannot be taken over, neither is the log level beside it: so it is said."""
    ca = Authority(tmp_path).file
    daemon = Daemon("https://127.0.0.1:1")
    daemon.settings["etcd"]["tls"] = {"ca_file": str(ca)}
    daemon.settings["log"]["level"] = "warning"
    daemon.write()
    with daemon:
        good = ca.read_bytes()
        ca.write_text("no certificate")
        daemon.settings["log"]["level"] = "info"
        daemon.write()
        daemon.signal(SIGHUP)
        daemon.wait_for_log("reload refused")
        assert daemon.stop() == 0
        assert not daemon.log("stopped")  # so nothing below a warning is said yet
        ca.write_bytes(good)
        daemon.settings["log"]["level"] = "warning"
        daemon.write()
        daemon.start()
        daemon.settings["log"]["level"] = "info"
        daemon.write()
        daemon.signal(SIGHUP)
        assert daemon.wait_for_log("reloaded")[-1]["taken"] == ["certificates", "log"]


@pytest.fixture
def guarded(new_etcd: Etcd) -> Iterator[Etcd]:
    """An etcd that lets the user `reader` read below `/`, with the password FIRST."""
    for command in (
        "user add root:root",
        "user grant-role root root",
        f"user add reader:{FIRST}",
        "role add readers",
        "role grant-permission readers --prefix=true read /",
        "user grant-role reader readers",
        "auth enable",
    ):
        new_etcd.etcdctl(*command.split())
    yield new_etcd
    new_etcd.etcdctl("--user=root:root", "auth", "disable")


def test_password(guarded: Etcd, tmp_path: Path) -> None:
    """A wrong password is said in the status, a new one taken over; neither stands in any log or answer."""
    password = tmp_path / "password"
    password.write_text("swordfish-0\n")
    daemon = Daemon(guarded.endpoint)
    daemon.settings["etcd"] |= {"user": "reader", "password_file": str(password)}
    daemon.write()
    with daemon:
        wait_until(lambda: daemon.range_status()["error"])
        assert "password of user 'reader'" in daemon.ask("/readyz").error["message"]
        password.write_text(f"{FIRST}\n")
        daemon.signal(SIGHUP)
        daemon.wait_for("live")
        told = [daemon.log_text()]
        told += [
            daemon.ask(call).body.decode() for call in ("/v1/status", "/metrics", "/readyz", "/v1/value")
        ]
        guarded.etcdctl("--user=root:root", "put", "/a", "1")
        wait_until(lambda: daemon.ask(target("value", key="/a")).body == b"1")
        guarded.etcdctl(
            "--user=root:root", "user", "passwd", "reader", "--interactive=false", stdin=SECOND.encode()
        )
        password.write_text(SECOND)
        daemon.signal(SIGHUP)
        assert daemon.wait_for_log("reloaded", 2)[-1]["taken"] == ["password", "log"]
        guarded.stop()
        guarded.start()
        wait_until(
            lambda: daemon.range_status()["error"] is None and daemon.range_status()["state"] == "live"
        )
        assert daemon.stop() == 0
        told += [daemon.log_text(), daemon.output_file.read_text()]
        assert "swordfish" not in json.dumps(told)
        daemon.assert_no_traceback()
