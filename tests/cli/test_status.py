"""`syncd status` as lines: aligned, safe, and with what a person must know."""

import json
from typing import Any

from syncd.cli.status import plain
from syncd.client.status import decode_status

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
        "RANGE            STATE    AGE  REVISION     KEYS     SIZE  ENDPOINT",
        "/apisix/         live   12 ms      1234  500,000  1.0 MiB  http://127.0.0.1:2379",
        "/a/long/prefix/  cold   never         0        0  1.0 MiB  http://127.0.0.1:2379",
    ]


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
