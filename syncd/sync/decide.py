"""What a failure means: resume the watch or read the range again; when histories are different ones. Pure."""

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
from syncd.store import Rewritten, StoreError
from syncd.sync.guard import Shrunk
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

    @property
    def about_token(self) -> bool:
        """Whether a fresh token may be all it needs; before 3.5.6 a watch calls that "permission denied"."""
        return self.reason in ("auth", "permission_denied")


_REREAD: dict[type[SyncdError], str] = {
    Compacted: "compacted",
    OtherHistory: "epoch",
    Rewritten: "epoch",
    Overtaken: "behind",
    StoreError: "contradiction",
    Shrunk: "held",
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


def continues(header: Header, epoch: str, revision: int) -> bool:
    """Whether what `header` answers for can be a continuation of `epoch`, of which `revision` was seen."""
    return epoch.partition("-")[0] == f"{header.cluster_id:x}" and header.revision >= revision


def new_epoch(header: Header, now: float) -> str:
    """A name for the history that `header` answers for; `now` is seconds of the wall clock.

    The cluster's id alone would not do: a wiped or restored etcd keeps it, and a daemon that was restarted
    meanwhile cannot know.
    """
    return f"{header.cluster_id:x}-{int(now * 1000):x}"


def other_history(header: Header, epoch: str, revision: int) -> OtherHistory:
    """What to raise when `header` does not continue what is held."""
    return OtherHistory(
        f"cluster {header.cluster_id:x} at revision {header.revision} does not continue "
        f"{epoch} at revision {revision}; was etcd wiped, restored or replaced?"
    )


CATCH_UP_FACTOR = 2.0
CATCH_UP_LEAST = 2.0
"""Seconds."""


def catch_up_allowance(last_full_read: float) -> float:
    """Seconds that catching up may take before reading the range again is cheaper.

    A full read costs what the last one cost. Twice that, because a catch-up that is nearly done is better
    than a re-read begun; and a moment at least, because every resume begins with being a little behind.
    """
    return max(CATCH_UP_LEAST, CATCH_UP_FACTOR * last_full_read)
