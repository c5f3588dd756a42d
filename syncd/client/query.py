"""Requests of the local API: what a reader may ask, as a target and headers. No I/O."""

from __future__ import annotations

from typing import Literal, TypedDict
from urllib.parse import quote

import msgspec

from syncd.client.lines import Bookmark
from syncd.client.packed import PACKED

DEFAULT_HEARTBEAT = 5.0
"""Seconds between progress lines of an idle watch, as the contract has it."""

LONGEST_HEARTBEAT = 3600.0
"""Seconds between them at most; who wants to hear less often gets that."""

LONGEST_AGE = 1e12
"""Seconds; whoever takes answers as old as this takes any. The daemon could not read much higher numbers."""

LONGEST_WAIT = 600.0
"""Seconds that the daemon lets one request wait; who wants it to wait longer gets that."""


def duration(name: str, seconds: float) -> float:
    """Return `seconds`; ValueError when nobody can wait for so long. `math.inf` is for ever."""
    if not seconds >= 0:  # as is NaN
        raise ValueError(f"{name}={seconds!r}: expected seconds, from 0 to math.inf")
    return seconds


class Read(msgspec.Struct, frozen=True):
    """What an answer must satisfy; the default takes whatever is served now."""

    max_age: float | None = None
    """Seconds: refuse (`TooStaleError`) what was proved current longer ago."""
    min_revision: int | None = None
    """Wait until syncd has seen this revision, so that one reads one's own writes."""
    wait: float | None = None
    """Seconds to wait for that at most."""
    linearizable: bool = False
    """Let syncd ask etcd for its revision first, and wait for that one."""

    def __post_init__(self) -> None:
        duration("max_age", self.max_age or 0.0)
        duration("wait", self.wait or 0.0)


ANY = Read()
"""Whatever is served now."""


class ReadOptions(TypedDict, total=False):
    """What `Read` holds, as keyword arguments of every read."""

    max_age: float | None
    min_revision: int | None
    wait: float | None
    linearizable: bool


class Selection(msgspec.Struct, frozen=True):
    """Which keys are asked for: those under a prefix, or a single one."""

    kind: Literal["prefix", "key"]
    start: bytes
    """The prefix, or the key."""


class Request(msgspec.Struct, frozen=True):
    """Target and headers, and how long syncd may rightly take before it answers. All can be repeated."""

    target: str
    headers: dict[str, str] = {}
    method: str = "GET"
    patience: float = 0.0
    """Seconds beyond the usual time-out; what the reader itself asked syncd to wait."""


def encoded(key: bytes | str) -> bytes:
    """Return a key's bytes; in a `str`, surrogate escapes (PEP 383) stand for those that are not UTF-8."""
    return key.encode("utf-8", "surrogateescape") if isinstance(key, str) else key


def selection(prefix: bytes | str | None, key: bytes | str | None) -> Selection:
    """Select by the one of the two that is given; TypeError when it is not exactly one."""
    if prefix is not None and key is None:
        return Selection("prefix", encoded(prefix))
    if key is not None and prefix is None:
        return Selection("key", encoded(key))
    raise TypeError("expected exactly one of `prefix` and `key`")


def value(key: bytes, read: Read = ANY, *, as_json: bool = False) -> Request:
    """Ask for the value of one key: its bytes, or the record as a JSON object."""
    headers = {"Accept": "application/json"} if as_json else {}
    return _request("/v1/value", {"key": key, **_reading(read)}, headers, read)


def snapshot(keys: Selection, read: Read = ANY, *, keys_only: bool = False, as_json: bool = False) -> Request:
    """Ask for keys as they all are at one revision: in packed blocks, or as JSON lines."""
    only = {"keys_only": b"true"} if keys_only else {}
    headers = {} if as_json or keys_only else {"Accept": PACKED}
    return _request("/v1/snapshot", {keys.kind: keys.start, **only, **_reading(read)}, headers, read)


def watch(
    keys: Selection,
    read: Read = ANY,
    *,
    after: Bookmark | None = None,
    with_snapshot: bool = False,
    prev_kv: bool = False,
    heartbeat: float = DEFAULT_HEARTBEAT,
    as_json: bool = False,
) -> Request:
    """Ask for all changes of keys: those after a bookmark, or from now on; for a snapshot as above."""
    every = _milliseconds(heartbeat, LONGEST_HEARTBEAT)
    parameters = {keys.kind: keys.start, "heartbeat_ms": every, **_reading(read)}
    if after is not None:
        parameters["from"] = b"%d" % after.revision
        if after.epoch:
            parameters["epoch"] = after.epoch.encode()
    if with_snapshot:
        parameters["snapshot"] = b"true"
    if prev_kv:
        parameters["prev_kv"] = b"true"
    headers = {"Accept": PACKED} if with_snapshot and not as_json else {}
    return _request("/v1/watch", parameters, headers, read)


def status() -> Request:
    """Ask how the daemon and its ranges are doing."""
    return Request("/v1/status")


def accept(name: str) -> Request:
    """Let through what the guard of the range called `name` holds back."""
    return Request(f"/v1/accept?range={quote(encoded(name), safe='/')}", method="POST")


def _request(path: str, parameters: dict[str, bytes], headers: dict[str, str], read: Read) -> Request:
    # Every byte but the unreserved ones is percent-encoded, so that a key of any bytes arrives as it is.
    query = "&".join(f"{name}={quote(content, safe='/')}" for name, content in parameters.items())
    return Request(f"{path}?{query}", headers, patience=min(read.wait or 0.0, LONGEST_WAIT))


def _reading(read: Read) -> dict[str, bytes]:
    parameters: dict[str, bytes] = {}
    if read.max_age is not None and read.max_age < LONGEST_AGE:
        parameters["max_age_ms"] = _milliseconds(read.max_age, LONGEST_AGE)
    if read.min_revision is not None:
        parameters["min_revision"] = b"%d" % read.min_revision
    if read.wait is not None:
        parameters["wait_ms"] = _milliseconds(read.wait, LONGEST_WAIT)
    if read.linearizable:
        parameters["linearizable"] = b"true"
    return parameters


def _milliseconds(seconds: float, most: float) -> bytes:
    return b"%d" % round(min(seconds, most) * 1000)
