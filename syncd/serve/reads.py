"""`/v1/value` and `/v1/snapshot`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

from aiohttp import web

from syncd.keyrange import KeyRange
from syncd.records import Record
from syncd.serve.context import Context
from syncd.serve.encode import end_line, head_line, key_lines, packed, record_json, record_pieces
from syncd.serve.errors import ApiError
from syncd.serve.freshness import age_ms, headers, require
from syncd.serve.params import KEY, KEYS, READ, Params
from syncd.serve.source import Source
from syncd.serve.stream import CHUNK, NDJSON, PACKED, Lines, in_pieces, whole
from syncd.status import State
from syncd.store import Block, View


async def value(request: web.Request) -> web.StreamResponse:
    """One key: its value's bytes, or with `Accept: application/json` the whole record."""
    params = Params(request.rel_url.raw_query_string, (*READ, *KEY))
    key = params.key()
    context = Context.of(request)
    source = context.source(request, KeyRange(key))
    await require(context, source, params)
    record = source.store.get(key)
    if record is None:
        raise ApiError("not_found", f"no such key: {key.decode('utf-8', 'backslashreplace')!r}")
    fields = headers(source)
    fields["ETag"] = tag = etag(source, record.mod_revision)
    if _matches(request, tag):
        return web.Response(status=304, headers=fields)
    fields |= record_headers(record)
    if "application/json" in request.headers.get("Accept", ""):
        if len(record.value) > CHUNK and request.method != "HEAD":
            # Made twice, once for its size: that takes a millisecond or two, but no memory while it is read.
            size = sum(map(len, record_pieces(record)))
            return await in_pieces(request, fields, "application/json", size, record_pieces(record))
        return await whole(request, fields, "application/json", record_json(record))
    return await whole(request, fields, "application/octet-stream", record.value)


def record_headers(record: Record) -> dict[str, str]:
    """What the headers of an answer that is a value tell of the rest."""
    return {
        "Syncd-Create-Revision": str(record.create_revision),
        "Syncd-Mod-Revision": str(record.mod_revision),
        "Syncd-Version": str(record.version),
        "Syncd-Lease": str(record.lease),
        "Vary": "Accept",
    }


async def snapshot(request: web.Request) -> web.StreamResponse:
    """All keys of a prefix at one revision, as lines."""
    params = Params(request.rel_url.raw_query_string, (*READ, *KEYS, "keys_only"))
    keys = params.key_range()
    keys_only = params.flag("keys_only")
    context = Context.of(request)
    source = context.source(request, keys)
    await require(context, source, params)
    fields = headers(source)
    # Which change was the last is not for those from whom the changed key is kept.
    store = source.store
    changed = store.changed_revision if context.sees(request, source) else store.revision
    fields |= {"ETag": (tag := etag(source, changed)), "Vary": "Accept"}
    if _matches(request, tag):
        return web.Response(status=304, headers=fields)
    view, freshness = source.store.view(), source.freshness()
    wants_packed = accepts_packed(request) and not keys_only
    lines = await Lines.begin(request, fields, kind=PACKED if wants_packed else NDJSON)
    encoded = key_lines if keys_only else packed if wants_packed else context.block_lines.of
    await send_snapshot(lines, view, freshness, keys, encoded)
    return await lines.end()


def accepts_packed(request: web.Request) -> bool:
    """Whether records may come as packed blocks."""
    return PACKED in request.headers.get("Accept", "")


async def send_snapshot(
    lines: Lines,
    view: View,
    freshness: tuple[State, float | None],
    keys: KeyRange,
    encoded: Callable[[Block, int, int], Iterable[bytes]],
) -> None:
    """The lines of `keys` in `view`, which is as fresh as told; `encoded` makes them of a part of a block."""
    slices = view.slices(keys)
    count = sum(high - low for _, low, high in slices)
    state, age = freshness
    await lines.line(head_line(view, count, state, age_ms(age)))
    for block, low, high in slices:
        for piece in encoded(block, low, high):
            await lines.lines(piece)
        # Writing into a buffer that has room does not give way to others, and encoding is work.
        await asyncio.sleep(0)
    await lines.line(end_line(count))


def etag(source: Source, revision: int) -> str:
    """The revision, and the epoch: in another one, the same revision may be another state."""
    return f'"{revision}-{source.store.epoch}"'


def _matches(request: web.Request, tag: str) -> bool:
    """Whether If-None-Match names `tag`."""
    given = request.headers.get("If-None-Match")
    if given is None:
        return False
    return given.strip() == "*" or tag in {each.strip().removeprefix("W/") for each in given.split(",")}
