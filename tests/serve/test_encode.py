"""Records and batches as lines."""

import gc
import json
import weakref
from base64 import b64decode
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncd.keyrange import KeyRange, prefix_range
from syncd.records import Batch, Event, Record
from syncd.serve import encode
from syncd.serve.encode import (
    PIECE_BYTES,
    PIECE_EVENTS,
    VALUE_BYTES,
    BatchLines,
    BlockLines,
    Selection,
    record_json,
    record_line,
    record_pieces,
    resync_line,
)
from syncd.store import Block, Resync
from tests.serve.local import record_bytes

EVERYTHING = Selection(prefix_range(b""))

records = st.builds(
    Record,
    st.binary(min_size=1, max_size=20),
    st.binary(max_size=20),
    *[st.integers(0, 2**63 - 1)] * 3,
    st.integers(-(2**63), 2**63 - 1),
)


def put(key: bytes, value: bytes = b"v", prev: Record | None = None) -> Event:
    """A put at revision 7."""
    return Event(Record(key, value, 7, 7, 1), prev=prev)


def delete(key: bytes, prev: Record | None = None) -> Event:
    """A deletion at revision 7."""
    return Event(Record(key, mod_revision=7), deleted=True, prev=prev)


def batch(*events: Event, resync: bool = False) -> Batch:
    """What revision 7 changed."""
    return Batch(7, events, "e", resync=resync)


def lines(batch: Batch, selection: Selection = EVERYTHING) -> list[dict[str, Any]]:
    """What a reader with `selection` gets of `batch`, the first time and when it is kept."""
    cache = BatchLines()
    first, again = (b"".join(cache.of(batch, selection)) for _ in range(2))
    assert first == again
    return [json.loads(line) for line in first.splitlines()]


@given(records)
def test_a_record_comes_back(record: Record) -> None:
    """Every byte of keys and values, and every integer of 64 bits, survives JSON."""
    fields = json.loads(record_line(record))
    assert json.loads(record_json(record)) == fields
    assert record_bytes(fields, "key") == record.key
    assert record_bytes(fields, "value") == record.value
    numbers = ("create_revision", "mod_revision", "version", "lease")
    assert [fields[name] for name in numbers] == [getattr(record, name) for name in numbers]
    assert len(fields) == 6


def test_what_is_not_utf8_comes_as_base64() -> None:
    """Keys and values take their form independently; a lone surrogate's bytes are not UTF-8."""
    assert json.loads(record_line(Record(b"/\xff", b"\xe2\x82\xac"))) == {
        "key_b64": "L/8=",
        "value": "€",
        "create_revision": 0,
        "mod_revision": 0,
        "version": 0,
        "lease": 0,
    }
    fields = json.loads(record_line(Record(b"/a", b"\xed\xa0\x80")))
    assert fields["key"] == "/a"
    assert b64decode(fields["value_b64"]) == b"\xed\xa0\x80"


def test_keys_only() -> None:
    """Without values, in whichever form they would come, but with all revisions."""
    for value in (b"text", b"\xff"):
        fields = json.loads(record_line(Record(b"/a", value, 1, 2, 3, 4), keys_only=True))
        assert fields == {"key": "/a", "create_revision": 1, "mod_revision": 2, "version": 3, "lease": 4}


@given(st.lists(records, min_size=1, max_size=10, unique_by=lambda r: r.key), st.data())
def test_lines_of_a_block(records: list[Record], data: st.DataObject) -> None:
    """Kept or not, whole or in part, a block's lines are its records' lines."""
    records.sort(key=lambda record: record.key)
    block = Block.of([r for r in records if r.lease >= -(2**63)])
    blocks = BlockLines()
    low = data.draw(st.integers(0, len(block) - 1))
    high = data.draw(st.integers(low + 1, len(block)))
    for _ in range(2):
        assert b"".join(blocks.of(block, 0, len(block))) == b"".join(map(record_line, records))
        assert b"".join(blocks.of(block, low, high)) == b"".join(map(record_line, records[low:high]))
    blocks.forget()
    blocks.forget()
    assert b"".join(blocks.of(block, 0, len(block))) == b"".join(map(record_line, records))


