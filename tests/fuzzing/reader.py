"""The reader's side of the local API: whatever stands behind the socket, it raises ClientErrors only."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from unittest.mock import patch

from syncd.client import answers, http11, status
from syncd.client.errors import ClientError, remedy
from syncd.client.http11 import Head, ResponseReader
from syncd.client.lines import Bookmark, LineReader, SnapshotLines, WatchLines
from syncd.client.packed import Splitter
from tests.fuzzing.inputs import cuttings, linear_time

MAX_HEAD = 512
"""Small, so that inputs reach it."""

Raised = tuple[type[ClientError], str] | None


def http(data: bytes) -> None:
    """Any bytes as an answer over HTTP: any cutting gives the same head, body or error."""
    with patch.object(http11, "MAX_HEAD", MAX_HEAD), linear_time(data):
        first, *others = (_answer(pieces) for pieces in cuttings(data, len(data) or 1))
    for other in others:
        assert other == first
    head, body, raised = first
    if head is not None and raised is None:
        for understand in (
            lambda: answers.freshness(head),
            lambda: answers.value(b"/key", head, body),
            lambda: status.decode_status(body),
        ):
            with suppress(ClientError):
                understand()
        answers.refusal(head, body)


def _answer(pieces: Sequence[bytes]) -> tuple[Head | None, bytes, Raised]:
    """The head, the body, and the error; when there is one, how much of the body came before is left open."""
    reader = ResponseReader()
    body = []
    try:
        for piece in [*pieces, b""]:
            body.append(reader.feed(piece))
            assert len(reader._buffer) <= max(MAX_HEAD, http11.MAX_LINE)
    except ClientError as error:
        return reader.head, b"", _raised(error)
    return reader.head, b"".join(body), None


def _raised(error: ClientError) -> Raised:
    str(error).encode()
    assert remedy(error)
    return type(error), str(error)


READERS: tuple[Callable[[], LineReader[object]], ...] = (
    SnapshotLines,
    lambda: WatchLines(None),
    lambda: WatchLines(Bookmark(7, "e1")),
)


def lines(data: bytes) -> None:
    """Any bytes as the body of a snapshot or watch: any cutting gives the same messages and error."""
    with linear_time(data):
        for reader in READERS:
            first, *others = (_messages(reader(), pieces) for pieces in cuttings(data, len(data) or 1))
            for other in others:
                assert other == first


def _messages(reader: LineReader[object], pieces: Sequence[bytes]) -> tuple[list[str], Raised]:
    """The messages, written out (a batch is equal only to itself), and the error."""
    splitter = Splitter()
    messages = []
    try:
        for piece in pieces:
            for line in splitter.feed(piece):
                messages.append(repr(reader.receive(line)))  # noqa: PERF401 - what came before the error counts
        for line in splitter.finish():
            messages.append(repr(reader.receive(line)))  # noqa: PERF401
        reader.finish()
    except ClientError as error:
        return messages, _raised(error)
    return messages, None
