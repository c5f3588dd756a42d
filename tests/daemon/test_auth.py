"""etcd's authentication is changed under a daemon: what it serves stays, and it says why that grows old."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from signal import SIGHUP
from time import monotonic
from typing import Any

import pytest

from tests.daemon.process import Daemon
from tests.etcd import Etcd, available
from tests.serve.local import target, wait_until
from tests.users import PASSWORD, as_root, authentications, change_password, simple

QUICK = {"heartbeat": "300ms", "request": "2s"}


def prepared(etcd: Etcd, password: str | None, prefixes: tuple[str, ...] = ("/",)) -> Daemon:
    """A daemon, not started yet, for the user `reader`; without a password for nobody."""
    daemon = Daemon(etcd.endpoint, prefixes)
    settings: dict[str, Any] = daemon.settings["etcd"]
    settings["timeouts"] = QUICK
    if password is not None:
        file = daemon.directory / "password"
        file.write_text(password)
        file.chmod(0o600)
        settings |= {"user": "reader", "password_file": str(file)}
    daemon.write()
    return daemon


def holds(daemon: Daemon, value: bytes) -> bool:
    """Whether it serves this value."""
    return daemon.ask(target("value", key="/a")).body == value


def is_stale(daemon: Daemon, error: str) -> bool:
    """Whether it says that what it serves grows old, and why."""
    status = daemon.range_status()
    return status["state"] == "stale" and error in (status["error"] or "")


def told(daemon: Daemon) -> set[str]:
    """The codes of what the status finds."""
    return {finding["code"] for finding in daemon.status()["etcd"]["findings"]}


def switched(version: str) -> None:
    """Switch authentication on and off, first under a daemon that has no user, then under one that has."""
    with Etcd(version, simple(version)) as etcd, prepared(etcd, PASSWORD) as daemon:
        etcd.put("/a", "1")
        daemon.wait_for("live")
        with prepared(etcd, None) as nobody:
            nobody.wait_for("live").wait_for_revision(etcd.revision())
            etcd.guard("reader", PASSWORD, "/")
            wait_until(lambda: is_stale(nobody, "user name is empty"))
            wait_until(lambda: "auth.required" in told(nobody))
            assert holds(nobody, b"1")
            as_root(etcd, "put", "/a", "2")
            as_root(etcd, "auth", "disable")
            is_well(nobody, etcd.revision())
            assert holds(nobody, b"2")

        daemon.wait_for_log("authentication is on again")
        etcd.ask("/auth/enable", {})
        as_root(etcd, "put", "/a", "3")
        wait_until(lambda: holds(daemon, b"3"))
        as_root(etcd, "user", "revoke-role", "reader", "reading")
        wait_until(lambda: is_stale(daemon, "permission denied"))
        wait_until(lambda: "auth.permission_denied" in told(daemon))
        assert holds(daemon, b"3")
        as_root(etcd, "put", "/a", "4")
        as_root(etcd, "user", "grant-role", "reader", "reading")
        wait_until(lambda: holds(daemon, b"4"))
        is_well(daemon, 5)
        as_root(etcd, "auth", "disable")
        etcd.put("/a", "5")
        is_well(daemon, etcd.revision())


def is_well(daemon: Daemon, revision: int) -> None:
    """Wait until it has come to `revision`, and is live: without reading all again, and nothing is wrong."""
    daemon.wait_for_revision(revision).wait_for("live")
    assert not told(daemon)
    assert daemon.range_status()["counters"]["full_reads"] == {"initial": 1}
    daemon.assert_no_traceback()


def test_authentication_is_switched_on_and_off() -> None:
    """On each version, side by side; all is well again by itself, and nothing is read twice for it."""
    with ThreadPoolExecutor() as pool:
        for done in [pool.submit(switched, version) for version in available()]:
            done.result()


@pytest.fixture
def guarded(new_etcd: Etcd) -> Etcd:
    """An etcd where `reader` may read everything."""
    new_etcd.put("/a", "1")
    new_etcd.guard("reader", PASSWORD, "/")
    return new_etcd


def test_a_wrong_password_is_no_storm(guarded: Etcd) -> None:
    """Each try costs etcd a bcrypt. Ten ranges make no more of them than one, and ever fewer."""
    with prepared(guarded, "wrong", tuple(f"/{number}/" for number in range(10))) as daemon:
        began = monotonic()
        wait_until(lambda: authentications(guarded) >= 4)
        assert monotonic() - began > (1 + 2 + 4) / 2 - 0.5  # it began before this daemon answered
        assert {r["state"] for r in daemon.status()["ranges"]} == {"cold"}
        wait_until(lambda: "auth.wrong_password" in told(daemon))
        (daemon.directory / "password").write_text(PASSWORD)
        daemon.signal(SIGHUP)
        mended = monotonic()
        daemon.wait_for("live")
        assert monotonic() - mended < 2.0  # nobody waits for the pause to end
        assert authentications(guarded) == 5
        assert not told(daemon)


def test_a_password_is_changed(guarded: Etcd) -> None:
    """Told to etcd first, and to syncd later: meanwhile it serves what it has, and says what is wrong."""
    with prepared(guarded, PASSWORD) as daemon:
        daemon.wait_for("live")
        change_password(guarded, "reader", "another")
        wait_until(lambda: is_stale(daemon, "etcd refuses the password of user 'reader'"))
        wait_until(lambda: "auth.wrong_password" in told(daemon))
        assert holds(daemon, b"1")
        (daemon.directory / "password").write_text("another")  # without a signal: it is looked at
        daemon.wait_for("live")
        [line] = daemon.log("token renewed")
        assert (line["level"], line["code"]) == ("info", "auth.token_refused")
        assert "invalid auth token" in line["error"]
        assert not told(daemon)
        daemon.assert_no_traceback()
