"""Whether etcd goes on from what is held: asked before a stream is followed.

A watch alone would not tell. etcd accepts a start_revision in the future silently, and one that was wiped or
restored keeps its cluster's id, and may be past the revision held by now.
"""

from __future__ import annotations

from syncd.gateway import FutureRevision, Gateway, Header
from syncd.store import Store
from syncd.sync.decide import Lagging, OtherHistory, continues, other_history
from syncd.sync.slices import Slices


async def same_history(gateway: Gateway, store: Store, url: str, header: Header) -> None:
    """Return when `header`, with which a stream from `url` began, does not contradict what is held.

    Lagging when the member is behind what was seen, though the cluster is not; OtherHistory when that is,
    too: a linearizable read tells them apart.
    """
    epoch, held = store.epoch, store.revision
    if continues(header, epoch, held):
        return
    current = await gateway.revision(store.keys)
    if not continues(current, epoch, held):
        raise other_history(current, epoch, held)
    behind = f"at revision {header.revision}, but {held} was seen already"
    gateway.avoid(url, behind)
    raise Lagging(f"{url}: {behind}")


async def same_state(gateway: Gateway, store: Store, slices: Slices) -> None:
    """Return when etcd, at the revision held, had what is held, as far as a sample shows; else OtherHistory.

    Nothing may be newer than the newest that is held, there must be as many keys, and those that changed
    last, or are gone since, must be as they are here. It costs etcd a look at every key.
    """
    count, held, epoch, witnesses = store.count, store.revision, store.epoch, store.witnesses()
    newest = 0
    for block, _, _ in store.view().slices(store.keys):
        newest = max(newest, *block.mod_revisions())
        await slices.breath()
    try:
        sample = await gateway.sample(store.keys, list(witnesses), held, newest)
    except FutureRevision as error:
        raise OtherHistory(f"etcd has not come to revision {held} yet, but it was held: {error}") from error
    if sample.newer or (sample.count, sample.records) != (count, witnesses):
        raise other_history(sample.header, epoch, held)
