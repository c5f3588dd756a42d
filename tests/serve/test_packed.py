"""Packed blocks, for readers that accept them: the same snapshot, the same watch after it."""

import json
from typing import Any

import msgspec

from tests.serve.local import Stream, target
from tests.serve.stand import EPOCH, Stand

PACKED = "application/vnd.syncd.blocks"


def unpacked(body: bytes) -> list[Any]:
    """The lines, and of each block its records: key, value and four integers."""
    found: list[Any] = []
    while body:
        line, _, body = body.partition(b"\n")
        told = json.loads(line)
        if list(told) != ["block"]:
            found.append(told)
            continue
        block, body = body[: told["block"]], body[told["block"] :]
        keys, values, raw = msgspec.msgpack.decode(block)
        numbers = [int.from_bytes(raw[at : at + 8], "little", signed=True) for at in range(0, len(raw), 8)]
        assert len(keys) * 4 == len(values) * 4 == len(numbers)
        found += [
            (key, value, *numbers[at * 4 : at * 4 + 4])
            for at, (key, value) in enumerate(zip(keys, values, strict=True))
        ]
    return found


def test_a_packed_snapshot(stand: Stand) -> None:
    """Head and end are the lines that they always are; values need not be text."""
    stand.write((b"/b", b"\xff\n"))
    answer = stand.ask("/v1/snapshot?prefix=/b", Accept=f"{PACKED}, application/x-ndjson;q=0.5")
    assert answer.headers["Content-Type"] == PACKED
    assert answer.headers["Vary"] == "Accept"
    head, *records, end = unpacked(answer.body)
    assert (head["count"], head["epoch"]) == (len(records), EPOCH)
    assert end == {"end": True, "count": len(records)}
    kept = stand.source.store.get(b"/b")
    assert kept
    assert records[0] == (b"/b", b"\xff\n", kept.create_revision, kept.mod_revision, kept.version, 0)
    assert answer.revision == head["revision"] == kept.mod_revision


def test_keys_alone_are_not_packed(stand: Stand) -> None:
    """There is little to gain."""
    answer = stand.ask("/v1/snapshot?prefix=/&keys_only=true", Accept=PACKED)
    assert answer.headers["Content-Type"] == "application/x-ndjson"
    assert "value" not in answer.lines[1]


def test_a_watch_goes_on_in_lines_after_a_packed_snapshot(stand: Stand) -> None:
    """Blocks are for many records at once; a watch without a snapshot has none."""
    with Stream(stand.socket, target("watch", prefix="/", snapshot=True), {"Accept": PACKED}) as stream:
        assert stream.headers["Content-Type"] == PACKED
        body = b""
        chunks = stream.chunks()
        while b'"end"' not in body:
            body += next(chunks)
        assert unpacked(body)[-1]["end"]
        revision = stand.write((b"/new", b"1"))
        told = json.loads(next(chunks))
        assert (told["revision"], told["events"][0]["kv"]["key"]) == (revision, "/new")
    with Stream(stand.socket, target("watch", prefix="/"), {"Accept": PACKED}) as stream:
        assert stream.headers["Content-Type"] == "application/x-ndjson"