def test_block_lines_are_kept_while_they_are_used() -> None:
    """The second reader gets the same bytes; they go when a while passes without one, or with the block."""
    block, lines = Block.of([Record(b"/a"), Record(b"/b")]), BlockLines()
    [first] = lines.of(block, 0, 2)
    lines.forget()
    [second] = lines.of(block, 0, 2)
    assert second is first
    lines.forget()
    lines.forget()
    [third] = lines.of(block, 0, 2)
    assert third is not first
    gone = weakref.ref(block)
    del block
    gc.collect()
    assert gone() is None


def test_a_block_of_large_values_comes_in_pieces() -> None:
    """So that a slow reader holds a part of one value, not a block of them; and nothing of it is kept."""
    records = [Record(b"/%d" % number, b"x" * PIECE_BYTES) for number in range(3)]
    pieces = [*BlockLines().of(Block.of(records), 0, 3)]
    assert b"".join(pieces) == b"".join(record_line(record) for record in records)
    assert max(map(len, pieces)) <= 2 * VALUE_BYTES


def test_a_batch_of_large_values_comes_in_pieces() -> None:
    """Together they are the same line."""
    events = tuple(Event(Record(b"/%d" % number, b"x" * PIECE_BYTES, 1, 1, 1)) for number in range(3))
    pieces = [*BatchLines().of(Batch(1, events, "e"), Selection(prefix_range(b"/")))]
    assert len(pieces) == 4
    assert [event["kv"]["key"] for event in orjson.loads(b"".join(pieces))["events"]] == ["/0", "/1", "/2"]


def test_a_resync_made_bit_by_bit_is_the_line_of_the_batch_that_it_is() -> None:
    """Whether the store makes it at once or the reader is sent it in pieces."""
    events = [Event(Record(b"/a", b"1", 1, 1, 1)), Event(Record(b"/b", mod_revision=2), deleted=True)]
    selection = Selection(prefix_range(b"/"))
    pieces = resync_line(Resync(2, "e", iter([[event] for event in events])), selection)
    whole = BatchLines().of(Batch(2, tuple(events), "e", resync=True), selection)
    assert b"".join(pieces) == b"".join(whole)


def test_puts_and_deletes() -> None:
    """A put carries its record, a deletion key and revision, both the record before if asked for."""
    prev = Record(b"/a", b"old", 3, 4, 2, 5)
    kv = {"key": "/a", "value": "v", "create_revision": 7, "mod_revision": 7, "version": 1, "lease": 0}
    before = {"key": "/a", "value": "old", "create_revision": 3, "mod_revision": 4, "version": 2, "lease": 5}
    gone = {"key": "/a", "mod_revision": 7}
    with_prev = Selection(prefix_range(b""), prev_kv=True)
    assert lines(batch(put(b"/a", prev=prev))) == [{"revision": 7, "events": [{"type": "put", "kv": kv}]}]
    assert lines(batch(put(b"/a", prev=prev)), with_prev)[0]["events"] == [
        {"type": "put", "kv": kv, "prev_kv": before}
    ]
    assert lines(batch(put(b"/a")), with_prev)[0]["events"] == [{"type": "put", "kv": kv}]
    assert lines(batch(delete(b"/a", prev)))[0]["events"] == [{"type": "delete", "kv": gone}]
    assert lines(batch(delete(b"/a", prev)), with_prev)[0]["events"] == [
        {"type": "delete", "kv": gone, "prev_kv": before}
    ]
    assert lines(batch(delete(b"/\xff")))[0]["events"][0]["kv"] == {"key_b64": "L/8=", "mod_revision": 7}


