"""What all requests share."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from aiohttp import web

from syncd.keyrange import KeyRange
from syncd.serve.encode import BatchLines, BlockLines
from syncd.serve.source import Source, Sources
from syncd.status import CacheStatus, EtcdStatus


@dataclass
class Context:
    """The server's own state, and where its answers come from."""

    sources: Sources
    etcd: Callable[[], EtcdStatus]
    clock: Callable[[], float]
    version: str
    started: float
    caches: Callable[[], Mapping[KeyRange, CacheStatus]] = dict
    """The copies on disk of those ranges that have one."""
    block_lines: BlockLines = field(default_factory=BlockLines)
    batch_lines: BatchLines = field(default_factory=BatchLines)
    readers: int = 0
    """Watches that are open."""
    closing: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when the daemon stops: streams end themselves properly."""

    @staticmethod
    def of(request: web.Request) -> Context:
        """The context of the application that got `request`."""
        return request.app[CONTEXT]

    def source(self, request: web.Request, keys: KeyRange) -> Source:
        """The range that covers `keys`, remembered for the headers of whatever the answer will be."""
        source = self.sources.covering(keys)
        request[SOURCE] = source
        return source


CONTEXT = web.AppKey("context", Context)
SOURCE = web.RequestKey("source", Source)
