"""Which keys were deleted lately: what the records alone cannot tell a reader that fell behind."""

from __future__ import annotations

from collections import OrderedDict

from syncd.records import Batch


class Graves:
    """The last `limit` deleted keys that do not exist again, with the sequence number of their batch."""

    def __init__(self, limit: int) -> None:
        self.floor = 0
        """Deletions of batches before this one may have been forgotten."""
        self._limit = limit
        # By deletion. A plain dict would look for its first key behind all those taken out before it.
        self._keys: OrderedDict[bytes, int] = OrderedDict()

    def note(self, batch: Batch, sequence: int) -> None:
        """Take in a batch, in order."""
        keys = self._keys
        if keys:
            for event in batch.events:
                keys.pop(event.kv.key, None)
        deleted = [event.kv.key for event in batch.events if event.deleted]
        for key in deleted[max(len(deleted) - self._limit, 0) :]:
            keys[key] = sequence
        if len(deleted) > self._limit:
            self.floor = sequence + 1
        while len(keys) > self._limit:
            _, at = keys.popitem(last=False)
            self.floor = max(self.floor, at + 1)

    def since(self, sequence: int) -> list[bytes]:
        """The keys deleted by the batches from `sequence` (at least `floor`) on."""
        found = []
        for key, at in reversed(self._keys.items()):
            if at < sequence:
                break
            found.append(key)
        return found
