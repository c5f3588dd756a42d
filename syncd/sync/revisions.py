"""The events of a watch, put together into whole revisions. Pure.

etcd packs many revisions into one document, and with `fragment` splits even one revision over several.
All changes of a revision must become visible together, so the newest revision is held back as long
as the documents say that more of it may follow.
"""

from __future__ import annotations

from collections.abc import Sequence

from syncd.errors import SyncdError
from syncd.records import Event


class Disordered(SyncdError):
    """The stream's events go back in revision: nothing after that can be believed."""


HELD_LIMIT = 1 << 30
"""Bytes of one revision, far more than etcd makes of a transaction: one that never ends must not fill the
memory."""

EVENT_BYTES = 150
"""What an event costs beside its key and value."""


class Revisions:
    """Events in, complete revisions out; `after` is the revision that the watch follows on."""

    def __init__(self, after: int) -> None:
        self._newest = after
        self._held: list[Event] = []
        self._held_bytes = 0

    def add(self, events: Sequence[Event], *, fragment: bool) -> list[tuple[int, list[Event]]]:
        """The revisions that a document completes, in order; `fragment`: more of its last one may follow."""
        complete: list[tuple[int, list[Event]]] = []
        for event in events:
            revision = event.kv.mod_revision
            if revision < self._newest or (revision == self._newest and not self._held):
                raise Disordered(f"an event of revision {revision} came after revision {self._newest}")
            if revision > self._newest:
                self._complete(complete)
                self._newest = revision
            self._held.append(event)
            self._held_bytes += EVENT_BYTES + len(event.kv.key) + len(event.kv.value)
            if self._held_bytes > HELD_LIMIT:
                raise Disordered(f"revision {revision} has more than {HELD_LIMIT} bytes and no end")
        if not fragment:
            self._complete(complete)
        return complete

    def _complete(self, complete: list[tuple[int, list[Event]]]) -> None:
        if self._held:
            complete.append((self._newest, self._held))
            self._held, self._held_bytes = [], 0
