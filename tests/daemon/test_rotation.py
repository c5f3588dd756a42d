"""Certificates that are renewed under a running daemon: nothing is lost, and what is wrong is told."""

from __future__ import annotations

import asyncio
from asyncio import StreamWriter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from signal import SIGHUP
from threading import Event, Thread
from typing import Any

import pytest

from tests.certificates import Authority, Issued
from tests.daemon import hasty
from tests.daemon.process import MODULE, Daemon
from tests.etcd import Etcd
from tests.proxy import Proxy
from tests.secure import demanding, secure
from tests.serve.local import wait_until

HANDSHAKE = 0x16
"""The first byte of whoever begins to speak TLS (RFC 8446, 5.1)."""

RENEWALS = 2


@contextmanager
def mirroring(
    endpoint: str, authority: Authority, own: Issued, module: str = hasty.MODULE
) -> Iterator[Daemon]:
    """A daemon with a certificate, which is live."""
    daemon = Daemon(endpoint, module=module)
    files = {"ca_file": authority.file, "cert_file": own.certificate, "key_file": own.key}
    daemon.settings["etcd"]["tls"] = {name: str(file) for name, file in files.items()}
    daemon.write()
    with daemon:
        yield daemon.wait_for("live")


@pytest.fixture
def etcd(authority: Authority) -> Iterator[Etcd]:
    """Run an etcd that demands a certificate from everybody."""
    with secure(None, authority.issue("server"), *demanding(authority)) as etcd:
        yield etcd


def findings(daemon: Daemon) -> dict[str, dict[str, Any]]:
    """What the status says is not well, by code; but that certificates of an hour soon expire."""
    told = daemon.status()["etcd"]["findings"]
    return {each["code"]: each for each in told if not each["code"].endswith("_expires")}


class Wire(Proxy):
    """The road to etcd; notes the first byte that each connection carries there."""

    def __init__(self, port: int) -> None:
        super().__init__(port)
        self.first_bytes: dict[StreamWriter, int] = {}

    def allows(self, chunk: bytes, onward: StreamWriter) -> bool:
        """All of it."""
        self.first_bytes.setdefault(onward, chunk[0])
        return True


class Load(Thread):
    """Puts one key again and again until told to stop; `revisions` are those of the puts."""

    def __init__(self, etcd: Etcd) -> None:
        super().__init__(name="load")
        self._etcd = etcd
        self._stopped = Event()
        self.revisions: list[int] = []

    def run(self) -> None:
        """Put."""
        while not self._stopped.is_set():
            self.revisions.append(self._etcd.put("/n", str(len(self.revisions))))

    def stop(self) -> list[int]:
        """Return all revisions."""
        self._stopped.set()
        self.join()
        return self.revisions


async def test_nothing_is_lost_under_load(etcd_version: str, authority: Authority) -> None:
    """Every event comes once, reads are answered all the time; one stream more for each renewal; only TLS."""
    own = authority.issue("client")
    with secure(etcd_version, authority.issue("server"), *demanding(authority)) as etcd:
        async with Wire(etcd.port) as road:
            await asyncio.to_thread(renew_under_load, etcd, f"https://127.0.0.1:{road.port}", authority, own)
            assert len(road.first_bytes) >= 2 * (RENEWALS + 1)  # calls and streams
            assert set(road.first_bytes.values()) == {HANDSHAKE}


def renew_under_load(etcd: Etcd, url: str, authority: Authority, own: Issued) -> None:
    """Renew the daemon's certificate while a writer writes, a reader watches, and another one asks."""
    etcd.put("/n", "")
    with mirroring(url, authority, own) as daemon:

        def reopened(count: int) -> bool:
            assert daemon.ask("/v1/value?key=/n&max_age_ms=5000").status == 200
            counters = daemon.range_status()["counters"]
            assert counters["full_reads"] == {"initial": 1}
            return bool(counters["watch_reconnects"] == {"reopened": count})

        load = Load(etcd)
        with daemon.stream("watch", prefix="/", snapshot="true") as stream:
            load.start()
            try:
                for renewal in range(1, RENEWALS + 1):
                    authority.issue("client")
                    daemon.wait_for_log("certificates taken", renewal)
                    wait_until(lambda count=renewal: reopened(count))  # type: ignore[misc]
                    further = len(load.revisions) + 50
                    wait_until(lambda further=further: len(load.revisions) > further)  # type: ignore[misc]
            finally:
                put = load.stop()
            daemon.wait_for_revision(put[-1])
            assert reopened(RENEWALS)
            seen: list[int] = []
            for document in stream.documents():
                assert not document.get("resync")
                seen += [event["kv"]["mod_revision"] for event in document.get("events", ())]
                if seen[-1:] == put[-1:]:
                    break
        assert seen == put
        assert not findings(daemon)
        daemon.assert_no_traceback()


