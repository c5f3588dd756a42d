"""Which certificates are on the way to etcd, and what the daemon tells of their ends."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from signal import SIGHUP
from typing import Any

import pytest
from structlog.testing import capture_logs

from syncd.config import TLS
from syncd.config import Etcd as EtcdConfig
from syncd.daemon import expiry
from syncd.daemon.certificates import on_the_way
from syncd.daemon.expiry import Expiry, look_after
from syncd.diagnosis.certificates import BUNDLE
from syncd.gateway import Gateway
from syncd.keyrange import prefix_range
from tests.certificates import Authority, Issued
from tests.daemon.process import Daemon
from tests.etcd import Etcd
from tests.gateway.test_shown import replace, showing
from tests.serve.local import wait_until
from tests.until import until

DAY, SECOND = timedelta(days=1), timedelta(seconds=1)
METRIC = "syncd_certificate_expiry_timestamp_seconds"


@contextmanager
def mirroring(etcd: Etcd, authority: Authority, own: Issued) -> Iterator[Daemon]:
    """A daemon that trusts the authority and has a certificate of its own."""
    tls = {"ca_file": authority.file, "cert_file": own.certificate, "key_file": own.key}
    daemon = Daemon(etcd.endpoint)
    daemon.settings["etcd"]["tls"] = {name: str(file) for name, file in tls.items()}
    daemon.write()
    with daemon:
        yield daemon


@asynccontextmanager
async def gateway_to(url: str, ca_file: Path | None = None) -> AsyncIterator[Gateway]:
    """A gateway client as the daemon has it."""
    settings = EtcdConfig(endpoints=(url,), tls=TLS(ca_file=ca_file))
    clock = asyncio.get_running_loop().time
    async with Gateway(settings, draw=random.Random(1), clock=clock) as gateway:
        yield gateway


def test_all_that_expire_are_told(tmp_path: Path) -> None:
    """etcd's, the CA's and syncd's own: in status, metrics and log; and a renewed one anew."""
    authority = Authority(tmp_path, "our CA", until=3650 * DAY)
    shown, own = (
        authority.issue("shown", until=6.5 * DAY),
        authority.issue("own", until=20.5 * DAY, names=("me",)),
    )
    with showing(authority, shown) as etcd, mirroring(etcd, authority, own) as daemon:
        daemon.wait_for("live")
        told = daemon.status()["etcd"]
        ends = {
            one["role"]: datetime.fromisoformat(one["not_after"]).timestamp() for one in told["certificates"]
        }
        assert [(one["role"], one["source"], one["subject"]) for one in told["certificates"]] == [
            ("ca", str(authority.file), "our CA"),
            ("client", str(own.certificate), "me"),
            ("server", etcd.endpoint, "127.0.0.1"),
        ]
        for one, days in zip(told["certificates"], (3650, 20.5, 6.5), strict=True):
            assert one["not_after"].endswith("Z")
            assert days * 86400 - 100 < one["expires_in_seconds"] < days * 86400
            assert abs(ends[one["role"]] - time.time() - one["expires_in_seconds"]) < 10
        assert [(one["code"], one["subject"]) for one in told["findings"]] == [
            ("tls.client_cert_expires", str(own.certificate)),
            ("tls.server_cert_expires", etcd.endpoint),
        ]
        metrics = daemon.ask("/metrics").body.decode()
        labels = f'role="client",source="{own.certificate}",subject="me"'
        [value] = [
            line.split()[-1] for line in metrics.splitlines() if line.startswith(f"{METRIC}{{{labels}}}")
        ]
        assert float(value) == ends["client"]
        assert metrics.count(f"{METRIC}{{") == 3

        warnings = daemon.wait_for_log("certificate expires", 2)
        assert [(line["role"], line["days_left"], line["level"]) for line in warnings] == [
            ("client", 20.5, "warning"),
            ("server", 6.5, "warning"),
        ]
        replace(own, authority.issue("renewed", until=0.5 * DAY, names=("me",)))
        daemon.signal(SIGHUP)
        line = daemon.wait_for_log("certificate expires", 3)[-1]
        assert (line["role"], line["subject"], line["days_left"]) == ("client", "me", 0.5)
        daemon.assert_no_traceback()


