"""Snapshots and watches as dialogues: `>>` lines that came, and the messages made of them."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncd.client.errors import AnswerError, ClosingError, CutError, OverloadedError, ProtocolError
from syncd.client.lines import (
    Bookmark,
    Progress,
    SnapshotEnd,
    SnapshotHead,
    SnapshotLines,
    WatchLines,
)
from syncd.records import Batch, Event, Record

HEAD = b'{"revision":7,"epoch":"e1","count":1,"state":"live","age_ms":3}'
RECORD = b'{"key":"/a","value":"x","create_revision":5,"mod_revision":7,"version":2,"lease":9}'
END = b'{"end":true,"count":1}'
A = Record(b"/a", b"x", 5, 7, 2, 9)


def test_a_snapshot_is_head_records_end() -> None:
    """The whole dialogue of a snapshot."""
    reader = SnapshotLines()
    assert reader.receive(HEAD) == SnapshotHead(7, "e1", 1, "live", 3)
    assert reader.receive(RECORD) == A
    assert reader.receive(END) == SnapshotEnd(1)
    reader.finish()


def test_keys_and_values_that_are_not_text_come_in_base64() -> None:
    """`key_b64` and `value_b64` stand for any bytes."""
    reader = SnapshotLines()
    reader.receive(HEAD)
    line = b'{"key_b64":"/w==","value_b64":"AP8=","create_revision":1,"mod_revision":1,"version":1,"lease":0}'
    assert reader.receive(line) == Record(b"\xff", b"\0\xff", 1, 1, 1, 0)


def test_a_snapshot_of_keys_only_has_records_without_values() -> None:
    """What was left out reads as empty."""
    reader = SnapshotLines()
    reader.receive(HEAD)
    assert reader.receive(b'{"key":"/a","mod_revision":7}') == Record(b"/a", mod_revision=7)


@pytest.mark.parametrize(
    "lines",
    [[], [HEAD], [HEAD, RECORD]],
    ids=["before its head", "before its records", "before its end"],
)
def test_a_snapshot_that_breaks_off_is_noticed(lines: list[bytes]) -> None:
    """Only the end line makes a snapshot whole."""
    reader = SnapshotLines()
    for line in lines:
        reader.receive(line)
    with pytest.raises(CutError):
        reader.finish()


@pytest.mark.parametrize(
    ("lines", "error"),
    [
        ([HEAD, END], CutError),
        ([HEAD, RECORD, RECORD, END], CutError),
        ([HEAD, RECORD, b'{"end":true,"count":2}'], CutError),
        ([HEAD, RECORD, END, RECORD], ProtocolError),
        ([RECORD], ProtocolError),
        ([b"<html>"], ProtocolError),
        ([b'{"revision":"7"}'], ProtocolError),
        ([b"\xff"], ProtocolError),
        ([b'{"x":' + b"[" * 10_000], ProtocolError),
        ([HEAD, b'{"error":{"code":"overloaded","message":"too slow"}}'], OverloadedError),
    ],
)
def test_a_snapshot_with_a_wrong_line_is_refused(lines: list[bytes], error: type[Exception]) -> None:
    """Wrong counts, lines after the end or before the head, and other JSON are errors."""
    reader = SnapshotLines()
    for line in lines[:-1]:
        reader.receive(line)
    with pytest.raises(error):
        reader.receive(lines[-1])


def test_a_watch_gives_batches_and_progress_and_knows_where_to_resume() -> None:
    """The dialogue of a watch from now on."""
    reader = WatchLines(Bookmark(7, "e1"))
    put = b'{"revision":8,"events":[{"type":"put","kv":%s,"prev_kv":%s}]}' % (RECORD, RECORD)
    batch = reader.receive(put)
    assert isinstance(batch, Batch)
    assert (batch.revision, batch.epoch, batch.resync) == (8, "e1", False)
    assert batch.events == (Event(A, deleted=False, prev=A),)
    delete = reader.receive(b'{"revision":9,"events":[{"type":"delete","kv":{"key":"/a","mod_revision":9}}]}')
    assert isinstance(delete, Batch)
    assert delete.events == (Event(Record(b"/a", mod_revision=9), deleted=True),)
    assert reader.bookmark == Bookmark(9, "e1")
    progress = reader.receive(b'{"revision":12,"progress":true,"state":"live","age_ms":12}')
    assert progress == Progress(12, "e1", "live", 12)
    assert reader.bookmark == Bookmark(12, "e1")


def test_a_resync_carries_a_new_epoch() -> None:
    """After a gap, revisions may belong to another epoch, even lower ones."""
    reader = WatchLines(Bookmark(70, "e1"))
    batch = reader.receive(b'{"revision":3,"resync":true,"epoch":"e2","events":[]}')
    assert isinstance(batch, Batch)
    assert (batch.resync, batch.epoch, batch.events) == (True, "e2", ())
    assert reader.bookmark == Bookmark(3, "e2")


def test_a_watch_can_begin_with_a_snapshot() -> None:
    """There is nothing to resume until the snapshot is whole."""
    reader = WatchLines(None)
    assert isinstance(reader.receive(HEAD), SnapshotHead)
    assert reader.receive(RECORD) == A
    assert reader.bookmark is None
    assert reader.receive(END) == SnapshotEnd(1)
    assert reader.bookmark == Bookmark(7, "e1")
    assert reader.receive(b'{"revision":8,"progress":true}') == Progress(8, "e1")


def test_a_watch_that_ends_in_good_order_was_closed() -> None:
    """With or without a farewell, the daemon meant to end it; what is cut never comes here."""
    with pytest.raises(ClosingError):
        WatchLines(Bookmark(7, "e1")).finish()


@pytest.mark.parametrize(
    ("line", "error"),
    [
        (b'{"error":{"code":"closing","message":"the daemon stops"}}', ClosingError),
        (b'{"error":{"code":"sulking","message":"why not"}}', AnswerError),
        (b'{"revision":8}', ProtocolError),
        (b"[]", ProtocolError),
        (b"", ProtocolError),
        (b'{"x":' + b"[" * 10_000, ProtocolError),
    ],
)
def test_a_watch_with_a_wrong_or_last_line_raises(line: bytes, error: type[Exception]) -> None:
    """The farewell, and lines that are none of the contract's."""
    with pytest.raises(error):
        WatchLines(Bookmark(7, "e1")).receive(line)


@given(st.binary(), st.binary())
def test_any_bytes_survive_the_way_through_json(key: bytes, value: bytes) -> None:
    """A record is the same after it was text, whether its bytes are UTF-8 or not."""
    from base64 import b64encode

    def field(name: str, content: bytes) -> dict[str, str]:
        try:
            return {name: content.decode()}
        except UnicodeDecodeError:
            return {f"{name}_b64": b64encode(content).decode()}

    reader = SnapshotLines()
    reader.receive(HEAD)
    line = json.dumps({**field("key", key), **field("value", value), "mod_revision": 3}).encode()
    assert reader.receive(line) == Record(key, value, mod_revision=3)
