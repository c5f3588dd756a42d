"""A range as it was, for those who read it page by page.

A view of an earlier revision costs as much as what happened since. Whoever reads half a million keys at one
revision asks for hundreds of pages, and others for the same one: so the last few views are kept. Others are
made in turns.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from weakref import WeakValueDictionary

from syncd.serve.budget import User
from syncd.serve.v3.errors import compacted, future
from syncd.serve.v3.turns import PATIENCE, Turns
from syncd.store import HistoryLost, Store, View

KEPT = 4
"""Views. What one takes beside the present one is bounded by the history, without which it is given up."""

FORGET_AFTER = 60.0
"""Seconds after which views that nobody asks for any more are given up."""

WAITING = 32
"""Views that may wait to be made; they are made one at a time."""


class Views:
    """The last few views of earlier revisions."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[Store, str, int], View] = OrderedDict()
        self._used = False
        self._timer: asyncio.TimerHandle | None = None
        self._turns = Turns(1, WAITING)
        self._making: WeakValueDictionary[tuple[Store, str, int, User], asyncio.Lock] = WeakValueDictionary()

    async def at(self, store: Store, revision: int, user: User = None) -> View:
        """The state at `revision`, 0 or less: now.

        EtcdError when that is too long ago, or yet to come, or when too many other ones are asked for.
        """
        if revision <= 0 or revision == store.revision:
            return store.view()
        _must_be_known(store, revision)
        if view := self._find(store, revision):
            return view
        until = asyncio.get_running_loop().time() + PATIENCE
        # Those who read the same pages need one place together: all but the first find what they want.
        making = self._making.setdefault((store, store.epoch, revision, user), asyncio.Lock())
        async with making:
            _must_be_known(store, revision)
            if view := self._find(store, revision):
                return view
            async with self._turns.turn(user, until):
                return await self._made(store, revision)

    async def _made(self, store: Store, revision: int) -> View:
        _must_be_known(store, revision)
        if view := self._find(store, revision):  # another user wanted it, too
            return view
        # It may take a fifth of a second, during which others go on.
        made = await asyncio.to_thread(store.past(revision))
        _must_be_known(store, revision)
        if made.epoch != store.epoch:
            raise compacted()
        self._keep(store, made)
        return made

    def _find(self, store: Store, revision: int) -> View | None:
        what = store, store.epoch, revision
        if (view := self._kept.get(what)) is not None:
            self._used = True
            self._kept.move_to_end(what)
        return view

    def _keep(self, store: Store, view: View) -> None:
        self._kept[store, view.epoch, view.revision] = view
        while len(self._kept) > KEPT:
            self._kept.popitem(last=False)
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(FORGET_AFTER, self._forget)

    def _forget(self) -> None:
        for store, epoch, revision in list(self._kept):
            if not self._used or epoch != store.epoch or not _is_kept(store, revision):
                del self._kept[store, epoch, revision]
        self._used = False
        self._timer = None
        if self._kept:
            self._timer = asyncio.get_running_loop().call_later(FORGET_AFTER, self._forget)


def _must_be_known(store: Store, revision: int) -> None:
    if revision > store.revision:
        raise future()
    if not _is_kept(store, revision):
        raise compacted()


def _is_kept(store: Store, revision: int) -> bool:
    try:
        store.history.sequence_after(revision)
    except HistoryLost:
        return False
    return True
