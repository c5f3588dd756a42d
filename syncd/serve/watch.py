"""`/v1/watch`: the changes of a prefix as they happen."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import suppress
from typing import Literal, cast

import orjson
from aiohttp import web

from syncd.records import Batch
from syncd.serve.context import Context
from syncd.serve.encode import Selection, packed, resync_line
from syncd.serve.errors import ApiError
from syncd.serve.freshness import age_ms, at_ms, headers, require
from syncd.serve.params import KEYS, READ, Params
from syncd.serve.readers import Readers
from syncd.serve.reads import accepts_packed, send_snapshot
from syncd.serve.source import Source
from syncd.serve.stream import EVENTS, NDJSON, PACKED, Lines
from syncd.store import Cursor, HistoryLost, Resync

DEFAULT_HEARTBEAT_MS = 5000
MIN_HEARTBEAT_MS = 100
MAX_HEARTBEAT_MS = 3_600_000

BATCHES = 256
"""Batches taken from the history at a time."""

_NAMES = (*READ, *KEYS, "from", "epoch", "snapshot", "prev_kv", "events", "heartbeat_ms")


async def watch(request: web.Request) -> web.StreamResponse:
    """Stream batches until the reader or the daemon goes away."""
    params = Params(request.rel_url.raw_query_string, _NAMES)
    only = cast("Literal['put', 'delete'] | None", params.choice("events", ("put", "delete")))
    selection = Selection(params.key_range(), prev_kv=params.flag("prev_kv"), only=only)
    heartbeat_ms = params.integer("heartbeat_ms", DEFAULT_HEARTBEAT_MS, MIN_HEARTBEAT_MS, MAX_HEARTBEAT_MS)
    with_snapshot = params.flag("snapshot")
    revision, epoch = _resume_point(request, params)
    if with_snapshot and params.text("from") is not None:
        raise ApiError("bad_request", "snapshot=true begins now: leave out from=, or the snapshot")
    if with_snapshot:
        revision = epoch = None  # a browser that comes back sends its Last-Event-ID, too
    context = Context.of(request)
    source = context.source(request, selection.keys)
    await _reach(context, source, params, revision, epoch)
    # No gap and no overlap, and what the headers say: all of it is taken at one moment.
    view, fields = source.store.view() if with_snapshot else None, headers(source)
    freshness = source.freshness()
    try:
        cursor = source.store.cursor(selection.keys, revision, epoch)
    except HistoryLost as error:
        raise ApiError("compacted", str(error), oldest_revision=error.oldest_revision) from error
    kind = EVENTS if EVENTS in request.headers.get("Accept", "") else NDJSON
    if view and kind is NDJSON and accepts_packed(request):
        kind = PACKED
    with Readers(context, request) as readers:
        readers.add()
        lines = await Lines.begin(request, fields, kind=kind)
        if view:
            encoded = packed if kind is PACKED else context.block_lines.of
            await send_snapshot(lines, view, freshness, selection.keys, encoded)
            await lines.flush()
            view = None  # it holds the whole state of that moment
        await _Watch(context, source, cursor, selection, heartbeat_ms / 1000, lines).run()
        return await lines.end()


async def _reach(
    context: Context, source: Source, params: Params, revision: int | None, epoch: str | None
) -> None:
    """Be fresh enough; a reader may have seen more, through its own writes, but only for a moment."""
    if revision is None:
        await require(context, source, params)
        return
    if epoch not in (None, source.store.epoch):
        await require(context, source, params)
        if not source.confirmed:
            # What the reader has may be the newer one: a copy on disk can be from before etcd was replaced.
            text = (
                f"another epoch than {epoch} is held here, and etcd has not confirmed yet which one it is in"
            )
            raise ApiError("too_stale", text)
        return
    try:
        await require(context, source, params, revision)
    except ApiError as error:
        if source.store.revision >= revision or error.code != "too_stale":
            raise
        if source.freshness()[0] != "live":
            raise  # the last moment before a crash is not on the disk: etcd will tell it again
        oldest = source.store.history.oldest_revision
        text = f"revision {revision} is yet to come here; was etcd restored to an older one? ({error})"
        raise ApiError("compacted", text, oldest_revision=oldest) from error


def _resume_point(request: web.Request, params: Params) -> tuple[int | None, str | None]:
    """`from` and `epoch`, or the `Last-Event-ID: <epoch>/<revision>` that a browser sends instead."""
    revision, epoch = params.optional_integer("from"), params.text("epoch")
    last = request.headers.get("Last-Event-ID")
    if last is None:
        if epoch is not None and revision is None:
            raise ApiError("bad_request", "epoch= goes with from=")
        return revision, epoch
    epoch, _, text = last.rpartition("/")
    if not (epoch and text.isascii() and text.isdigit() and len(text) < 20):
        raise ApiError("bad_request", f"Last-Event-ID {last!r}: expected <epoch>/<revision>")
    return int(text), epoch


class _Watch:
    """One reader: everything after its cursor, then whatever comes."""

    def __init__(
        self,
        context: Context,
        source: Source,
        cursor: Cursor,
        selection: Selection,
        heartbeat: float,
        lines: Lines,
    ) -> None:
        self._context = context
        self._source = source
        self._cursor = cursor
        self._selection = selection
        self._heartbeat = heartbeat
        self._lines = lines
        self._told_at = context.clock()

    async def run(self) -> None:
        """Until the daemon stops, or what the reader missed is no longer kept."""
        moved = asyncio.Event()
        unsubscribe = self._source.store.subscribe(moved.set)
        clock, closing = self._context.clock, self._context.closing
        try:
            while not closing.is_set():
                moved.clear()
                if await self._send_batches():
                    # Nothing of it may have been of interest, and then nothing above gave way to others.
                    await asyncio.sleep(0)
                elif (due := self._told_at + self._heartbeat - clock()) <= 0:
                    await self._send_progress()
                else:
                    with suppress(TimeoutError):
                        async with asyncio.timeout(due):
                            await moved.wait()
            while not self._cursor.at_end:
                await self._send_batches()
                await asyncio.sleep(0)
            await self._send_progress()
        except HistoryLost as error:
            refusal = ApiError("compacted", str(error), oldest_revision=error.oldest_revision)
            await self._lines.line(refusal.body())
        finally:
            unsubscribe()

    async def _send_batches(self) -> bool:
        """Whether there were any batches, and perhaps are more; not all of them make lines.

        False only when there is nothing more right now: what is said then of the store holds for the reader.
        """
        if self._cursor.behind:
            resync = self._cursor.resync()
            await self._send(resync, resync_line(resync, self._selection))
            return True
        batches = self._cursor.read(BATCHES)
        for batch in batches:
            await self._send(batch, self._context.batch_lines.of(batch, self._selection))
        await self._lines.flush()
        return bool(batches) or not self._cursor.at_end

    async def _send(self, batch: Batch | Resync, line: Iterator[bytes]) -> None:
        begun = False
        for number, piece in enumerate(line):
            if number:
                await asyncio.sleep(0)  # each further piece was work
            if piece and not begun:
                await self._lines.begin_line(f"{batch.epoch}/{batch.revision}")
                begun = True
            await self._lines.add(piece)
        if begun:
            await self._lines.end_line()

    async def _send_progress(self) -> None:
        state, age = self._source.freshness()
        revision = self._cursor.revision
        line = orjson.dumps(
            {
                "revision": revision,
                "progress": True,
                "state": state,
                "age_ms": age_ms(age),
                "at_ms": at_ms(),
            },
            option=orjson.OPT_APPEND_NEWLINE,
        )
        await self._lines.line(line, f"{self._cursor.epoch}/{revision}")
        await self._lines.flush()
        self._told_at = self._context.clock()
