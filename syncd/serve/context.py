"""What all requests share."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from weakref import WeakKeyDictionary

from aiohttp import web

from syncd.keyrange import KeyRange
from syncd.serve.access import EVERYTHING, Access, Rights
from syncd.serve.budget import Budget
from syncd.serve.encode import BatchLines, BlockLines
from syncd.serve.errors import ApiError
from syncd.serve.peer import peer_of, user_of
from syncd.serve.places import SLOW, WATCHES, Places
from syncd.serve.source import Source, Sources
from syncd.serve.tally import Tally
from syncd.serve.v3.ordering import Sorting
from syncd.serve.v3.results import events
from syncd.serve.v3.upstream import Upstream
from syncd.serve.v3.views import Views
from syncd.status import CacheStatus, EtcdStatus

BODIES = 64 << 20
"""Bytes of all requests in etcd's own API that are under way."""


@dataclass
class Context:
    """The server's own state, and where its answers come from."""

    sources: Sources
    etcd: Callable[[], EtcdStatus]
    upstream: Upstream
    clock: Callable[[], float]
    version: str
    started: float
    caches: Callable[[], Mapping[KeyRange, CacheStatus]] = dict
    """The copies on disk of those ranges that have one."""
    access: Access = field(default_factory=Access)
    """Who may read which keys."""
    write_through: bool = False
    """Whether writes are passed on to etcd."""
    listen: str | None = None
    """The address and port of the second listener."""
    block_lines: BlockLines = field(default_factory=BlockLines)
    batch_lines: BatchLines = field(default_factory=BatchLines)
    views: Views = field(default_factory=Views)
    sorting: Sorting = field(default_factory=Sorting)
    bodies: Budget = field(default_factory=partial(Budget, BODIES))
    batch_events: BatchLines = field(default_factory=partial(BatchLines, events))
    """The same for etcd's own API."""
    tally: Tally = field(init=False)
    """Of what the log is told."""
    watches: Places = field(init=False)
    slow: Places = field(init=False)
    """For connections whose reader does not take just now what is written."""
    closing: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when the daemon stops: streams end themselves properly."""
    _rights: WeakKeyDictionary[asyncio.BaseTransport, Rights] = field(default_factory=WeakKeyDictionary)
    """Of the open connections: who is at the other end does not change."""

    def __post_init__(self) -> None:
        self.tally = Tally(self.clock)
        self.watches = Places(WATCHES, self.tally, "watches refused")
        self.slow = Places(SLOW, self.tally, "slow readers cut")

    @property
    def readers(self) -> int:
        """Watches that are open."""
        return self.watches.taken

    @staticmethod
    def of(request: web.Request) -> Context:
        """The context of the application that got `request`."""
        return request.app[CONTEXT]

    def source(self, request: web.Request, keys: KeyRange) -> Source:
        """The range that covers `keys`, remembered for the headers of whatever the answer will be.

        Every way to read goes through here. ApiError forbidden, which tells nothing of what is there, or
        not_mirrored.
        """
        if not self.rights(request).allow(keys):
            raise ApiError("forbidden", f"serve.access does not let you read all of {keys.name!r}")
        source = self.sources.covering(keys)
        request[SOURCE] = source
        return source

    def sees(self, request: web.Request, source: Source) -> bool:
        """Whether whoever asks may read all keys of `source`."""
        return self.rights(request).allow(source.store.keys)

    def visible(self, request: web.Request) -> list[Source]:
        """The ranges all of whose keys may be read by whoever asks."""
        return [source for source in self.sources if self.sees(request, source)]

    def sees_all(self, request: web.Request) -> bool:
        """Whether whoever asks may read all that is mirrored, and so may be told of etcd, too."""
        return all(self.sees(request, source) for source in self.sources)

    def user(self, request: web.Request) -> int | None:
        """The uid of whoever asks; None through TCP."""
        if request.transport is None:
            raise ConnectionResetError("whoever asked is gone")
        return user_of(request.transport.get_extra_info("socket"))

    def rights(self, request: web.Request) -> Rights:
        """What may be read by whoever asks."""
        if request.transport is None:
            raise ConnectionResetError("whoever asked is gone")
        return self.rights_of(request.transport)

    def rights_of(self, transport: asyncio.BaseTransport) -> Rights:
        """What may be read by whoever is at the other end of a connection."""
        if self.access.unlimited:
            return EVERYTHING
        rights = self._rights.get(transport)
        if rights is None:
            rights = self._rights[transport] = self.access.rights(peer_of(transport))
        return rights


CONTEXT = web.AppKey("context", Context)
SOURCE = web.RequestKey("source", Source)
