"""What to do after a failure: resume the watch or read the range again. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from syncd.errors import SyncdError
from syncd.gateway.errors import (
    Compacted,
    CredentialsUnusable,
    MalformedAnswer,
    PermissionDenied,
    Unauthenticated,
    Unavailable,
    Unreachable,
)
from syncd.gateway.messages import Header
from syncd.store import StoreError
from syncd.sync.revisions import Disordered


class Overtaken(SyncdError):
    """Catching up takes longer than reading the range again."""


class OtherHistory(SyncdError):
    """Revisions can no longer be compared with those held: another cluster, or an older state of it."""


class Lagging(SyncdError):
    """The member asked is behind what was already seen, though the cluster is not."""


@dataclass(frozen=True, slots=True)
class Reaction:
    """`reason` is a metric's label; `reread`: the range must be read again, resuming cannot help."""

    reason: str
    reread: bool


_REREAD: dict[type[SyncdError], str] = {
    Compacted: "compacted",
    OtherHistory: "epoch",
    Overtaken: "behind",
    StoreError: "contradiction",
}
_RESUME: dict[type[SyncdError], str] = {
    Unreachable: "unreachable",
    Unavailable: "unavailable",
    MalformedAnswer: "malformed",
    Disordered: "disordered",
    Lagging: "lagging",
    Unauthenticated: "auth",
    PermissionDenied: "permission_denied",
    CredentialsUnusable: "credentials",
}


def reaction(error: SyncdError) -> Reaction:
    """What to do after `error`; every failure is worth another try, after a pause."""
    for kind, reason in _REREAD.items():
        if isinstance(error, kind):
            return Reaction(reason, reread=True)
    for kind, reason in _RESUME.items():
        if isinstance(error, kind):
            return Reaction(reason, reread=False)
    return Reaction("etcd_error", reread=False)


def epoch_of(header: Header, held: str, revision: int, now: float, *, other: bool = False) -> str:
    """The epoch of what `header` answers for; `held` and `revision` are what is held, or "" and 0.

    A cluster's first epoch is its id, so that it outlives restarts of the daemon. When revisions
    fall within one cluster (restored, or wiped: that keeps the id), or it is known to be `other` than what is
    held, `now`, seconds of the wall clock, makes a new one.
    """
    cluster = f"{header.cluster_id:x}"
    if held.partition("-")[0] != cluster:
        return cluster
    if other or header.revision < revision:
        return f"{cluster}-{int(now)}"
    return held


CATCH_UP_FACTOR = 2.0
CATCH_UP_LEAST = 2.0
"""Seconds."""


def catch_up_allowance(last_full_read: float) -> float:
    """Seconds that catching up may take before reading the range again is cheaper.

    A full read costs what the last one cost. Twice that, because a catch-up that is nearly done is better
    than a re-read begun; and a moment at least, because every resume begins with being a little behind.
    """
    return max(CATCH_UP_LEAST, CATCH_UP_FACTOR * last_full_read)
