"""What the store refuses: it takes nothing that contradicts what it holds."""

from __future__ import annotations

from syncd.errors import SyncdError


class StoreError(SyncdError):
    """Base of the store's errors."""


class OutOfOrder(StoreError):
    """What came is in an order, or has keys, that etcd never sends: the source is not to be believed."""


class Contradiction(StoreError):
    """An event does not follow from what is held: one before it was lost, the range must be read again."""


class Rewritten(StoreError):
    """A key was already so at a revision that is held, where it is not so: this is another history."""


class HistoryLost(StoreError):
    """The past asked for is no longer kept; `oldest_revision` is the oldest one that can be resumed from."""

    def __init__(self, revision: int, oldest_revision: int) -> None:
        super().__init__(
            f"the changes after revision {revision} are no longer kept; the oldest revision to resume from "
            f"is {oldest_revision}"
        )
        self.oldest_revision = oldest_revision
