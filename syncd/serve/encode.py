"""Records and batches as JSON lines, each encoded once however many readers get it."""

from __future__ import annotations

import sys
from base64 import b64encode
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal
from weakref import WeakKeyDictionary, ref

import msgspec
import orjson

from syncd.keyrange import KeyRange
from syncd.records import Batch, Event, Record
from syncd.store import Block, Resync, View
from syncd.store.blocks import NUMBERS, each

LINES_KEPT = 8 << 20
"""Bytes of batch lines kept: readers that are up to date all want the same few newest ones."""

PIECE_EVENTS = 500
PIECE_BYTES = 1 << 20
"""Events, and bytes of values, encoded at a time: about 1 ms, and little memory for each reader."""


VALUE_BYTES = 48 << 10
"""Of a large value, encoded at a time: a multiple of three, as pieces of base64 follow each other."""

_NO_VALUE = b'"value":""'
"""As it cannot be in a key, whose quotes are escaped."""


def record_json(record: Record) -> bytes:
    """One record as a JSON object; a key or value that is not UTF-8 comes as base64."""
    return orjson.dumps(_fields(record))


def record_line(record: Record, *, keys_only: bool = False) -> bytes:
    """One record as a line."""
    fields = _fields(record)
    if keys_only:
        fields.pop("value", None)
        fields.pop("value_b64", None)
    return orjson.dumps(fields, option=orjson.OPT_APPEND_NEWLINE)


def record_pieces(record: Record) -> Iterator[bytes]:
    """The same as `record_json` in pieces, for a large value: only one of them is held at a time."""
    value = record.value
    head, _, tail = record_json(msgspec.structs.replace(record, value=b"")).partition(_NO_VALUE)
    try:
        value.decode()
    except UnicodeDecodeError:
        yield head + b'"value_b64":"'
        for begin in range(0, len(value), VALUE_BYTES):
            yield b64encode(value[begin : begin + VALUE_BYTES])
    else:
        yield head + b'"value":"'
        begin = 0
        while begin < len(value):
            end = begin + VALUE_BYTES
            while end < len(value) and value[end] & 0xC0 == 0x80:  # in the midst of a character
                end -= 1
            yield orjson.dumps(value[begin:end].decode())[1:-1]
            begin = end
    yield b'"' + tail


def head_line(view: View, count: int, state: str, age_ms: int | None, *, name: str | None = None) -> bytes:
    """The first line of a snapshot; `name` is that of the range, when several follow each other."""
    about = {} if name is None else {"range": name}
    fields = {"revision": view.revision, "epoch": view.epoch, "count": count, "state": state}
    return orjson.dumps(about | fields | {"age_ms": age_ms}, option=orjson.OPT_APPEND_NEWLINE)


def end_line(count: int) -> bytes:
    """The last line of a snapshot, without which it was cut."""
    return orjson.dumps({"end": True, "count": count}, option=orjson.OPT_APPEND_NEWLINE)


class BlockLines:
    """The lines of whole blocks, kept as long as the blocks live or until `forget`."""

    def __init__(self) -> None:
        self._lines: WeakKeyDictionary[Block, bytes] = WeakKeyDictionary()
        self._used = False

    def of(self, block: Block, low: int, high: int) -> Iterator[bytes]:
        """The lines of the records `low` to `high` of `block`, in pieces."""
        self._used = True
        if block.size > PIECE_BYTES:
            for record in each([(block, low, high)]):
                if len(record.value) > VALUE_BYTES:
                    yield from record_pieces(record)
                    yield b"\n"
                else:
                    yield record_line(record)
            return
        lines = self._lines.get(block) if high - low == len(block) else None
        if lines is None:
            lines = _lines(block, low, high)
            if high - low == len(block):
                self._lines[block] = lines
        yield lines

    def forget(self) -> None:
        """Give the memory back if nothing was asked for since the last call."""
        if not self._used:
            self._lines.clear()
        self._used = False


class _Text(msgspec.Struct, gc=False):
    """A record all of whose bytes are UTF-8, as it stands in its line."""

    key: str
    value: str
    create_revision: int
    mod_revision: int
    version: int
    lease: int


_json = msgspec.json.Encoder()
_msgpack = msgspec.msgpack.Encoder()


def _lines(block: Block, low: int, high: int) -> bytes:
    numbers = iter(block.numbers[low * NUMBERS : high * NUMBERS])
    keys, values = map(bytes.decode, block.keys[low:high]), map(bytes.decode, block.values[low:high])
    try:
        # Encoded together, and by their types, they take a fifth of what one after the other does.
        return _json.encode_lines(list(map(_Text, keys, values, *[numbers] * NUMBERS)))
    except UnicodeDecodeError:
        return b"".join(map(record_line, each([(block, low, high)])))


def key_lines(block: Block, low: int, high: int) -> Iterator[bytes]:
    """The lines of the records `low` to `high` of `block`, without their values."""
    yield b"".join(record_line(record, keys_only=True) for record in each([(block, low, high)]))