@pytest.mark.parametrize(
    ("selection", "selected"),
    [
        (EVERYTHING, ["put /a/1", "delete /a/2", "put /b"]),
        (Selection(prefix_range(b"/a")), ["put /a/1", "delete /a/2"]),
        (Selection(KeyRange(b"/b")), ["put /b"]),
        (Selection(KeyRange(b"/a")), []),
        (Selection(prefix_range(b""), only="put"), ["put /a/1", "put /b"]),
        (Selection(prefix_range(b"/"), only="delete"), ["delete /a/2"]),
        (Selection(prefix_range(b"/b"), only="delete"), []),
    ],
)
def test_selection(selection: Selection, selected: list[str]) -> None:
    """A prefix, a key, only puts or only deletes; a batch of which nothing is left is no line."""
    got = lines(batch(put(b"/a/1"), delete(b"/a/2"), put(b"/b")), selection)
    assert [f"{e['type']} {e['kv']['key']}" for line in got for e in line["events"]] == selected
    assert len(got) == bool(selected)


def test_a_resync_is_always_told() -> None:
    """Also when nothing in it was asked for, and with the epoch, which may be a new one."""
    told = {"revision": 7, "resync": True, "epoch": "e", "events": []}
    assert lines(batch(resync=True)) == [told]
    assert lines(batch(put(b"/b"), resync=True), Selection(KeyRange(b"/a"))) == [told]
    assert lines(batch()) == []


@pytest.mark.parametrize("count", [1, PIECE_EVENTS, PIECE_EVENTS + 1, 3 * PIECE_EVENTS, 1777])
@pytest.mark.parametrize("resync", [False, True])
def test_pieces_make_one_line(count: int, resync: bool) -> None:
    """However many events a batch has, it is one line of valid JSON, with each event once and in order."""
    keys = [b"/%05d" % i for i in range(count)]
    [line] = lines(batch(*map(put, keys), resync=resync))
    assert [event["kv"]["key"].encode() for event in line["events"]] == keys


def test_batch_lines_are_kept_within_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """The newest lines are kept, as many as fit; a line that doesn't fit at all is told all the same."""
    monkeypatch.setattr(encode, "LINES_KEPT", 10_000)
    cache = BatchLines()
    batches = [batch(put(b"/%d" % i, b"x" * 900)) for i in range(100)]
    for each in [*batches, batch(put(b"/", b"x" * 20_000)), *batches[:2]]:
        assert json.loads(b"".join(cache.of(each, EVERYTHING)))["revision"] == 7
        assert cache._size <= 10_000
        assert cache._size == sum(len(line) for _, line in cache._kept.values())


def test_lines_do_not_keep_batches() -> None:
    """What the history lets go of is gone: neither a kept line nor the note that there is none holds it."""
    cache = BatchLines()
    nothing = Selection(KeyRange(b"/other"))
    events = batch(put(b"/a", b"x" * 1_000_000, prev=Record(b"/a", b"x" * 1_000_000)))
    assert list(cache.of(events, nothing)) == []
    assert len(b"".join(cache.of(events, Selection(KeyRange(b"/a"))))) > 1_000_000
    gone = weakref.ref(events)
    del events
    assert gone() is None


def test_a_new_batch_is_not_taken_for_a_dead_one() -> None:
    """Batches that come and go at the same address in memory have lines of their own."""
    cache = BatchLines()
    for i in range(1000):
        [line] = cache.of(batch(put(b"/%d" % i)), EVERYTHING)
        assert json.loads(line)["events"][0]["kv"]["key"] == f"/{i}"


@pytest.mark.parametrize("text", ["x", "\0", "é", "€", "😀", 'a"value":""\\\n', "\x80".encode("latin-1")])
@pytest.mark.parametrize("more", [0, 1, 2, 3])
def test_a_large_record(text: str | bytes, more: int) -> None:
    """It is the same in pieces, none of which is large, wherever characters are cut."""
    part = text if isinstance(text, bytes) else text.encode()
    value = b"y" * more + part * (3 * VALUE_BYTES // len(part))
    record = Record(b'/"value":""', value, 3, 4, 5, 6)
    pieces = list(record_pieces(record))
    assert b"".join(pieces) == record_json(record)
    assert max(map(len, pieces)) <= 6 * VALUE_BYTES
