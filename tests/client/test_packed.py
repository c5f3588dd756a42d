"""Snapshots as packed blocks: any cut of the bytes gives the same; what is not whole is refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncd.client.errors import ProtocolError
from syncd.client.packed import MAX_BLOCK, Block, Splitter
from syncd.records import Record
from syncd.serve.encode import packed
from syncd.store import Block as Stored

int64 = st.integers(-(2**63), 2**63 - 1)
records = st.lists(
    st.builds(Record, st.binary(min_size=1, max_size=9), st.binary(max_size=40), int64, int64, int64, int64),
    min_size=1,
    max_size=9,
)


def pieces(data: bytes, sizes: list[int]) -> list[bytes]:
    """`data` cut into pieces of these sizes, in turn."""
    cut, at, turn = [], 0, 0
    while at < len(data):
        size = sizes[turn % len(sizes)]
        cut.append(data[at : at + size])
        at, turn = at + size, turn + 1
    return cut


@given(st.lists(records, max_size=4), st.lists(st.integers(1, 60), min_size=1, max_size=5))
def test_what_the_server_packs_comes_back(blocks: list[list[Record]], sizes: list[int]) -> None:
    """Every byte and every integer, whole blocks and parts of them, however the stream is cut."""
    sent = b'{"revision":1}\n'
    expected: list[object] = [b'{"revision":1}']
    for block in blocks:
        sent += b"".join(packed(Stored.of(block), 0, len(block)))
        sent += b"".join(packed(Stored.of(block), len(block) // 2, len(block)))
        expected += [block, block[len(block) // 2 :]]
    sent += b'{"end":true}\n'
    splitter = Splitter()
    found = [item for piece in pieces(sent, sizes) for item in splitter.feed(piece)]
    assert [[*item.records()] if isinstance(item, Block) else item for item in found] == [
        *expected,
        b'{"end":true}',
    ]
    assert splitter.finish() == []


def test_a_block_with_large_values_comes_in_several() -> None:
    """No block is made of more than about a megabyte, unless one value is."""
    stored = Stored.of([Record(b"/%d" % number, bytes(600_000)) for number in range(3)])
    found = Splitter().feed(b"".join(packed(stored, 0, 3)))
    assert [len(item) for item in found if isinstance(item, Block)] == [1, 1, 1]


def test_a_last_line_needs_no_newline_and_a_cut_block_is_none() -> None:
    """What stands at the end is told when the stream is over."""
    splitter = Splitter()
    assert splitter.feed(b'{"error"') == []
    assert splitter.finish() == [b'{"error"']
    splitter = Splitter()
    assert splitter.feed(b'{"block":4}\nabc') == []
    assert splitter.finish() == []


@pytest.mark.parametrize(
    "sent",
    [
        b'{"block":-1}\n',
        b'{"block":1e3}\n',
        b'{"block":}\n',
        b'{"block":%d}\n' % (MAX_BLOCK + 1),
        b'{"block":1}\n\x01',
        b'{"block":4}\n\x93\x90\x90\xc4',  # the last bytes' length is missing
        b'{"block":5}\n\x93\x90\x90\xc4\x00' + b'{"block":7}\n\x93\x91\xc4\x00\x90\xc4\x00',
    ],
)
def test_what_is_no_block(sent: bytes) -> None:
    """Lengths and contents that syncd would not send are an error that says so."""
    with pytest.raises(ProtocolError, match="block"):
        Splitter().feed(sent)
