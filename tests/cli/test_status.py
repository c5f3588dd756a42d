"""`syncd status` as lines: aligned, safe, and with what a person must know."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from syncd.cli.status import plain
from syncd.client.status import decode_status
from tests.cli.command import on_terminal
from tests.client.fake import FakeDaemon, whole

RANGE: dict[str, Any] = {
    "range": "/apisix/",
    "state": "live",
    "revision": 1234,
    "epoch": "e",
    "age_ms": 12,
    "keys": 500000,
    "bytes": 1 << 20,
    "syncing": None,
    "endpoint": "http://127.0.0.1:2379",
    "error": None,
    "history": {"events": 1, "bytes": 2, "oldest_revision": 3},
    "cache": {"revision": 1234, "bytes": 2 << 20, "commits": 1, "failures": 0, "error": None},
    "counters": {"events_applied": 1, "full_reads": {"initial": 1}, "watch_reconnects": {}},
}
STATUS = {
    "version": "0.1.0",
    "uptime_seconds": 7620,
    "pid": 7,
    "readers": 1,
    "etcd": {
        "endpoints": [{"url": "http://127.0.0.1:2379", "version": "3.5.16", "current": True, "failures": 0}]
    },
}


ETCD: dict[str, Any] = {
    "certificates": [
        {
            "role": "client",
            "source": "/etc/syncd/own.pem",
            "subject": "host-1\x1b",
            "not_after": "2026-01-02T03:04:05Z",
            "expires_in_seconds": 6 * 86400,
        },
        {
            "role": "server",
            "source": "https://a:2379",
            "subject": "etcd-a",
            "not_after": "2025-12-01T00:00:00Z",
            "expires_in_seconds": -7200,
        },
        {
            "role": "ca",
            "source": "/etc/syncd/ca.pem",
            "subject": "our CA",
            "not_after": "2036-01-02T03:04:05Z",
            "expires_in_seconds": 3650 * 86400,
        },
    ],
    "findings": [
        {"code": "tls.ok", "level": "ok", "subject": "https://a:2379", "seen": "TLSv1.3"},
        {"code": "tls.off", "level": "note", "subject": "http://a:2379", "seen": "no TLS"},
        {
            "code": "tls.client_cert_expires",
            "level": "warning",
            "subject": "/etc/syncd/own.pem",
            "seen": "6 days\tleft",
            "means": "because it ends",
            "cure": "renew it:\n  openssl req\n  ca\x1b[2J",
        },
        {
            "code": "auth.wrong_password",
            "level": "error",
            "subject": "https://a:2379",
            "seen": "etcd refuses it",
        },
    ],
}


def lines(*ranges: dict[str, Any]) -> list[str]:
    """Print a status with these ranges."""
    return plain(
        decode_status(json.dumps({**STATUS, "ranges": [{**RANGE, **one} for one in ranges]}).encode())
    )


def test_columns_are_aligned() -> None:
    """Names to the left, numbers to the right."""
    assert lines(
        {}, {"range": "/a/long/prefix/", "state": "cold", "age_ms": None, "revision": 0, "keys": 0}
    ) == [
        "syncd 0.1.0, pid 7, up 2 h 7 min, 1 reader",
        "etcd http://127.0.0.1:2379, 3.5.16, in use",
        "",
        "RANGE            STATE    AGE  REVISION     KEYS     SIZE  ON DISK  ENDPOINT",
        "/apisix/         live   12 ms      1234  500,000  1.0 MiB  2.0 MiB  http://127.0.0.1:2379",
        "/a/long/prefix/  cold   never         0        0  1.0 MiB  2.0 MiB  http://127.0.0.1:2379",
    ]


@pytest.mark.parametrize(
    ("cache", "on_disk", "note"),
    [
        (None, "off", None),
        ({}, "none", None),
        ({"revision": 7, "bytes": 100, "error": None}, "100 B", None),
        ({"revision": 7, "bytes": 100, "error": "no\nroom"}, "100 B", "where revision 7 is: no\\x0aroom"),
        ({"error": "no room"}, "none", "where nothing is: no room"),
    ],
)
def test_the_copy_on_disk(cache: dict[str, Any] | None, on_disk: str, note: str | None) -> None:
    """What it takes; and why it is not written, with what there is from before."""
    found = lines({"cache": cache})
    assert re.split(r"  +", found[4])[6] == on_disk
    assert found[5:] == ([f"/apisix/: not kept on disk, {note}"] if note else [])


def test_a_full_read_and_an_error_have_lines_of_their_own() -> None:
    """Progress and the last error are told below."""
    syncing = {"keys": 1200, "count": 5000, "reason": "initial"}
    found = lines({"syncing": syncing, "error": "no route\nto host", "range": ""})
    assert found[-2:] == [
        "(all keys): full read (initial): 1,200 of 5,000 keys",
        "(all keys): last error: no route\\x0ato host",
    ]


def test_an_endpoint_that_fails_is_told() -> None:
    """Its version may be unknown, and the attempts are counted."""
    endpoints = [{"url": "http://a:2379", "version": "", "current": True, "failures": 3}]
    found = plain(decode_status(json.dumps({**STATUS, "etcd": {"endpoints": endpoints}}).encode()))
    assert found[1] == "etcd http://a:2379, version unknown, in use, 3 failed attempts in a row"


def test_an_endpoint_in_quarantine_says_why_and_for_how_long() -> None:
    """On its own line, whatever etcd or a proxy put into the message."""
    quarantine = {"reason": "no route\nto host", "seconds": 12.34}
    endpoint = {"url": "http://a:2379", "version": "3.5.16", "failures": 1, "quarantine": quarantine}
    found = plain(decode_status(json.dumps({**STATUS, "etcd": {"endpoints": [endpoint]}}).encode()))
    assert found[1].endswith("3.5.16, 1 failed attempt, in quarantine for 12.3 s: no route\\x0ato host")


def test_findings_are_told_with_their_cures() -> None:
    """Warnings and errors come last; a cure begins a line, and its commands have lines of their own."""
    found = plain(decode_status(json.dumps({**STATUS, "etcd": {"findings": ETCD["findings"]}}).encode()))
    assert found[found.index("/etc/syncd/own.pem") :] == [
        "/etc/syncd/own.pem",
        "  warning  tls.client_cert_expires  6 days\\x09left",
        "             because it ends",
        "             > renew it:",
        "                 openssl req",
        "                 ca\\x1b[2J",
        "",
        "https://a:2379",
        "  error    auth.wrong_password  etcd refuses it",
        "",
    ]
    assert not any("tls.o" in line for line in found)


def test_certificates_are_told_when_one_expires_soon() -> None:
    """All of them, then; none while there is time."""
    found = plain(decode_status(json.dumps({**STATUS, "etcd": ETCD}).encode()))
    assert [line for line in found if line.startswith("certificate")] == [
        "certificate host-1\\x1b, client, /etc/syncd/own.pem: expires in 6 d 0 h, at 2026-01-02T03:04:05Z",
        "certificate etcd-a, server, https://a:2379: expired 2 h 0 min ago, at 2025-12-01T00:00:00Z",
        "certificate our CA, ca, /etc/syncd/ca.pem: expires in 3650 d 0 h, at 2036-01-02T03:04:05Z",
    ]
    for seconds, told in ((30 * 86400, False), (30 * 86400 - 1, True), (-1, True)):
        one = {**ETCD["certificates"][0], "expires_in_seconds": seconds}
        found = plain(decode_status(json.dumps({**STATUS, "etcd": {"certificates": [one]}}).encode()))
        assert any(line.startswith("certificate") for line in found) is told


def test_what_is_wrong_is_coloured_on_a_terminal(tmp_path: Path) -> None:
    """Errors are red, warnings yellow, and a command can be copied: no line is broken."""
    long = "openssl " + "x" * 100
    findings = [{**ETCD["findings"][2], "cure": f"renew it:\n  {long}"}, ETCD["findings"][3]]
    body = json.dumps({**STATUS, "etcd": {**ETCD, "findings": findings}}).encode()
    with FakeDaemon(tmp_path / "sock", [whole(body)]):
        code, shown = on_terminal("status", socket=tmp_path / "sock")
    assert code == 0
    assert "\x1b[33m  !  tls.client_cert_expires" in shown
    assert "\x1b[1;31m  ✗  auth.wrong_password" in shown
    assert "\x1b[33mcertificate host-1\\x1b, client, " in shown
    assert "\x1b[31mcertificate etcd-a, server, " in shown
    assert "\ncertificate our CA, ca, " in shown
    assert f"  {long}\x1b[0m\n" in shown