def test_one_that_expires_while_running(tmp_path: Path) -> None:
    """Its end is an error in the log, once, and a finding in the status, with what to do."""
    authority = Authority(tmp_path, until=3650 * DAY)
    shown, own = authority.issue("shown", until=365 * DAY), authority.issue("own", until=2 * SECOND)
    with showing(authority, shown) as etcd, mirroring(etcd, authority, own) as daemon:
        daemon.wait_for_log("certificate has expired")
        [finding] = daemon.status()["etcd"]["findings"]
        assert (finding["code"], finding["level"]) == ("tls.client_cert_expired", "warning")
        assert finding["subject"] == str(own.certificate)
        daemon.wait_for("live")  # this etcd does not ask for it
        [line] = daemon.log("certificate has expired")
        assert (line["level"], line["source"], line["cure"]) == (
            "error",
            str(own.certificate),
            finding["cure"],
        )


async def test_what_etcd_renewed_is_seen_without_being_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every now and then a connection is made for that; that it fails is told, and stops nothing."""
    monkeypatch.setattr(expiry, "LOOK_AGAIN_SECONDS", (0.05, 0.05))
    monkeypatch.setattr(expiry, "WARN_SECONDS", 0.05)
    authority = Authority(tmp_path, until=3650 * DAY)
    shown = authority.issue("shown", until=0.5 * DAY)
    with showing(authority, shown) as etcd, capture_logs() as log:
        async with gateway_to(etcd.endpoint, ca_file=authority.file) as gateway, asyncio.TaskGroup() as group:
            ends = Expiry(partial(on_the_way, TLS(ca_file=authority.file), gateway), time.time)
            task = group.create_task(look_after(ends, gateway, random.Random(1)), name="ends")
            await gateway.revision(prefix_range(b"/"))
            assert [finding.code for finding in ends.findings()] == ["tls.server_cert_expires"]
            replace(shown, authority.issue("renewed", until=100 * DAY))
            await until(lambda: not ends.findings())
            etcd.stop()
            await until(lambda: [line for line in log if line["event"] == "a new connection failed"])
            etcd.start()
            replace(shown, authority.issue("renewed again", until=3 * DAY))
            await until(ends.findings)
            task.cancel()
    warned: list[Any] = [line["days_left"] for line in log if line["event"] == "certificate expires"]
    assert set(warned) <= {0.5, 3.0}


async def test_a_bundle_of_public_authorities_is_not_listed(tmp_path: Path) -> None:
    """A few are the operator's own, in the order of the file; many are everybody's; none are none."""
    names = [f"CA {i}" for i in range(BUNDLE + 1)]
    files = [Authority(tmp_path, name).file.read_bytes() for name in names]
    file = tmp_path / "bundle.pem"
    for count, listed in ((1, 1), (BUNDLE, BUNDLE), (BUNDLE + 1, 0)):
        file.write_bytes(b"".join(files[:count]))
        async with gateway_to("https://etcd:1", ca_file=file) as gateway:
            assert [one.subject for one in on_the_way(TLS(ca_file=file), gateway)] == names[:listed]
    async with gateway_to("https://etcd:1") as gateway:
        assert list(on_the_way(TLS(), gateway)) == []


async def test_a_certificate_that_cannot_be_read_is_left_out() -> None:
    """OpenSSL may take what `cryptography` does not; that is said once, and breaks nothing."""
    async with gateway_to("https://etcd:1") as gateway:
        gateway._transport.shown.certificates["https://etcd:1"] = b"no certificate"
        with capture_logs() as log:
            assert list(on_the_way(TLS(), gateway)) == list(on_the_way(TLS(), gateway)) == []
    [line] = log
    assert (line["log_level"], line["endpoint"]) == ("warning", "https://etcd:1")


def test_cryptography_is_only_loaded_where_there_is_tls(new_etcd: Etcd, tmp_path: Path) -> None:
    """It costs 8 MB, also when somebody asks for the status."""
    with Daemon(new_etcd.endpoint) as plain:
        plain.wait_for("live")
        assert plain.status()["etcd"]["certificates"] == []
        assert METRIC not in plain.ask("/metrics").body.decode()
        assert not loaded(plain, "cryptography")
        assert loaded(plain, "orjson")
    authority = Authority(tmp_path)
    with Daemon("https://127.0.0.1:1") as secure:
        secure.settings["etcd"]["tls"] = {"ca_file": str(authority.file)}
        secure.write()
        secure.stop()
        secure.start()
        wait_until(lambda: secure.status()["etcd"]["certificates"])
        assert loaded(secure, "cryptography")


def loaded(daemon: Daemon, package: str) -> bool:
    """Whether the process has a shared library of the package."""
    return f"/{package}/" in Path(f"/proc/{daemon.pid}/maps").read_text()
