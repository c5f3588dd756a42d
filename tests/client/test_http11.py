"""The HTTP reader: any splitting of the bytes gives the same answer, and a cut is never taken for an end."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncd.client.errors import CutError, ProtocolError
from syncd.client.http11 import MAX_HEAD, ResponseReader, encode_request
from tests.client.fake import CHUNKED, END, chunks, head, streamed, whole

ANSWERS = {
    "a length": whole(b"hello world"),
    "a length of nothing": whole(b""),
    "chunks": streamed(b"hello", b" ", b"world"),
    "chunks with extensions and trailers": head(headers=CHUNKED)
    + b"b;x=1\r\nhello world\r\n0\r\nA: b\r\n\r\n",
    "an announcement first": b"HTTP/1.1 103 Early\r\nA: b\r\n\r\n" + whole(b"hello world"),
}


def read(pieces: list[bytes]) -> tuple[ResponseReader, bytes]:
    """Feed all pieces; the reader and the body."""
    reader = ResponseReader()
    return reader, b"".join([reader.feed(piece) for piece in pieces])


def split(data: bytes, cuts: set[int]) -> list[bytes]:
    """Cut `data` at the given places."""
    places = sorted({0, len(data), *(cut % len(data) for cut in cuts)})
    return [data[a:b] for a, b in pairwise(places)]


@given(st.sampled_from(sorted(ANSWERS)), st.sets(st.integers(0, 1000)))
def test_any_splitting_gives_the_same_answer(name: str, cuts: set[int]) -> None:
    """However the socket hands out the bytes, status, headers and body are the same."""
    reader, body = read(split(ANSWERS[name], cuts))
    assert reader.done
    assert reader.head is not None
    assert reader.head.status == 200
    assert reader.head.headers["syncd-revision"] == "7"
    assert body == (b"" if name == "a length of nothing" else b"hello world")


@pytest.mark.parametrize("name", sorted(ANSWERS))
def test_a_cut_at_any_byte_is_noticed(name: str) -> None:
    """The end of the connection before the answer's last byte is an error, wherever it happens."""
    answer = ANSWERS[name]
    for length in range(len(answer)):
        reader, _ = read([answer[:length]] if length else [])
        assert not reader.done
        with pytest.raises(CutError):
            reader.feed(b"")


def test_the_end_of_the_connection_after_the_answer_is_no_error() -> None:
    """A server may close once it has answered."""
    reader, _ = read([whole(b"x")])
    assert reader.feed(b"") == b""


def test_an_answer_without_a_body_is_done_with_its_head() -> None:
    """304 has a length of what it would have sent, and no body."""
    reader, body = read([head(304, {"Content-Length": "5"})])
    assert (reader.done, body) == (True, b"")


@pytest.mark.parametrize(
    "answer",
    [
        b"SSH-2.0-OpenSSH\r\n\r\n",
        b"HTTP/1.1 abc\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nnonsense\r\n\r\n",
        head() + b"until the connection ends",
        head(headers={"Content-Length": "-1"}),
        head(headers=CHUNKED) + b"xyz\r\n",
        head(headers=CHUNKED) + b"-5\r\nhello\r\n",
        head(headers=CHUNKED) + b"1_0\r\nhello\r\n",
        head(headers=CHUNKED) + b"\r\n",
        head(headers=CHUNKED) + b"2\r\nhello\r\n",
        head(headers=CHUNKED) + b"1" * 5000,
        b"HTTP/1.1 200 OK\r\n" + b"a" * (MAX_HEAD + 1),
        whole(b"x") + b"more",
    ],
    ids=lambda answer: answer[-20:],
)
def test_what_is_not_an_answer_of_ours_is_refused(answer: bytes) -> None:
    """Other protocols, endless headers, lying sizes and bodies without an end are errors at once."""
    with pytest.raises(ProtocolError):
        read([answer])


@pytest.mark.parametrize("size", [1, 1000, MAX_HEAD, 2 * MAX_HEAD])
def test_headers_have_a_limit_however_they_come(size: int) -> None:
    """A head of exactly the limit passes, one byte more does not, in one piece and in many."""
    start, end = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX: ", b"\r\n\r\n"
    good = start + b"x" * (MAX_HEAD - len(start + end)) + end
    bad = start + b"x" * (MAX_HEAD - len(start + end) + 1) + end
    reader, _ = read([good[at : at + size] for at in range(0, len(good), size)])
    assert reader.done
    with pytest.raises(ProtocolError, match="headers do not end"):
        read([bad[at : at + size] for at in range(0, len(bad), size)])


def test_a_length_beyond_all_reason_is_refused() -> None:
    """Also one of so many digits that Python itself would refuse to read it."""
    for digits in (19, 5000):
        with pytest.raises(ProtocolError):
            read([head(headers={"Content-Length": "9" * digits})])


@pytest.mark.parametrize(
    ("connection", "reusable"), [("keep-alive", True), ("close", False), ("Close", False)]
)
def test_a_connection_that_the_server_closes_is_not_reused(connection: str, reusable: bool) -> None:
    """`Connection: close` is heeded."""
    reader, _ = read([whole(b"", headers={"Connection": connection})])
    assert reader.head is not None
    assert reader.head.reusable is reusable


def test_a_request_is_a_get_with_its_headers() -> None:
    """What goes out is a plain HTTP/1.1 request."""
    assert encode_request("/v1/status", {"Accept": "*/*"}) == (
        b"GET /v1/status HTTP/1.1\r\nHost: localhost\r\nAccept: */*\r\n\r\n"
    )


def test_chunks_of_any_kind_of_bytes_come_through() -> None:
    """Line ends inside a chunk are data."""
    reader, body = read([head(headers=CHUNKED), chunks(b"\r\n0\r\n\r\n", b"\0\xff"), END])
    assert (reader.done, body) == (True, b"\r\n0\r\n\r\n\0\xff")
