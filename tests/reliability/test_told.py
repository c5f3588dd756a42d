"""Lines as syncd writes them, read without syncd's code."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from tests.reliability.history import Record
from tests.reliability.told import Batch, Lines, Malformed, Progress, Refusal, Snapshot, Told, record

KV = {"key": "/c/a", "value": "v", "create_revision": 2, "mod_revision": 3, "version": 2, "lease": 0}
RAW = {
    "key_b64": "/w==",
    "value_b64": "gA==",
    "create_revision": 2,
    "mod_revision": 2,
    "version": 1,
    "lease": 7,
}
HEAD = {"revision": 3, "epoch": "e", "count": 2, "state": "live", "age_ms": 10}


def test_a_record_has_two_forms() -> None:
    """Text where it is UTF-8, base64 where it is not."""
    assert record(KV) == Record(b"/c/a", b"v", 2, 3, 2, 0)
    assert record(RAW) == Record(b"\xff", b"\x80", 2, 2, 1, 7)


def test_a_snapshot_is_told_at_its_end() -> None:
    """Not before: one that was cut is none."""
    lines = Lines()
    for line in (HEAD, KV, RAW):
        assert lines.add(line) is None
        assert lines.within
    told = lines.add({"end": True, "count": 2})
    assert told == Snapshot(3, "e", "live", 10, (record(KV), record(RAW)), (2, 2))
    assert not lines.within


def test_keys_alone() -> None:
    """Without their values."""
    lines = Lines(keys_only=True)
    lines.add(HEAD)
    lines.add({name: value for name, value in KV.items() if name != "value"})
    told = lines.add({"end": True, "count": 1})
    assert told == Snapshot(3, "e", "live", 10, (record(KV)._replace(value=b""),), (2, 1), keys_only=True)


def test_the_lines_of_a_watch() -> None:
    """Batches, progress, resyncs, errors."""
    put = {"type": "put", "kv": KV, "prev_kv": RAW}
    delete = {"type": "delete", "kv": {"key_b64": "/w==", "mod_revision": 9}}
    events = (Told(b"/c/a", record(KV), 3, record(RAW)), Told(b"\xff", None, 9, None))
    add = Lines().add
    assert add({"revision": 9, "events": [put, delete]}) == Batch(9, events)
    assert add({"revision": 9, "resync": True, "epoch": "e", "events": [put, delete]}) == Batch(
        9, events, resync=True, epoch="e"
    )
    assert add({"revision": 9, "progress": True, "state": "stale", "age_ms": None}) == Progress(
        9, "stale", None
    )
    assert add({"error": {"code": "compacted", "message": "m", "oldest_revision": 4}}) == Refusal(
        "compacted", "m", 4
    )


@pytest.mark.parametrize(
    "line",
    [
        {},
        {"revision": 9},
        {"revision": 9, "events": [{"type": "put"}]},
        {"revision": 9, "events": [{"type": "move", "kv": KV}]},
        {"revision": 9, "events": [{"type": "put", "kv": {"key": "/c/a", "mod_revision": 9}}]},
        {"revision": 9, "events": [], "resync": True},
        {"revision": 9, "progress": True},
        {"error": "words"},
    ],
)
def test_anything_else_is_malformed(line: Mapping[str, Any]) -> None:
    """It is told what is missing, and where."""
    with pytest.raises(Malformed):
        Lines().add(line)
