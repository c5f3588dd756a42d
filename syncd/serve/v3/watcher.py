"""One watch of a stream: which changes it still has to tell. Pure."""

from __future__ import annotations

from syncd.keyrange import KeyRange
from syncd.records import Batch
from syncd.serve.encode import Selection
from syncd.serve.source import Source
from syncd.serve.v3.errors import Code, EtcdError
from syncd.serve.v3.requests import CreateRequest, FilterType
from syncd.store import Cursor, HistoryLost

NOTHING = KeyRange(b"")
"""An interval without keys: etcd has no empty one."""


class CompactedError(Exception):
    """What the watch was to tell next is no longer known. `revision`: where another one may start."""

    def __init__(self, revision: int) -> None:
        super().__init__(f"the changes before revision {revision} are no longer kept")
        self.revision = revision


class Watcher:
    """The changes of `keys` in `source`, as `request` wants them.

    `held`: whose changes the client has, though it asks for them; etcd would tell them again.
    """

    def __init__(
        self, source: Source, keys: KeyRange, request: CreateRequest, watch_id: int, held: int = 0
    ) -> None:
        self.watch_id = watch_id
        self.source = source
        self.selection = selection(keys, request)
        self.fragment = request.fragment
        self.progress_notify = request.progress_notify
        self.quiet = False
        """Whether nothing was told since this was last set."""
        self._keys = keys
        start = request.start_revision
        self._after = start if start == held else start - 1
        self._epoch = source.store.epoch
        self._cursor: Cursor | None = None if start else source.store.cursor(keys)

    @property
    def at_end(self) -> bool:
        """Whether there is nothing to read now: all up to `revision` was told, or is before its start."""
        store = self.source.store
        if store.epoch != self._epoch:
            return False
        return store.revision < self._after if self._cursor is None else self._cursor.at_end

    @property
    def revision(self) -> int:
        """Everything up to this revision was read."""
        return self.source.store.revision if self._cursor is None else self._cursor.revision

    def read(self, limit: int) -> list[Batch]:
        """The next batches, `limit` at most; none when there are no more now.

        CompactedError when there is a gap, and EtcdError when etcd was replaced: what the client holds then
        is of another history, which it finds out when it connects again.
        """
        store = self.source.store
        if store.epoch != self._epoch:
            raise EtcdError(Code.UNAVAILABLE, "syncd: etcd was replaced or restored; begin anew")
        try:
            if self._cursor is None:
                if store.revision < self._after:
                    return []  # yet to come: etcd is silent until then
                self._cursor = store.cursor(self._keys, self._after)
            if self._cursor.behind:
                raise CompactedError(store.history.oldest_revision + 1)
            batches = self._cursor.read(limit)
        except HistoryLost as error:
            raise CompactedError(error.oldest_revision + 1) from error
        for batch in batches:
            if batch.resync:  # from the state after it, nothing is missing
                raise CompactedError(batch.revision + 1)
        return batches


def selection(keys: KeyRange, request: CreateRequest) -> Selection:
    """Which events `request` wants. Filters that nobody knows filter nothing, as in etcd."""
    no_put, no_delete = (kind in request.filters for kind in (FilterType.NOPUT, FilterType.NODELETE))
    if no_put and no_delete:
        return Selection(NOTHING)
    return Selection(keys, request.prev_kv, "delete" if no_put else "put" if no_delete else None)
