"""Requests are read as etcd 3.5.16 reads them: all of this was seen there; tests/differential has more."""

from __future__ import annotations

import base64
import json
from contextlib import suppress
from enum import IntEnum
from typing import Annotated, Any

import msgspec
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncd.records import Record
from syncd.serve.stream import CHUNK
from syncd.serve.v3.errors import EtcdError
from syncd.serve.v3.messages import PIECE_BYTES, decode, key_value, key_value_json, key_value_pieces


class Colour(IntEnum):
    """An enum."""

    RED = 0
    BLUE = 1


class Inner(msgspec.Struct, frozen=True):
    """A message in a message."""

    number: int = 0


class Message(msgspec.Struct, frozen=True):
    """One field of each kind."""

    data: bytes = b""
    some_number: int = 0
    flag: bool = False
    name: str = ""
    colour: Annotated[int, Colour] = 0
    colours: tuple[Annotated[int, Colour], ...] = ()
    inner: Inner | None = None
    myself: Message | None = None


def read(body: bytes) -> Message:
    """The message."""
    return decode(Message, body)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", Message()),
        (b" \r\n\t", Message()),
        (b"{}", Message()),
        (b'{"flag":true}{"flag":false}', Message(flag=True)),
        (b'{"flag":true} \xff', Message(flag=True)),
        (b'{"flag":null,"data":null,"inner":null}', Message()),
        (b'{"some_number":1}', Message(some_number=1)),
        (b'{"someNumber":"1"}', Message(some_number=1)),
        (b'{"somenumber":1,"Some_number":1,"x":[{"flag":3,"flag":4}]}', Message()),
        (b'{"\\u0066lag":true}', Message(flag=True)),
        (b'{"colour":"BLUE"}', Message(colour=1)),
        (b'{"colour":1}', Message(colour=1)),
        (b'{"colour":-7}', Message(colour=-7)),
        (b'{"colour":"blue"}', Message()),
        (b'{"colours":["RED",1,"NONE",7]}', Message(colours=(0, 1, 7))),
        (b'{"inner":{"number":"-3"}}', Message(inner=Inner(-3))),
        (b'{"inner":{},"myself":null}', Message(inner=Inner())),
        (b'{"myself":{"myself":{"flag":true}}}', Message(myself=Message(myself=Message(flag=True)))),
        (b'{"name":"\\ud83d\\ude00"}', Message(name="\U0001f600")),
        (b'{"x":' + b"9" * 5000 + b"}", Message()),
        (b'{"x":' + b"[" * 500 + b"]" * 500 + b"}", Message()),
    ],
)
def test_what_is_taken(body: bytes, message: Message) -> None:
    """Names, nulls, enums, nested messages, and what comes after the end."""
    assert read(body) == message


@pytest.mark.parametrize(
    ("text", "number"),
    [
        *(
            ("1", 1),
            ("-0", 0),
            ("1.0", 1),
            ("1e2", 100),
            ("1.5e1", 15),
            ("100e-2", 1),
            ("0e400", 0),
            ("0.00e9", 0),
        ),
        *(
            ("0.00e9", 0),
            ('"1"', 1),
            ('"1.0"', 1),
            ('"1 2"', 1),
            ('"1,2"', 1),
            ("9223372036854775807", (1 << 63) - 1),
        ),
        *(("-9223372036854775808", -(1 << 63)), ("1" + "0" * 30 + "e-30", 1), ("0." + "0" * 5000, 0)),
    ],
)
def test_numbers_that_are_taken(text: str, number: int) -> None:
    """A 64-bit integer may be written in many ways."""
    assert read(f'{{"some_number":{text}}}'.encode()).some_number == number


@pytest.mark.parametrize(
    ("text", "data"),
    [
        *(("L2E=", b"/a"), ("L2E", b"/a"), ("L2F", b"/a"), ("_-8=", b"\xff\xef"), ("/+8", b"\xff\xef")),
        *((r"L2E=\n\n\n\n", b"/a"), (r"\u004c2E=", b"/a"), ("", b"")),
    ],
)
def test_base64_that_is_taken(text: str, data: bytes) -> None:
    """Of both kinds, padded or not."""
    assert read(f'{{"data":"{text}"}}'.encode()).data == data


