"""etcd's JSON: requests in, the parts of answers out.

As grpc-gateway speaks it: 64-bit integers are strings, zero values are left out, bytes are base64. How a
request is read, and what its Struct has to look like, is told in `protojson`.
"""

from __future__ import annotations

from binascii import b2a_base64
from collections.abc import Iterator
from typing import TypeVar

import msgspec

from syncd.keyrange import KeyRange
from syncd.records import Record
from syncd.serve.source import Source
from syncd.serve.v3 import protojson
from syncd.serve.v3.errors import Code, EtcdError
from syncd.serve.v3.upstream import Member

PIECE_BYTES = 96 << 10
"""Of a value that is encoded in pieces; they are put together as they are, so it is a multiple of three."""

T = TypeVar("T")


def decode(kind: type[T], body: bytes) -> T:
    """The request that `body` is, or EtcdError."""
    try:
        return protojson.read(kind, body)
    except protojson.Malformed as error:
        raise EtcdError(Code.INVALID_ARGUMENT, str(error)) from error


def interval(key: bytes, range_end: bytes) -> KeyRange:
    """The keys that `key` and `range_end` mean, or EtcdError."""
    if not key:
        raise EtcdError(Code.INVALID_ARGUMENT, "etcdserver: key is not provided")
    return KeyRange(key, range_end)


def header(source: Source, member: Member) -> dict[str, str]:
    """The header of an answer about `source`, whose revision is that which its answer shows.

    The cluster is that of what is held, which the epoch begins with: who answers now may be of another one.
    """
    cluster_id = int(source.store.epoch.partition("-")[0] or "0", 16) or member.cluster_id
    fields = {
        "cluster_id": str(cluster_id),
        "member_id": str(member.member_id),
        "revision": str(source.store.revision),
        "raft_term": str(member.raft_term),
    }
    return {name: value for name, value in fields.items() if value != "0"}


def key_value(record: Record) -> dict[str, str]:
    """A KeyValue."""
    fields = {"key": base64(record.key).decode()}
    for name in ("create_revision", "mod_revision", "version"):
        if number := getattr(record, name):
            fields[name] = str(number)
    if record.value:
        fields["value"] = base64(record.value).decode()
    if record.lease:
        fields["lease"] = str(record.lease)
    return fields


def key_value_json(record: Record, *, keys_only: bool = False) -> bytes:
    """The KeyValue of a key that is there, as JSON: in a third of the time that `key_value` takes."""
    value = b"" if keys_only or not record.value else b',"value":"%b"' % base64(record.value)
    lease = b',"lease":"%d"' % record.lease if record.lease else b""
    return b'{"key":"%b","create_revision":"%d","mod_revision":"%d","version":"%d"%b%b}' % (
        base64(record.key),
        record.create_revision,
        record.mod_revision,
        record.version,
        value,
        lease,
    )


def key_value_pieces(record: Record) -> Iterator[bytes]:
    """The same in pieces, for a large value: no more than one of them needs to be held at a time."""
    head, _, tail = key_value_json(msgspec.structs.replace(record, value=b"\0")).rpartition(b"AA==")
    yield head
    view = memoryview(record.value)
    for begin in range(0, len(view), PIECE_BYTES):
        yield base64(view[begin : begin + PIECE_BYTES])
    yield tail


def base64(data: bytes | memoryview) -> bytes:
    """`data` as it stands in JSON."""
    return b2a_base64(data, newline=False)
