"""The gateway's JSON, as etcd writes it: bytes in base64, integers as strings, zero values left out."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Sequence

from syncd.records import Event, Record


def kv_json(record: Record) -> dict[str, str]:
    """Write a record."""
    kv = {
        "key": b64encode(record.key).decode(),
        "value": b64encode(record.value).decode(),
        "create_revision": str(record.create_revision),
        "mod_revision": str(record.mod_revision),
        "version": str(record.version),
        "lease": str(record.lease),
    }
    return {name: text for name, text in kv.items() if text not in ("", "0")}


def document(revision: int, events: Sequence[Event], *, fragment: bool = False) -> bytes:
    """Write one document of a watch, with its newline; without events it is a progress notification."""
    result: dict[str, object] = {
        "header": {
            "cluster_id": str(2**64 - 1),
            "member_id": "7",
            "revision": str(revision),
            "raft_term": "2",
        }
    }
    if events:
        types = ({"type": "DELETE"} if event.deleted else {} for event in events)
        result["events"] = [
            type_ | {"kv": kv_json(event.kv)} for type_, event in zip(types, events, strict=True)
        ]
    if fragment:
        result["fragment"] = True
    return json.dumps({"result": result}).encode() + b"\n"
