"""One full read: paged, pinned to one revision, two parts of the range side by side.

The next pages are always on their way before those that came are decoded. The state is built in key order: of
the part at the front each page is taken in at once, parts behind it wait as blocks, which are as
small as they will be in the end.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from syncd.gateway import AnswerTooLong, Gateway, Header, MalformedAnswer, MessageTooLarge, Page
from syncd.keyrange import KeyRange
from syncd.store import Block, Rebuild, cut
from syncd.sync.pager import Pager, PageRequest, Part
from syncd.sync.slices import Slices
from syncd.sync.tasks import plain_errors

SIDE_BY_SIDE = 2
"""Requests under way. One leaves etcd's cores idle in turns: 500,000 keys took 1.3 times as long. More
would only take etcd's time from others."""

SLICE_KEYS = 512
"""Keys decoded and compared at a time, 1 to 2 ms; whole blocks."""

PAGE_MOST = 6
"""Times `page_bytes` that a page's JSON may be. Sizes are guessed from the keys before; a page that is far
off is not read to its end, but asked for in smaller ones. A single key may be as large as it is."""

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
    first = pager.parts[0]
    page = await _fetch(gateway, pager, _request(first), 0)
    reading = _Reading(pager, page.header.cluster_id, begin(page.header), progress, slices)
    fetches: dict[asyncio.Task[Page], Part] = {}
    with plain_errors():
        async with asyncio.TaskGroup() as group:

            def refill() -> None:
                free = SIDE_BY_SIDE - len(fetches)
                waiting = [p for p in pager.parts if p.request and p not in fetches.values()]
                for part in waiting[:free]:
                    fetch = _fetch(gateway, pager, _request(part), reading.rebuild.revision)
                    fetches[group.create_task(fetch, name=f"page of {keys.name}")] = part

            reading.answered(first, page)
            refill()
            await reading.take_in(first, page)
            while fetches:
                done, _ = await asyncio.wait(fetches, return_when=asyncio.FIRST_COMPLETED)
                slices.rested()
                answers = [(fetches.pop(task), task.result()) for task in done]
                for part, page in answers:
                    reading.answered(part, page)
                refill()
                await asyncio.sleep(0)  # so that the requests are on their way before the decoding begins
                for part, page in answers:
                    await reading.take_in(part, page)
    reading.rebuild.end()
    await reading.compare()
    return reading.rebuild


class _Reading:
    """What has come in so far."""

    def __init__(
        self,
        pager: Pager,
        cluster_id: int,
        rebuild: Rebuild,
        progress: Callable[[int, int], None],
        slices: Slices,
    ) -> None:
        self._cluster_id = cluster_id
        self.rebuild = rebuild
        self._pager = pager
        self._progress = progress
        self._slices = slices
        self._keys = 0
        self._front = 0
        self._waiting: dict[Part, list[Block]] = {}
        self._complete: set[Part] = set()

    def answered(self, part: Part, page: Page) -> None:
        """Plan what to ask for after `page`."""
        if page.header.cluster_id != self._cluster_id:
            # The same revision there is another state: endpoints of two clusters, or one that was replaced.
            raise MalformedAnswer(page.url, "a page of another cluster than the first page's")
        if page.more and not len(page):
            raise MalformedAnswer(page.url, "a page without keys says that there are more")
        self._pager.answered(
            part,
            keys=len(page),
            first_key=page.key(0) if len(page) else b"",
            last_key=page.key(-1) if len(page) else b"",
            count=page.count,
            # base64 makes 4 bytes of 3
            weight=max((page.size - JSON_KEY * len(page)) * 3 // 4, 0) + GRPC_KEY * len(page),
            more=page.more,
        )

    async def take_in(self, part: Part, page: Page) -> None:
        """Decode `page`, and put it where it belongs."""
        for start in range(0, len(page), SLICE_KEYS):
            records = page.records(start, start + SLICE_KEYS)
            if part is self._pager.parts[self._front]:
                self.rebuild.add(records)
                await self.compare()
            else:
                self._waiting.setdefault(part, []).extend(cut(records))
            await self._slices.breath()
        if part.request is None:
            self._complete.add(part)
        self._keys += len(page)
        self._progress(self._keys, self._pager.total or 0)
        await self._advance()

    async def _advance(self) -> None:
        """Take in what waited behind the front part once that is complete."""
        parts = self._pager.parts
        while parts[self._front] in self._complete and self._front + 1 < len(parts):
            self._front += 1
            for block in self._waiting.pop(parts[self._front], ()):
                self.rebuild.add_block(block)
                await self.compare()
                await self._slices.breath()

    async def compare(self) -> None:
        """Compare what came with what is held."""
        while self.rebuild.step():
            await self._slices.breath()


def _request(part: Part) -> PageRequest:
    if part.request is None:
        raise ValueError("this part is complete")
    return part.request


async def _fetch(gateway: Gateway, pager: Pager, request: PageRequest, revision: int) -> Page:
    limit = request.limit
    while True:
        try:
            if limit == 1:
                return await gateway.range_page(request.keys, limit=limit, revision=revision)
            most = PAGE_MOST * pager.page_bytes
            return await gateway.range_page(request.keys, limit=limit, revision=revision, most=most)
        except MessageTooLarge as error:
            if limit == 1:
                raise  # a single key that etcd's own gateway cannot deliver
            limit = pager.too_large(limit, refused=not isinstance(error, AnswerTooLong))
