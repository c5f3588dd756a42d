"""How a range is doing, and the daemon as a whole: frozen values for status, metrics and headers."""

from __future__ import annotations

from typing import Literal

import msgspec

from syncd.findings import Finding

CertificateRole = Literal["ca", "client", "server"]
State = Literal["cold", "warm", "live", "stale"]
STATES: tuple[State, ...] = ("cold", "warm", "live", "stale")


READ_REASONS = ("initial", "compacted", "epoch", "behind", "contradiction", "held")
"""Why a range is read."""

RECONNECT_REASONS = (
    "unreachable",
    "unavailable",
    "malformed",
    "disordered",
    "lagging",
    "auth",
    "permission_denied",
    "credentials",
    "etcd_error",
    "compacted",
    "epoch",
    "behind",
    "contradiction",
    "held",
    "reopened",
)
"""Why a watch is opened anew."""


class Syncing(msgspec.Struct, frozen=True):
    """A full read under way: `keys` of `count` are read (None before the first page)."""

    keys: int
    count: int | None
    reason: str


class Counters(msgspec.Struct, frozen=True):
    """What happened since the daemon started; counts only go up, and are kept by reason."""

    events_applied: int
    full_reads: dict[str, int]
    watch_reconnects: dict[str, int]


class Held(msgspec.Struct, frozen=True):
    """A range that its guard keeps as it is: of `keys` only `would_be` would be left, at `revision`."""

    keys: int
    would_be: int
    revision: int
    seconds: float
    """For how long it is held."""


class HistoryStatus(msgspec.Struct, frozen=True):
    """What is kept of the past."""

    events: int
    bytes: int
    oldest_revision: int


class CacheStatus(msgspec.Struct, frozen=True):
    """A range's copy on disk: its `revision` (0: none was written) and what it takes, in bytes.

    `error` says why nothing can be written, while that is so. Commits and failures are since the start.
    """

    revision: int = 0
    bytes: int = 0
    commits: int = 0
    failures: int = 0
    error: str | None = None


class RangeStatus(msgspec.Struct, frozen=True):
    """One range at one moment.

    `age` is seconds since its last proof, None when there was none yet. `lag` is how many revisions etcd was
    ahead when it was last heard of.
    """

    range: str
    state: State
    revision: int
    epoch: str
    age: float | None
    lag: int
    keys: int
    bytes: int
    syncing: Syncing | None
    endpoint: str | None
    duplex: bool | None
    error: str | None
    history: HistoryStatus
    counters: Counters
    held: Held | None = None


class Quarantine(msgspec.Struct, frozen=True):
    """Why others are asked instead of an endpoint, and the seconds until it is probed."""

    reason: str
    seconds: float


class EndpointStatus(msgspec.Struct, frozen=True):
    """One endpoint of etcd; `version` is empty until it was asked, `failures` are those in a row."""

    url: str
    version: str
    current: bool
    failures: int
    quarantine: Quarantine | None = None


class CertificateStatus(msgspec.Struct, frozen=True):
    """A certificate on the way to etcd, and the moment (RFC 3339, UTC) when it ends.

    `ca` and `client` are from the configured file `source`, `server` is what the endpoint at the URL `source`
    showed last. `expires_in_seconds` is negative once it has expired.
    """

    role: CertificateRole
    source: str
    subject: str
    not_after: str
    expires_in_seconds: int


class EtcdStatus(msgspec.Struct, frozen=True):
    """The way to etcd: its endpoints, the certificates on it, and what is not well there."""

    endpoints: tuple[EndpointStatus, ...]
    certificates: tuple[CertificateStatus, ...] = ()
    findings: tuple[Finding, ...] = ()
