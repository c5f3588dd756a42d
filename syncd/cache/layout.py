"""What stands in a range's file, byte by byte. Pure.

An LMDB environment with three databases:

    (main)    "format"   the version of all this, in ASCII digits: what every version can read
              "head"     a Head: which range, what revision, when it was proved
    blocks    number  →  some neighbouring records; together, in key order, all of them
    journal   revision → what that revision changed, `prev` included

Numbers and revisions are 8 bytes, big-endian. Every entry begins with an XXH3 of what follows, seeded with
its key, and the head has the sum (XOR) of those of all others. So a bit that flips is noticed, and also an
old page in the place of a new one, which LMDB itself would take for good.
"""

from __future__ import annotations

from array import array
from functools import partial
from struct import Struct

import msgspec
import xxhash

from syncd.keyrange import KeyRange
from syncd.records import Batch, Revision
from syncd.store import Block, Columns, Packed

FORMAT = 1

FORMAT_KEY = b"format"
HEAD_KEY = b"head"
BLOCKS = b"blocks"
JOURNAL = b"journal"

DIGEST = 8
"""Bytes of a digest."""

_HEAD_SEED = 0x68656164
"""Stands for the key of the head, which is no number."""

Count = Revision
"""Never negative, and 63 bits as well."""


class Proof(msgspec.Struct, frozen=True):
    """The moment as of which a range was proved current, by both clocks that a process has.

    `wall`: seconds since 1970. `boot`: which boot of the machine, and `since_boot`: seconds since then.
    """

    wall: float
    boot: str
    since_boot: float


class Head(msgspec.Struct, frozen=True, kw_only=True):
    """What the file holds. For the fields that are not explained here, see syncd.store.Image."""

    syncd: str
    """The version that wrote it, for people."""
    range: KeyRange
    cluster_id: str
    """Hexadecimal; the epoch begins with it, too."""
    epoch: str
    revision: Revision
    changed_revision: Revision
    changed_keys: tuple[bytes, ...]
    count: Count
    base_revision: Revision
    oldest_revision: Revision
    blocks: Count
    """Entries in that database."""
    digest: int
    """The XOR of the digests of all blocks and the journal."""
    proof: Proof | None
    read_took: float = 0.0
    """Seconds of the last full read."""


class _Columns(msgspec.Struct, frozen=True, array_like=True):
    keys: tuple[bytes, ...]
    values: tuple[bytes, ...]
    numbers: bytes


_ABOUT_BLOCK = Struct("<IQI")
"""Records, bytes of keys and values, bytes of the first key: what is needed before the rest is."""

_encoder = msgspec.msgpack.Encoder()
_encode, _encode_into = _encoder.encode, _encoder.encode_into
_decode_columns = msgspec.msgpack.Decoder(_Columns).decode
_decode_batch = msgspec.msgpack.Decoder(Batch).decode
_decode_head = msgspec.msgpack.Decoder(Head).decode


def number(value: int) -> bytes:
    """A number as the key of an entry; in the order of the numbers."""
    return value.to_bytes(8, "big")


def digest_of(entry: bytes | bytearray | memoryview) -> int:
    """The digest that an entry begins with."""
    return int.from_bytes(entry[:DIGEST], "big")


def sealed(key: int, content: bytes) -> bytes:
    """`content` behind its digest."""
    return xxhash.xxh3_64_digest(content, key) + content


def opened(key: int, entry: memoryview) -> memoryview:
    """What stands behind the digest; ValueError when it is not what was sealed."""
    content = entry[DIGEST:]
    if xxhash.xxh3_64_intdigest(content, key) != digest_of(entry):
        raise ValueError("its checksum is wrong")
    return content


def seal_block(key: int, block: Block, buffer: bytearray) -> int:
    """Make `buffer` the entry of one block, without a copy of it in between; its digest."""
    buffer[:] = bytes(DIGEST)
    buffer += _ABOUT_BLOCK.pack(len(block), block.size, len(block.first))
    buffer += block.first
    _encode_into(_Columns(block.keys, block.values, block.numbers.tobytes()), buffer, len(buffer))
    with memoryview(buffer) as entry, entry[DIGEST:] as content:
        digest = xxhash.xxh3_64_intdigest(content, key)
    buffer[:DIGEST] = number(digest)
    return digest


def decode_block(content: memoryview) -> Block:
    """A block that is unpacked when somebody needs it."""
    count, size, length = _ABOUT_BLOCK.unpack_from(content)
    end = _ABOUT_BLOCK.size + length
    return Packed(
        bytes(content[_ABOUT_BLOCK.size : end]), count, size, partial(_unpacked, bytes(content[end:]))
    )


def _unpacked(packed: bytes) -> Columns:
    columns = _decode_columns(packed)
    numbers = array("q")
    numbers.frombytes(columns.numbers)
    return Columns(columns.keys, columns.values, numbers)


def encode_batch(batch: Batch) -> bytes:
    """All that one revision changed."""
    return _encode(batch)


def decode_batch(content: memoryview) -> Batch:
    """The same; ValueError when it is none."""
    return _decode_batch(content)


def encode_head(head: Head) -> bytes:
    """The head, sealed."""
    return sealed(_HEAD_SEED, _encode(head))


def decode_head(entry: memoryview) -> Head:
    """The head; ValueError when it is none."""
    return _decode_head(opened(_HEAD_SEED, entry))
