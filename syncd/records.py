"""What a key holds and what happened to it: the values that travel from the gateway to the readers."""

from __future__ import annotations

from typing import Annotated

import msgspec

Revision = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
"""An int64 that is never negative; msgspec alone would take integers of any length."""


class Record(msgspec.Struct, frozen=True, gc=False):
    """One key at one revision; fields and meanings are etcd's mvccpb.KeyValue.

    Also the typed form of a `kv` in the gateway's JSON (bytes are base64, integers are strings, zero
    values are left out; see gateway/messages.py). `gc=False`: nothing here can form a cycle, and half a
    million of them must not be visited by the collector.
    """

    key: bytes
    value: bytes = b""
    create_revision: Revision = 0
    mod_revision: Revision = 0
    version: Revision = 0
    lease: Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)] = 0


class Event(msgspec.Struct, frozen=True, gc=False):
    """A key was put or deleted. Of a deleted key, `kv` tells only key and mod_revision."""

    kv: Record
    deleted: bool = False
    prev: Record | None = None
    """What the key held before; None when it did not exist."""


class Batch(msgspec.Struct, frozen=True, weakref=True, eq=False):
    """All that one revision changed in a range.

    With `resync`, what the history between was lost: `events` then are the difference between the state
    before and the state at `revision`, and a deletion carries `revision` as its mod_revision, because
    the true one is not known.
    """

    revision: int
    events: tuple[Event, ...]
    epoch: str
    resync: bool = False
