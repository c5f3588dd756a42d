"""What a watch stream tells: etcd's WatchResponses, in its order of fields, one a line. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from http import HTTPStatus

import orjson

from syncd.records import Batch, Event
from syncd.serve.encode import Selection
from syncd.serve.v3.errors import EtcdError
from syncd.serve.v3.messages import base64, key_value_json

DOCUMENT_BYTES = 3 << 19
"""Of events are gathered before they are sent: 1.5 MiB, by which etcd, too, cuts what may be fragmented."""

INVALID_ID = -1
"""The watch_id of a watch that was refused, and of the answer to a progress request."""

Header = Mapping[str, str]


def result(header: Header, watch_id: int = 0, **fields: object) -> bytes:
    """A document without events."""
    return orjson.dumps({"result": _fields(header, watch_id) | fields}, option=orjson.OPT_APPEND_NEWLINE)


def compacted(header: Header, watch_id: int, revision: int) -> bytes:
    """The watch is over: `revision` is the oldest one to start another from.

    As in etcd the header has no revision: nobody shall resume from that.
    """
    header = {name: value for name, value in header.items() if name != "revision"}
    return result(header, watch_id, canceled=True, compact_revision=str(revision))


def refused(header: Header, error: EtcdError) -> bytes:
    """A watch was created and cancelled at once, as etcd does it."""
    code = "".join(word.title() for word in error.code.name.split("_"))
    return reasoned(header, f"rpc error: code = {code} desc = {error.message}")


def reasoned(header: Header, reason: str) -> bytes:
    """The same, in words that have no code."""
    return result(header, INVALID_ID, created=True, canceled=True, cancel_reason=reason)


def failure(error: EtcdError) -> bytes:
    """The end of the stream: the shape of 3.5.1, which clients look into, and what 3.5.16 makes of it."""
    told = {
        "code": int(error.code),
        "grpc_code": int(error.code),
        "http_code": error.status,
        "message": error.message,
        "http_status": HTTPStatus(error.status).phrase,
    }
    return orjson.dumps({"error": told}, option=orjson.OPT_APPEND_NEWLINE)


def events(_: Batch, chunks: Iterable[Sequence[Event]], selection: Selection) -> Iterator[bytes]:
    """The events that a watch wants of a batch, a piece for each chunk, some of them perhaps empty."""
    for chunk in chunks:
        yield b",".join([_event(event, selection) for event in selection.of(chunk)])


class Events:
    """One document with events, or several if it is large and may be fragmented, made of pieces."""

    def __init__(self, header: Header, watch_id: int, *, fragment: bool) -> None:
        self._fields = _fields(header, watch_id)
        self._fragment = fragment
        self._begun = False
        self._held: list[bytes] = []
        self._size = 0

    def add(self, piece: bytes) -> list[bytes]:
        """What to send before `piece` is taken in: mostly nothing."""
        out: list[bytes] = []
        if self._held and self._size + len(piece) > DOCUMENT_BYTES:
            out = self._out(last=False)
        self._held.append(piece)
        self._size += len(piece)
        return out

    def end(self) -> list[bytes]:
        """What is left to send; nothing when there were no events."""
        return self._out(last=True) if self._held else []

    def _out(self, *, last: bool) -> list[bytes]:
        """The pieces themselves, which many watches share, and what stands between them."""
        first, *others = self._held
        self._held, self._size = [], 0
        begun, self._begun = self._begun, not self._fragment
        more = {"fragment": True} if self._fragment and not last else {}
        head = b"," if begun else b'{"result":%b,"events":[' % orjson.dumps(self._fields | more)[:-1]
        out = [head, first]
        for piece in others:
            out += b",", piece
        if last or self._fragment:
            out.append(b"]}}\n")
        return out


def _fields(header: Header, watch_id: int) -> dict[str, object]:
    return {"header": header} | ({"watch_id": str(watch_id)} if watch_id else {})


def _event(event: Event, selection: Selection) -> bytes:
    if event.deleted:
        fields = b'{"type":"DELETE","kv":{"key":"%b","mod_revision":"%d"}' % (
            base64(event.kv.key),
            event.kv.mod_revision,
        )
    else:
        fields = b'{"kv":%b' % key_value_json(event.kv)
    if selection.prev_kv and event.prev is not None:
        fields += b',"prev_kv":%b' % key_value_json(event.prev)
    return fields + b"}"
