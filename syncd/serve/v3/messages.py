"""etcd's JSON: requests in, the parts of answers out.

proto3 JSON as grpc-gateway speaks it: 64-bit integers are strings (in requests, numbers will do), zero
values are left out, bytes are base64. Requests may name a field as the proto does (`range_end`), or in
camelCase (`rangeEnd`); what is unknown is passed over.
"""

from __future__ import annotations

import re
from base64 import b64encode
from typing import TypeVar

import msgspec

from syncd.keyrange import KeyRange
from syncd.records import Record
from syncd.serve.source import Source
from syncd.serve.v3.errors import Code, EtcdError
from syncd.serve.v3.upstream import Member

T = TypeVar("T")

_CAPITAL = re.compile("(?<=[a-z])[A-Z]")


def decode(kind: type[T], body: bytes) -> T:
    """The request that `body` is, or EtcdError."""
    try:
        found = msgspec.json.decode(body or b"{}")
        return msgspec.convert(_proto_names(found), kind, strict=False)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise EtcdError(Code.INVALID_ARGUMENT, f"proto: {error}") from error


def _proto_names(value: object) -> object:
    """The same with all names as the proto has them."""
    if isinstance(value, dict):
        return {
            _CAPITAL.sub(lambda found: f"_{found[0].lower()}", name): _proto_names(of)
            for name, of in value.items()
        }
    if isinstance(value, list):
        return [_proto_names(of) for of in value]
    return value


def interval(key: bytes, range_end: bytes) -> KeyRange:
    """The keys that `key` and `range_end` mean, or EtcdError."""
    if not key:
        raise EtcdError(Code.INVALID_ARGUMENT, "etcdserver: key is not provided")
    return KeyRange(key, range_end)


def header(source: Source, member: Member) -> dict[str, str]:
    """The header of an answer about `source`, whose revision is that which its answer shows."""
    cluster_id = member.cluster_id or int(source.store.epoch.partition("-")[0] or "0", 16)
    fields = {
        "cluster_id": str(cluster_id),
        "member_id": str(member.member_id),
        "revision": str(source.store.revision),
        "raft_term": str(member.raft_term),
    }
    return {name: value for name, value in fields.items() if value != "0"}


def key_value(record: Record) -> dict[str, str]:
    """A KeyValue."""
    fields = {"key": b64encode(record.key).decode()}
    for name in ("create_revision", "mod_revision", "version"):
        if number := getattr(record, name):
            fields[name] = str(number)
    if record.value:
        fields["value"] = b64encode(record.value).decode()
    if record.lease:
        fields["lease"] = str(record.lease)
    return fields
