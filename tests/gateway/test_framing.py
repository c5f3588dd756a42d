"""However the bytes of a stream arrive, the documents are the same."""

from __future__ import annotations

import time
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from syncd.gateway.framing import Documents, DocumentTooLong

lines = st.lists(st.binary(max_size=20).map(lambda b: b.replace(b"\n", b" ")), max_size=8)


def chunks(stream: bytes, cuts: list[int]) -> list[bytes]:
    """`stream` cut at `cuts`, wherever they fall."""
    places = sorted({0, len(stream), *(cut % (len(stream) + 1) for cut in cuts)})
    return [stream[a:b] for a, b in pairwise(places)]


@given(lines, st.binary(max_size=10).map(lambda b: b.replace(b"\n", b"")), st.lists(st.integers(0, 300)))
@settings(max_examples=300, deadline=None)
def test_any_chunking_gives_the_same_documents(parts: list[bytes], rest: bytes, cuts: list[int]) -> None:
    """Blank lines are none, and what has no newline is there at the end."""
    documents = Documents()
    found = []
    for chunk in chunks(b"".join(part + b"\n" for part in parts) + rest, cuts):
        found += documents.feed(chunk)
    assert found == [part.strip() for part in parts if part.strip()]
    assert documents.end() == rest.strip()
    assert documents.end() == b""


@given(st.lists(st.integers(0, 14), max_size=6), st.lists(st.integers(0, 100)), st.lists(st.integers(0, 100)))
def test_any_chunking_meets_the_limit_at_the_same_document(
    sizes: list[int], cuts: list[int], others: list[int]
) -> None:
    """As long as no chunk is longer than a document may be: the same documents, then the same error."""

    def found(cuts: list[int]) -> list[bytes | str]:
        stream = b"".join(b"x" * size + b"\n" for size in sizes)
        documents, seen = Documents(limit=10), []
        try:
            for chunk in chunks(stream, [*cuts, *range(0, len(stream), 10)]):
                seen.extend(documents.feed(chunk))
        except DocumentTooLong as error:
            return [*seen, str(error)]
        return [*seen, documents.end()]

    assert found(cuts) == found(others)


def test_a_newline_in_a_chunk_of_its_own_ends_the_document() -> None:
    """etcd sends it so; and the next document may come in the same chunk."""
    documents = Documents()
    assert documents.feed(b'{"result":1}') == []
    assert documents.feed(b"\n") == [b'{"result":1}']
    assert documents.feed(b"\r\n\n{}\n{") == [b"{}"]
    assert documents.feed(b"") == []
    assert documents.end() == b"{"


@pytest.mark.parametrize("size", [1, 3, 7, 1000])
def test_the_limit_holds_in_one_chunk_and_in_many(size: int) -> None:
    """A document of exactly the limit passes, one byte more does not, ended or not."""
    good, bad = b"x" * 100 + b"\n", b"x" * 101 + b"\n"

    def feed(stream: bytes) -> list[bytes]:
        documents = Documents(limit=100)
        return [d for i in range(0, len(stream), size) for d in documents.feed(stream[i : i + size])]

    assert feed(good * 3) == [b"x" * 100] * 3
    for stream in (bad, good + bad, bad[:-1], bad + good):
        with pytest.raises(DocumentTooLong, match="longer than 100 bytes"):
            feed(stream)


def test_many_documents_past_the_limit_together_pass() -> None:
    """The limit is for one document, not for a chunk."""
    assert len(Documents(limit=10).feed(b"123456789\n" * 50)) == 50


def seconds(size: int) -> float:
    """The processor time that a document of `size` bytes takes in chunks of 1 KiB, best of three."""

    def once() -> float:
        documents = Documents()
        chunk = b"x" * 1024
        begin = time.process_time()
        for _ in range(size // len(chunk)):
            documents.feed(chunk)
        assert len(documents.feed(b"\n")[0]) == size
        return time.process_time() - begin

    return min(once() for _ in range(3))


def test_no_byte_is_searched_twice() -> None:
    """Sixteen times the bytes take some sixteen times as long; searching again would take 256 times."""
    assert seconds(16 << 20) < 80 * max(seconds(1 << 20), 1e-4)