def packed(block: Block, low: int, high: int) -> Iterator[bytes]:
    """The records `low` to `high` of `block` as packed blocks: of each a line with its length, then itself.

    A packed block is msgpack: keys, values, and create_revision, mod_revision, version and lease of each in
    turn, as 64-bit integers in little-endian order. It is so quick to make that nothing of it is kept.
    """
    step = high - low if block.size <= PIECE_BYTES else 1
    for at in range(low, high, step):
        end = at + step
        numbers = block.numbers[at * NUMBERS : end * NUMBERS]
        if sys.byteorder == "big":
            numbers.byteswap()
        body = _msgpack.encode((block.keys[at:end], block.values[at:end], numbers.tobytes()))
        yield b'{"block":%d}\n' % len(body)
        yield body


@dataclass(frozen=True, slots=True)
class Selection:
    """What a watch wants to see."""

    keys: KeyRange
    prev_kv: bool = False
    only: Literal["put", "delete"] | None = None

    def of(self, events: Sequence[Event]) -> list[Event]:
        """Those of `events` that it wants."""
        keys, only = self.keys, self.only
        return [
            event
            for event in events
            if event.kv.key in keys and (only is None or event.deleted == (only == "delete"))
        ]


class BatchLines:
    """The lines of batches as selected, the newest ones kept; the batches themselves are the history's.

    `encode` makes the pieces of another form of a batch of its events, cut into chunks.
    """

    def __init__(
        self, encode: Callable[[Batch, Iterable[Sequence[Event]], Selection], Iterator[bytes]] | None = None
    ) -> None:
        self._encode = encode or _line
        self._kept: OrderedDict[tuple[int, Selection], tuple[ref[Batch], bytes]] = OrderedDict()
        self._size = 0

    def of(self, batch: Batch, selection: Selection) -> Iterator[bytes]:
        """The line of `batch` in pieces; none when nothing in it was selected.

        A resync is always told, even if nothing is left of it: the reader must know. A large batch is made
        into pieces as they are asked for, about a millisecond each, some of them perhaps empty.
        """
        of, kept = self._kept.get((id(batch), selection), (None, b""))
        if of and of() is batch:  # or another one stood at this address
            if kept:
                yield kept
            return
        if len(batch.events) > PIECE_EVENTS:
            yield from self._encode(batch, _chunks(batch.events), selection)
            return
        chunks = list(_chunks(batch.events))
        if len(chunks) > 1:
            yield from self._encode(batch, chunks, selection)
            return
        line = b"".join(self._encode(batch, chunks, selection))
        self._keep(batch, selection, line)
        if line:
            yield line

    def _keep(self, batch: Batch, selection: Selection, line: bytes) -> None:
        what = (id(batch), selection)
        _, gone = self._kept.pop(what, (None, b""))
        self._kept[what] = (ref(batch), line)
        self._size += len(line) - len(gone)
        while self._size > LINES_KEPT or len(self._kept) > 10_000:
            _, (_, gone) = self._kept.popitem(last=False)
            self._size -= len(gone)


def resync_line(resync: Resync, selection: Selection) -> Iterator[bytes]:
    """The line of a resync in pieces, some of them perhaps empty, made as they are asked for."""
    return _line(resync, resync.chunks, selection)


def _line(batch: Batch | Resync, chunks: Iterable[Sequence[Event]], selection: Selection) -> Iterator[bytes]:
    head = b'{"revision":%d,"events":[' % batch.revision
    resync = isinstance(batch, Resync) or batch.resync
    if resync:
        # The epoch may be a new one: the reader needs it to resume from here.
        yield b'{"revision":%d,"resync":true,"epoch":%b,"events":[' % (
            batch.revision,
            orjson.dumps(batch.epoch),
        )
        head = b""
    begun = resync
    for chunk in chunks:
        piece = b",".join([_event(event, selection) for event in selection.of(chunk)])
        if piece:
            yield head + piece
            head, begun = b",", True
        else:
            yield b""
    if begun:
        yield b"]}\n"


def _chunks(events: Sequence[Event]) -> Iterator[list[Event]]:
    chunk: list[Event] = []
    size = 0
    for event in events:
        chunk.append(event)
        size += len(event.kv.value) + (len(event.prev.value) if event.prev else 0)
        if len(chunk) >= PIECE_EVENTS or size >= PIECE_BYTES:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk


def _event(event: Event, selection: Selection) -> bytes:
    fields: dict[str, object]
    if event.deleted:
        kv = _bytes_field("key", event.kv.key) | {"mod_revision": event.kv.mod_revision}
        fields = {"type": "delete", "kv": kv}
    else:
        fields = {"type": "put", "kv": _fields(event.kv)}
    if selection.prev_kv and event.prev is not None:
        fields["prev_kv"] = _fields(event.prev)
    return orjson.dumps(fields)


def _fields(record: Record) -> dict[str, object]:
    return {
        **_bytes_field("key", record.key),
        **_bytes_field("value", record.value),
        "create_revision": record.create_revision,
        "mod_revision": record.mod_revision,
        "version": record.version,
        "lease": record.lease,
    }


def _bytes_field(name: str, value: bytes) -> dict[str, object]:
    try:
        return {name: value.decode()}
    except UnicodeDecodeError:
        return {f"{name}_b64": b64encode(value).decode()}
