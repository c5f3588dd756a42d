"""What `/v1/status` tells, as typed values; what a daemon of another version leaves out has a default."""

from __future__ import annotations

import msgspec

from syncd.client.errors import ProtocolError


class Quarantine(msgspec.Struct, frozen=True):
    """Why others are asked instead of an endpoint, and the seconds until it is looked at again."""

    reason: str = ""
    seconds: float = 0.0


class Endpoint(msgspec.Struct, frozen=True):
    """One etcd endpoint of the configuration."""

    url: str
    version: str = ""
    """Empty while it has not told."""
    current: bool = False
    """The one in use."""
    failures: int = 0
    """In a row."""
    quarantine: Quarantine | None = None


class Certificate(msgspec.Struct, frozen=True):
    """A certificate on the way to etcd; `source` is its file, or the URL of the endpoint that showed it."""

    role: str
    """ca, client (syncd's own) or server (etcd's)."""
    source: str
    subject: str = ""
    not_after: str = ""
    """RFC 3339, UTC."""
    expires_in_seconds: int = 0
    """Negative once it has expired."""


class Finding(msgspec.Struct, frozen=True):
    """What is not well on the way to etcd: what was seen of `subject`, what that means, how to mend it."""

    code: str
    level: str
    """note, warning or error."""
    subject: str = ""
    seen: str = ""
    means: str = ""
    cure: str = ""
    """A sentence; commands stand below it, on lines of their own."""


class Etcd(msgspec.Struct, frozen=True):
    """The way to etcd."""

    endpoints: tuple[Endpoint, ...] = ()
    certificates: tuple[Certificate, ...] = ()
    findings: tuple[Finding, ...] = ()


class Syncing(msgspec.Struct, frozen=True):
    """A full read that is under way: `keys` of `count` so far."""

    keys: int = 0
    count: int | None = None
    reason: str = ""


class Held(msgspec.Struct, frozen=True):
    """What the range's guard holds back: of `keys` only `would_be` would be left."""

    keys: int = 0
    would_be: int = 0
    revision: int = 0
    seconds: float = 0.0


class History(msgspec.Struct, frozen=True):
    """How far back a watch can be resumed."""

    events: int = 0
    bytes: int = 0
    oldest_revision: int | None = None


class Cache(msgspec.Struct, frozen=True):
    """A range's copy on disk."""

    revision: int = 0
    """0 while there is none."""
    bytes: int = 0
    error: str | None = None
    """Why it cannot be written, while that is so."""


class Counters(msgspec.Struct, frozen=True):
    """What has happened to a range since the daemon started."""

    events_applied: int = 0
    full_reads: dict[str, int] = {}
    watch_reconnects: dict[str, int] = {}


class RangeStatus(msgspec.Struct, frozen=True):
    """One mirrored range."""

    range: str
    state: str
    revision: int = 0
    epoch: str | None = None
    age_ms: float | None = None
    keys: int = 0
    bytes: int = 0
    syncing: Syncing | None = None
    endpoint: str | None = None
    error: str | None = None
    history: History = History()
    cache: Cache | None = None
    """None when no copy is wanted."""
    held: Held | None = None
    counters: Counters = Counters()


class Status(msgspec.Struct, frozen=True):
    """The daemon and all its ranges."""

    version: str
    uptime_seconds: float = 0.0
    pid: int = 0
    readers: int = 0
    etcd: Etcd = Etcd()
    ranges: tuple[RangeStatus, ...] = ()


class _Accepted(msgspec.Struct):
    accepted: bool


_accepted = msgspec.json.Decoder(_Accepted)
_statuses = msgspec.json.Decoder(Status)


def decode_status(body: bytes) -> Status:
    """Decode the JSON that `/v1/status` answers."""
    try:
        return _statuses.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise ProtocolError(f"this is not a status of syncd's: {error}") from error


def decode_accepted(body: bytes) -> bool:
    """Decode the JSON that `/v1/accept` answers: whether anything was held."""
    try:
        return _accepted.decode(body).accepted
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise ProtocolError(f"this is not syncd's answer to an accept: {error}") from error
