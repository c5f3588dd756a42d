"""All that a store needs to go on where another one ended."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from syncd.records import Batch, Record
from syncd.store.blocks import Block, Changes


class Image(msgspec.Struct, frozen=True, kw_only=True):
    """A store's state at `revision`, made of `blocks` and what changed since.

    `blocks` are in key order, and hold at least all changes up to `base_revision`, some of them later ones.
    """

    epoch: str
    revision: int
    changed_revision: int
    changed_keys: Sequence[bytes]
    """Those that changed last, oldest first."""
    count: int
    """Keys in all, as a check."""
    blocks: Sequence[Block]
    base_revision: int
    batches: Sequence[Batch]
    """All after `oldest_revision`, in order; at least all after `base_revision`."""
    oldest_revision: int
    """What readers can resume from."""

    def changes(self) -> Changes:
        """What is to be made of `blocks`: it does not matter if it is there already."""
        new: dict[bytes, Record | None] = {}
        for batch in self.batches:
            if batch.revision > self.base_revision:
                for event in batch.events:
                    new[event.kv.key] = None if event.deleted else event.kv
        return sorted(new.items())
