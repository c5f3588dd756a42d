"""The documents of a watch stream, however its bytes come."""

from __future__ import annotations

import json
from contextlib import suppress
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncd.serve.v3.errors import Code, EtcdError
from syncd.serve.v3.requests import LIMIT, Documents, watch_request

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
objects = st.dictionaries(st.text(), values, max_size=4)


@given(
    st.lists(st.tuples(objects, st.sampled_from([b"", b"\n", b" \t\r\n"]), st.booleans()), max_size=6),
    st.lists(st.integers(0, 400), max_size=20),
)
def test_any_chunks(wanted: list[tuple[dict[str, object], bytes, bool]], cuts: list[int]) -> None:
    """Documents that follow each other with or without space come out whole, wherever they are cut."""
    body = b"".join(json.dumps(value, ensure_ascii=plain).encode() + space for value, space, plain in wanted)
    edges = sorted({min(cut, len(body)) for cut in cuts} | {0, len(body)})
    documents, found = Documents(), []
    for start, stop in pairwise(edges):
        found += [json.loads(document) for document in documents.feed(body[start:stop])]
    documents.end()
    assert found == [value for value, _, _ in wanted]


@given(st.binary())
def test_any_bytes(body: bytes) -> None:
    """Whatever comes is understood or refused."""
    documents = Documents()
    with suppress(EtcdError):
        for document in documents.feed(body):
            watch_request(document)
        documents.end()


@pytest.mark.parametrize("body", [b"{", b'{"a":"}', b'{"a":"\\"}', b'{"a":[}', b'{"a":"\\'])
def test_cut(body: bytes) -> None:
    """A body that ends within a document is refused."""
    documents = Documents()
    assert list(documents.feed(b"{}" + body)) == [b"{}"]
    with pytest.raises(EtcdError, match="unexpected EOF"):
        documents.end()


@pytest.mark.parametrize("body", [b"[]", b"null", b"5", b"x", b"}", b",{}", b"\xff", b"\0"])
def test_something_else(body: bytes) -> None:
    """Only objects are requests; those before it are found."""
    documents = Documents()
    found = documents.feed(b'{"a":1} ' + body)
    assert next(found) == b'{"a":1}'
    with pytest.raises(EtcdError, match="unexpected token"):
        next(found)


def test_too_long() -> None:
    """One that doesn't end is given up; many short ones in a piece are as welcome as ever."""
    documents = Documents()
    assert len(list(documents.feed(b'{"progress_request":{}}' * 10_000))) == 10_000
    long = b'{"a":"%b"}' % (b"x" * (LIMIT - 8))
    assert list(documents.feed(long)) == [long]
    for piece in (long[:-2] + b'x"}', long + b" " + long[:-2] + b"xxx"):
        documents = Documents()
        with pytest.raises(EtcdError, match="more than") as raised:
            list(documents.feed(piece))
        assert raised.value.code == Code.RESOURCE_EXHAUSTED


def test_one_thing_at_a_time() -> None:
    """As etcd has it: two requests in one document are a mistake."""
    with pytest.raises(EtcdError):
        watch_request(b'{"create_request":{"key":"YQ=="},"progress_request":{}}')
    assert watch_request(b'{"cancelRequest":{"watchId":"-7"}}').cancel_request
