"""What a client asks for on a watch stream: JSON documents in a body that goes on, and what they say. Pure.

grpc-gateway takes one document after the other, with or without anything between them, and chunks may cut
them anywhere.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from enum import IntEnum
from typing import Annotated

import msgspec

from syncd.serve.v3.errors import Code, EtcdError
from syncd.serve.v3.messages import decode

LIMIT = 64 << 10
"""Bytes of one document: a create_request is two keys and some numbers."""

_MARK = re.compile(rb'["\\{}\[\]]')
_SPACE = re.compile(rb"[ \t\r\n]*")


class FilterType(IntEnum):
    """Events that are not wanted."""

    NOPUT = 0
    NODELETE = 1


class CreateRequest(msgspec.Struct, frozen=True):
    """A watch is wanted; fields are those of etcd's WatchCreateRequest."""

    key: bytes = b""
    range_end: bytes = b""
    start_revision: int = 0
    progress_notify: bool = False
    filters: tuple[Annotated[int, FilterType], ...] = ()
    prev_kv: bool = False
    watch_id: int = 0
    fragment: bool = False


class CancelRequest(msgspec.Struct, frozen=True):
    """One is wanted no more."""

    watch_id: int = 0


class ProgressRequest(msgspec.Struct, frozen=True):
    """How far are they?"""


class WatchRequest(msgspec.Struct, frozen=True):
    """One of three, or nothing at all."""

    create_request: CreateRequest | None = None
    cancel_request: CancelRequest | None = None
    progress_request: ProgressRequest | None = None


def watch_request(document: bytes) -> WatchRequest:
    """What `document` asks for, or EtcdError."""
    return decode(WatchRequest, document)


class Documents:
    """Bytes in, complete JSON objects out, each byte looked at once."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._searched = 0
        self._depth = 0
        self._text = False

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        """The documents that `chunk` completes; EtcdError where one is too long, or no object at all.

        All of them must be taken before the next chunk is fed.
        """
        buffer = self._buffer
        buffer += chunk
        start = 0
        while (start := self._begin(start)) < len(buffer):
            complete = self._complete()
            if (self._searched if complete else len(buffer)) - start > LIMIT:
                raise EtcdError(Code.RESOURCE_EXHAUSTED, f"syncd: a request of more than {LIMIT} bytes")
            if not complete:
                break
            yield bytes(buffer[start : self._searched])
            start = self._searched
        del buffer[:start]
        self._searched -= start

    def end(self) -> None:
        """Nothing more comes; EtcdError when it ended within a document."""
        if self._depth:
            raise EtcdError(Code.INVALID_ARGUMENT, "proto: unexpected EOF")

    def _begin(self, start: int) -> int:
        """Where the document begins that is the next from `start` on, or has begun there."""
        if self._depth:
            return start
        found = _SPACE.match(self._buffer, start)
        self._searched = start = found.end() if found else start
        token = bytes(self._buffer[start : start + 1])
        if token not in (b"", b"{"):
            told = token.decode(errors="replace")
            raise EtcdError(Code.INVALID_ARGUMENT, f"proto: syntax error: unexpected token {told}")
        return start

    def _complete(self) -> bool:
        """Search on; whether the document comes to its end."""
        while found := _MARK.search(self._buffer, self._searched):
            self._searched = found.end()
            mark = found[0]
            if mark == b"\\":
                self._searched += self._text  # in a text, what follows is no mark; it may be yet to come
            elif mark == b'"':
                self._text = not self._text
            elif not self._text:
                self._depth += 1 if mark in b"{[" else -1
                if not self._depth:
                    return True
        self._searched = max(self._searched, len(self._buffer))
        return False
