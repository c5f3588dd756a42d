"""A snapshot's records as packed blocks: what `Accept: application/vnd.syncd.blocks` gets. No I/O.

The same lines as ever, but records come many at a time: a line such as {"block":8192} says that so many
bytes follow, which are msgpack. A reader has 500,000 of them in a quarter of the time that JSON takes.
"""

from __future__ import annotations

import sys
from array import array
from collections.abc import Iterator

import msgspec

from syncd.client.errors import ProtocolError
from syncd.records import Record

PACKED = "application/vnd.syncd.blocks"
"""The media type."""

MAX_BLOCK = 64 << 20
"""Bytes of one block; syncd's have some hundred thousand, or one large value."""

_INTEGERS = 4
_BEGIN = b'{"block":'


class Block(msgspec.Struct, frozen=True):
    """Some neighbouring records, in key order."""

    keys: list[bytes]
    values: list[bytes]
    numbers: array[int]
    """create_revision, mod_revision, version and lease of the first record, of the second, …"""

    def __len__(self) -> int:
        return len(self.keys)

    def records(self) -> Iterator[Record]:
        """Iterate over them one by one."""
        numbers = iter(self.numbers)
        return map(Record, self.keys, self.values, *[numbers] * _INTEGERS)


class Splitter:
    """Cuts a stream of bytes into lines and blocks; looks at every byte once."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._searched = 0
        """Bytes of the buffer in which no line ends."""
        self._missing: int | None = None
        """Bytes of the block that follows; None: a line does."""

    def feed(self, data: bytes) -> list[bytes | Block]:
        """Return the lines, without their newlines, and blocks that `data` completes."""
        self._buffer += data
        found: list[bytes | Block] = []
        at = 0
        with memoryview(self._buffer) as view:
            while True:
                if self._missing is not None:
                    end = at + self._missing
                    if end > len(view):
                        break
                    found.append(_block(view[at:end]))
                    self._missing, at = None, end
                    continue
                end = self._buffer.find(b"\n", max(at, self._searched))
                if end < 0:
                    break
                line = bytes(view[at:end])
                at = end + 1
                if line.startswith(_BEGIN):
                    self._missing = _length(line)
                else:
                    found.append(line)
        del self._buffer[:at]
        self._searched = 0 if self._missing is not None else len(self._buffer)
        return found

    def finish(self) -> list[bytes | Block]:
        """Return the last line, when it had no newline; a block that was cut is nothing."""
        last = bytes(self._buffer) if self._missing is None else b""
        self._buffer.clear()
        return [last] if last else []


def _length(line: bytes) -> int:
    digits = line.removeprefix(_BEGIN).removesuffix(b"}")
    if not digits.isdigit() or len(digits) > len(str(MAX_BLOCK)) or int(digits) > MAX_BLOCK:
        raise ProtocolError(f"a block of a strange length: {line[:40]!r}")
    return int(digits)


def _block(body: memoryview) -> Block:
    try:
        keys, values, raw = _blocks.decode(body)
        numbers = array("q", raw)
    except (msgspec.MsgspecError, ValueError) as error:
        raise ProtocolError(f"a packed block that cannot be read: {error}") from error
    if sys.byteorder == "big":
        numbers.byteswap()
    if not len(keys) == len(values) == len(numbers) / _INTEGERS:
        raise ProtocolError(f"a packed block of {len(keys)} keys, {len(values)} values")
    return Block(keys, values, numbers)


_blocks = msgspec.msgpack.Decoder(tuple[list[bytes], list[bytes], bytes])