@pytest.mark.parametrize(
    "body",
    [
        *(
            b"null",
            b"[]",
            b"1",
            b'"a"',
            b"{",
            b"{]",
            b"\xff",
            b"\xef\xbb\xbf{}",
            b'{"flag":true,}',
            b"{'a':1}",
        ),
        *(b'{"flag":true,"flag":true}', b'{"some_number":null,"someNumber":1}', b'{"x":NaN}', b'{"x":01}'),
        *(
            b'{"x":"\t"}',
            b'{"x":"\\x"}',
            b'{"x":"\xff"}',
            b'{"x":"\\ud800"}',
            b'{"x":["\\udc00"]}',
            b'{"x":1 2}',
        ),
        *(b"{'a':1}", b'{"x":1 2}', b'{"data":1}'),
        *(b'{"data":"L2E=="}', b'{"data":"L2E=\\n"}', b'{"data":"_+8="}', b'{"data":"L2 E="}'),
        *(b'{"data":"A"}', b'{"data":"="}', b'{"data":["L2E="]}', b'{"flag":1}', b'{"flag":"true"}'),
        *(b'{"name":1}', b'{"some_number":true}', b'{"some_number":1.5}', b'{"some_number":""}'),
        *(b'{"some_number":" 1"}', b'{"some_number":"1 "}', b'{"some_number":"01"}', b'{"some_number":"+1"}'),
        *(b'{"some_number":"1x"}', b'{"some_number":9223372036854775808}', b'{"some_number":1e19}'),
        *(
            b'{"some_number":1e400}',
            b'{"some_number":1e-400}',
            b'{"some_number":"null"}',
            b'{"some_number":[]}',
        ),
        *(
            b'{"some_number":[]}',
            b'{"colour":1.5}',
            b'{"colour":2147483648}',
            b'{"colour":true}',
            b'{"colours":"RED"}',
        ),
        *(b'{"colours":[null]}', b'{"colours":{}}', b'{"inner":[]}', b'{"inner":{"number":"x"}}'),
        *(b'{"inner":{},"myself":{}}', b"[" * 20_000, b'{"x":' + b"[" * 20_000 + b"]" * 20_000 + b"}"),
    ],
)
def test_what_is_refused(body: bytes) -> None:
    """With the code for it, and a message."""
    with pytest.raises(EtcdError) as caught:
        read(body)
    assert (caught.value.status, caught.value.code) == (400, 3)
    assert json.loads(caught.value.body())["message"]


NUMBERS = st.integers(-(1 << 63), (1 << 63) - 1)


@given(NUMBERS, st.binary(), st.text(), st.booleans(), st.randoms(use_true_random=False))
def test_what_is_written_is_read(number: int, data: bytes, name: str, flag: bool, draw: Any) -> None:
    """Whichever way a client's library has chosen."""
    encode = draw.choice([base64.b64encode, base64.urlsafe_b64encode])
    text = encode(data).decode()
    body = {
        draw.choice(["some_number", "someNumber"]): draw.choice([number, str(number)]),
        "data": draw.choice([text, text.rstrip("=")]),
        "name": name,
        "flag": flag,
    }
    written = json.dumps(body, ensure_ascii=draw.choice([True, False])).encode()
    assert read(written) == Message(data, number, flag, name)


@given(st.binary(max_size=300))
def test_nothing_else_than_a_refusal(body: bytes) -> None:
    """Whatever comes."""
    with suppress(EtcdError):
        assert isinstance(read(body), Message)


@given(st.binary(min_size=1), st.binary(), st.integers(1, 1 << 62), st.integers(0, 1 << 62))
def test_both_ways_to_write_a_key_are_one(key: bytes, value: bytes, number: int, lease: int) -> None:
    """The quick one, and that for what may be deleted."""
    record = Record(key, value, number, number + 1, 1, lease)
    assert orjson.loads(key_value_json(record)) == key_value(record)
    without = Record(key, b"", number, number + 1, 1, lease)
    assert orjson.loads(key_value_json(record, keys_only=True)) == key_value(without)


@pytest.mark.parametrize("key", [b"/a", b"\0", b"/a\0"])
@pytest.mark.parametrize("size", [1, PIECE_BYTES - 1, PIECE_BYTES, PIECE_BYTES + 1, 3 * PIECE_BYTES + 2])
@pytest.mark.parametrize("lease", [0, 7])
def test_a_large_key_value(key: bytes, size: int, lease: int) -> None:
    """It is the same in pieces, wherever they are cut."""
    record = Record(key, bytes(size), 3, 4, 5, lease)
    pieces = list(key_value_pieces(record))
    assert b"".join(pieces) == key_value_json(record)
    assert max(map(len, pieces)) <= CHUNK
