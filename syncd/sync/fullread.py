"""One full read: paged, pinned to one revision, the next page under way while this one is taken in."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from syncd.gateway import Gateway, Header, MalformedAnswer, MessageTooLarge, Page
from syncd.keyrange import KeyRange
from syncd.store import Rebuild
from syncd.sync.pager import Pager, PageRequest
from syncd.sync.slices import Slices

SLICE_KEYS = 500
"""Keys decoded and compared at a time, 1 to 2 ms."""

JSON_KEY = 85
GRPC_KEY = 25
"""Bytes around key and value: names and numbers in the gateway's JSON, tags and numbers in gRPC."""


async def full_read(
    gateway: Gateway,
    keys: KeyRange,
    page_bytes: int,
    begin: Callable[[Header], Rebuild],
    progress: Callable[[int, int], None],
    slices: Slices,
) -> Rebuild:
    """Read all of `keys` at one revision; GatewayError or StoreError when that fails.

    `begin` is given the first answer's header, and says what to build the state in; `progress` is
    told keys read and keys in all. Compacted means that the revision went away underneath: begin again.
    """
    pager = Pager(keys, page_bytes)
    page = await _fetch(gateway, pager, pager.first(), 0)
    rebuild = begin(page.header)
    while True:
        request = _next(pager, page)
        with _plain_errors():
            async with asyncio.TaskGroup() as group:
                following = None
                if request is not None:
                    fetch = _fetch(gateway, pager, request, rebuild.revision)
                    following = group.create_task(fetch, name=f"page of {keys.name}")
                    await asyncio.sleep(0)  # so that it is on its way before the decoding begins
                for start in range(0, len(page), SLICE_KEYS):
                    rebuild.add(page.records(start, start + SLICE_KEYS))
                    await slices.breath()
                progress(rebuild.count, pager.total or 0)
        if following is None:
            rebuild.finish()
            return rebuild
        page = following.result()
        slices.rested()


def _next(pager: Pager, page: Page) -> PageRequest | None:
    if page.more and not len(page):
        raise MalformedAnswer(page.url, "a page without keys says that there are more")
    weight = max((page.size - JSON_KEY * len(page)) * 3 // 4, 0) + GRPC_KEY * len(page)  # base64 is 4 for 3
    last = page.last_key() if len(page) else b""
    return pager.after(len(page), last, page.count, weight, more=page.more)


async def _fetch(gateway: Gateway, pager: Pager, request: PageRequest, revision: int) -> Page:
    limit = request.limit
    while True:
        try:
            return await gateway.range_page(request.keys, limit=limit, revision=revision)
        except MessageTooLarge:
            if limit == 1:
                raise  # a single key that etcd's own gateway cannot deliver
        limit = pager.too_large(limit)


@contextmanager
def _plain_errors() -> Iterator[None]:
    """A task group wraps what its tasks raise; whoever decides what to do wants the error itself."""
    try:
        yield
    except BaseExceptionGroup as group:
        raise group.exceptions[0] from None
