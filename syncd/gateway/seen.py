"""What was seen of etcd so far, and what that says of a member that tells of itself. Pure.

A watch may be opened on any member, also on one that has lost the others or is behind them; so before an
endpoint is trusted again, its own word (maintenance/status) is held against what was seen. What is
expected comes from linearizable answers: when those change their cluster, or go back (etcd was wiped
or restored), everybody did, and what was seen before no longer counts.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

from syncd.gateway.messages import Header, StatusAnswer

LAG_PATIENCE = 5.0
"""Seconds after which a member that is well has what was seen elsewhere."""


@dataclass(frozen=True, slots=True)
class Expected:
    """What a member must have at least, zeros when nothing was seen yet."""

    cluster_id: int = 0
    revision: int = 0
    raft_term: int = 0


class Seen:
    """The newest that any answer told of the cluster. Times are seconds of any one clock."""

    def __init__(self) -> None:
        self.newest = Expected()
        self._due = 0
        """The revision seen LAG_PATIENCE ago or longer."""
        self._becoming_due = 0
        """The revision seen when `_due` was last renewed."""
        self._renewed = -inf

    def expected(self, now: float) -> Expected:
        """What a member that is asked now must have: the cluster and its term, and not too old a revision."""
        self._renew(now)
        return Expected(self.newest.cluster_id, self._due, self.newest.raft_term)

    def told(self, header: Header, now: float) -> None:
        """A stream or a member itself tells where it is: that much there is, if not more."""
        self._renew(now)
        newest = self.newest
        if header.cluster_id == newest.cluster_id and (
            header.revision > newest.revision or header.raft_term > newest.raft_term
        ):
            revision = max(header.revision, newest.revision)
            self.newest = Expected(newest.cluster_id, revision, max(header.raft_term, newest.raft_term))

    def proved(self, header: Header, before: Expected, now: float) -> bool:
        """A linearizable answer; `before`: the newest when it was asked. Whether history is another one."""
        if (
            header.cluster_id == self.newest.cluster_id
            and header.revision >= before.revision
            and header.raft_term >= before.raft_term
        ):
            self.told(header, now)
            return False
        # Within one history it goes back neither in revision nor in term: this is another one.
        known = bool(self.newest.cluster_id)
        self.newest = Expected(header.cluster_id, header.revision, header.raft_term)
        self._due = self._becoming_due = 0
        self._renewed = now
        return known

    def _renew(self, now: float) -> None:
        idle = now - self._renewed
        if idle >= LAG_PATIENCE:
            self._due = self._becoming_due if idle < 2 * LAG_PATIENCE else self.newest.revision
            self._becoming_due = self.newest.revision
            self._renewed = now


def unfit(status: StatusAnswer, expected: Expected) -> str | None:
    """Why the member that told `status` should not be asked; None when it is well."""
    header = status.header
    if expected.cluster_id and header.cluster_id != expected.cluster_id:
        return f"it belongs to cluster {header.cluster_id:x}, not to {expected.cluster_id:x}"
    if not status.leader:
        return "it has no leader"
    if status.is_learner:
        return "it is a learner"
    if header.raft_term < expected.raft_term:
        return f"it lags: at raft term {header.raft_term}, but {expected.raft_term} was seen already"
    if header.revision < expected.revision:
        return f"it lags: at revision {header.revision}, but {expected.revision} was seen already"
    return None
