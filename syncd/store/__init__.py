"""The store: keys, revisions, history, readers' places. Pure: no I/O, no clock, no asyncio.

store     the mirror of one range: apply, rebuild and commit, views
blocks    the records as a sorted sequence of immutable blocks
rebuild   a full read compared with what is held
image     what a store needs to go on where another one ended
history   the last batches;  graves: the last deleted keys
cursor    a reader's place in the changes
"""

from syncd.store.blocks import Block, Columns, Packed, cut
from syncd.store.cursor import Cursor, Resync
from syncd.store.errors import Contradiction, HistoryLost, OutOfOrder, Rewritten, StoreError
from syncd.store.image import Image
from syncd.store.rebuild import Rebuild
from syncd.store.store import Store, View

__all__ = [
    "Block",
    "Columns",
    "Contradiction",
    "Cursor",
    "HistoryLost",
    "Image",
    "OutOfOrder",
    "Packed",
    "Rebuild",
    "Resync",
    "Rewritten",
    "Store",
    "StoreError",
    "View",
    "cut",
]
