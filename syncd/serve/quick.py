"""Single reads, answered straight from the bytes of the request.

`GET /v1/value?key=…` and `/v3/kv/range` of one key are what programs ask again and again, and all that they
need is in memory, but for where etcd is, if the read is linearizable. aiohttp's way through parser, router,
task and response takes five times as long as the answer itself, so what is asked in the plainest form is
answered before aiohttp sees it. All else, and whatever would be a refusal, is left to it: `answer` then says
None, and has changed nothing.
"""

from __future__ import annotations

from typing import NamedTuple
from urllib.parse import unquote_to_bytes

import msgspec
import orjson

from syncd.keyrange import KeyRange
from syncd.serve.access import Rights
from syncd.serve.errors import ApiError
from syncd.serve.freshness import headers
from syncd.serve.reads import etag, record_headers
from syncd.serve.source import Source, Sources
from syncd.serve.stream import CHUNK
from syncd.serve.tcp import is_ours
from syncd.serve.v3.messages import header, key_value
from syncd.serve.v3.upstream import Upstream

MOST = 8 << 10
"""Bytes of a request that is looked at; plain ones have some hundred."""

HEADS = 256
"""Different sets of headers whose meaning is remembered: a program sends the same one each time."""

HARMLESS = {"accept-encoding", "content-type", "user-agent"}
"""Headers that change nothing, whatever they say."""

_VALUE, _HTTP = b"GET /v1/value?key=", b" HTTP/1.1"
_RANGE = {b"POST /v3/kv/range HTTP/1.1", b"POST /v3beta/kv/range HTTP/1.1"}


class _Head(NamedTuple):
    """What the headers of a request say."""

    length: int
    """Bytes of the body."""
    json: bool
    """Whether JSON is wanted."""


class Read(NamedTuple):
    """A linearizable read of one key: `Quick.read` is the answer, when `source` has come as far as etcd."""

    source: Source
    key: bytes


class _Range(msgspec.Struct, forbid_unknown_fields=True):
    """The plainest body of a range request."""

    key: bytes
    serializable: bool = False


_range = msgspec.json.Decoder(_Range)


class Quick:
    """Knows the answers to plain single reads of `sources`."""

    def __init__(self, sources: Sources, upstream: Upstream) -> None:
        self._sources = sources
        self._upstream = upstream
        self._heads: dict[bytes, _Head | None] = {}

    def answer(self, data: bytes, rights: Rights) -> bytes | Read | None:
        """The answer to `data` for somebody with `rights`; None unless it is one whole, plain request."""
        head_end = data.find(b"\r\n\r\n", 0, MOST)
        if head_end < 0:
            return None
        line, _, fields = data[:head_end].partition(b"\r\n")
        head = self._heads.get(fields)
        if head is None and (head := self._judged(fields)) is None:
            return None
        if len(data) != head_end + 4 + head.length:
            return None
        if line in _RANGE:
            return self._range(data[head_end + 4 :], rights)
        if line.startswith(_VALUE) and line.endswith(_HTTP) and not (head.json or head.length):
            return self._value(line[len(_VALUE) : -len(_HTTP)], rights)
        return None

    def _value(self, name: bytes, rights: Rights) -> bytes | None:
        if not name.isascii() or b"&" in name or b" " in name or b"#" in name:
            return None
        key = unquote_to_bytes(name)
        source = self._source(key, rights)
        record = source and source.store.get(key)
        if not source or not record or len(record.value) > CHUNK:
            return None
        fields = headers(source)
        fields["ETag"] = etag(source, record.mod_revision)
        return _response(fields | record_headers(record), b"application/octet-stream", record.value)

    def read(self, read: Read) -> bytes | None:
        """kv/range of one key, from memory; None if it is a large one."""
        source, key = read
        record = source.store.get(key)
        if record and len(record.value) > CHUNK:
            return None
        answer: dict[str, object] = {"header": header(source, self._upstream.member())}
        if record:
            answer |= {"kvs": [key_value(record)], "count": "1"}
        return _response(headers(source), b"application/json", orjson.dumps(answer))

    def _range(self, body: bytes, rights: Rights) -> bytes | Read | None:
        try:
            asked = _range.decode(body)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            return None
        # Each name once, as it must be: one text and one or two names have four or six quotes.
        plain = body.count(b'"') == (6 if b"serializable" in body else 4)
        source = self._source(asked.key, rights) if plain else None
        if not source:
            return None
        read = Read(source, asked.key)
        return self.read(read) if asked.serializable else read

    def _source(self, key: bytes, rights: Rights) -> Source | None:
        keys = KeyRange(key)
        if not key or not rights.allow(keys):
            return None
        try:
            source = self._sources.covering(keys)
        except ApiError:
            return None
        return source if source.store.ready else None

    def _judged(self, fields: bytes) -> _Head | None:
        head = _judge(fields)
        if head is not None:
            if len(self._heads) >= HEADS:
                self._heads.clear()
            self._heads[fields] = head
        return head


def is_whole(data: bytes) -> bool:
    """Whether `data` is exactly one request; one with a body in chunks does not count."""
    head_end = data.find(b"\r\n\r\n")
    if head_end < 0:
        return False
    fields = [field.partition(b":") for field in data[:head_end].lower().split(b"\r\n")[1:]]
    if any(name.strip() == b"transfer-encoding" for name, _, _ in fields):
        return False
    lengths = [value.strip() for name, _, value in fields if name.strip() == b"content-length"]
    length = lengths[0] if len(lengths) == 1 else b"" if lengths else b"0"
    return length.isdigit() and len(length) < 10 and len(data) == head_end + 4 + int(length)


def _judge(fields: bytes) -> _Head | None:
    """What these headers say; None when they say anything that needs thought."""
    told: dict[str, str] = {}
    try:
        lines = fields.decode("ascii").split("\r\n")
    except UnicodeDecodeError:
        return None
    for line in lines:
        name, colon, value = line.partition(":")
        name = name.lower()
        if not colon or name in told or not line.isprintable():
            return None
        told[name] = value.strip()
    length = told.pop("content-length", "0")
    accept = told.pop("accept", "")
    plain = (
        told.keys() - HARMLESS <= {"host", "connection"}
        and is_ours(told.get("host", "?"))
        and told.get("connection", "keep-alive").lower() == "keep-alive"
        and length.isdigit()
        and len(length) < 5
    )
    return _Head(int(length), "application/json" in accept) if plain else None


def _response(fields: dict[str, str], kind: bytes, body: bytes) -> bytes:
    text = "".join([f"{name}: {value}\r\n" for name, value in fields.items()])
    return b"HTTP/1.1 200 OK\r\n%bContent-Type: %b\r\nContent-Length: %d\r\n\r\n%b" % (
        text.encode(),
        kind,
        len(body),
        body,
    )