def test_a_bad_file_is_told_until_it_is_mended(etcd: Etcd, authority: Authority) -> None:
    """Once in the log and all the time in the status, with the path and the cure; the range stays live."""
    own = authority.issue("client")
    with mirroring(etcd.endpoint, authority, own) as daemon:
        assert not findings(daemon)
        own.key.write_bytes(b"")
        [line] = daemon.wait_for_log("file unusable")
        assert (line["level"], line["code"]) == ("error", "file.empty")
        assert str(own.key) in line["error"]
        told = findings(daemon)["file.empty"]
        assert (told["level"], told["subject"]) == ("error", str(own.key))
        assert "what was in use stays in use" in told["means"]
        assert told["cure"] == line["cure"]
        daemon.signal(SIGHUP)
        [refused] = daemon.wait_for_log("reload refused")
        assert str(own.key) in refused["error"]
        revision = etcd.put("/a", "1")
        daemon.wait_for_revision(revision).wait_for("live")
        assert len(daemon.log("file unusable")) == 1
        authority.issue("client")
        daemon.wait_for_log("certificates taken")
        assert not findings(daemon)
        wait_until(lambda: daemon.range_status()["counters"]["watch_reconnects"] == {"reopened": 1})
        assert not daemon.log("reloaded")


def test_sighup_takes_what_etcd_accepts(etcd: Etcd, authority: Authority, tmp_path: Path) -> None:
    """At once; and it says what was not taken, and why."""
    own = authority.issue("client")
    with mirroring(etcd.endpoint, authority, own, MODULE) as daemon:
        authority.issue("client")
        daemon.signal(SIGHUP)
        [line] = daemon.wait_for_log("reloaded")
        assert line["taken"] == ["certificates", "log"]
        assert len(daemon.log("certificates taken")) == 1
        Authority(tmp_path, "stranger").issue("client")
        daemon.signal(SIGHUP)
        line = daemon.wait_for_log("reloaded", 2)[-1]
        assert line["taken"] == ["log"]
        [refused] = daemon.log("certificates refused")
        assert refused["level"] == "error"
        told = findings(daemon)["tls.renewal_refused"]
        assert (told["level"], told["subject"]) == ("warning", etcd.endpoint)
        assert "those in use stay in use" in told["means"]
        assert f"syncd check -c {daemon.config}" in told["cure"]
        daemon.wait_for_revision(etcd.put("/a", "1")).wait_for("live")
        authority.issue("client")
        daemon.signal(SIGHUP)
        assert daemon.wait_for_log("reloaded", 3)[-1]["taken"] == ["certificates", "log"]
        assert not findings(daemon)


def test_a_key_that_others_can_read_is_warned_about(etcd: Etcd, authority: Authority) -> None:
    """At the start, and in the status until it is closed."""
    own = authority.issue("client")
    own.key.chmod(0o644)
    with mirroring(etcd.endpoint, authority, own) as daemon:
        [line] = daemon.wait_for_log("file readable by others")
        assert (line["level"], line["file"], line["mode"]) == ("warning", str(own.key), "0644")
        told = findings(daemon)["file.readable_by_others"]
        assert (told["level"], told["subject"]) == ("warning", str(own.key))
        own.key.chmod(0o600)
        wait_until(lambda: not findings(daemon))
        assert not daemon.log("certificates taken")
        daemon.assert_no_traceback()
