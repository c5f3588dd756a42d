"""kv/range, and kv/txn of reads alone: from memory, or after asking etcd where it is."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import orjson
from aiohttp import web
from aiohttp.typedefs import Handler

from syncd.serve.context import Context
from syncd.serve.errors import ApiError
from syncd.serve.freshness import etcd_revision, headers, must_be_ready, reach
from syncd.serve.source import Source
from syncd.serve.stream import CHUNK, Lines
from syncd.serve.v3 import txn
from syncd.serve.v3.body import read_body
from syncd.serve.v3.errors import Code, EtcdError, compacted, future
from syncd.serve.v3.messages import decode, header
from syncd.serve.v3.ranges import RangeRequest, Selection
from syncd.store import View

DEADLINE = 7.0
"""Seconds in which a linearizable read must know where etcd is, and be there: etcd's own, by default."""

ORDERED = 1 << 20
"""Keys that a transaction may have sorted: where each of them comes is kept until all is answered."""


async def range_(request: web.Request) -> web.StreamResponse:
    """kv/range."""
    asked = decode(RangeRequest, await read_body(request))
    keys = asked.keys()
    context = Context.of(request)
    source = context.source(request, keys)
    await _current(context, source, serializable=asked.serializable)
    user = context.user(request)
    selection = Selection(await context.views.at(source.store, asked.revision, user), asked)
    head = _header(context, source)
    await context.sorting.sort(selection, user)
    return await _send(request, source, selection.pieces(head))


async def txn_reads(request: web.Request, asked: txn.TxnRequest) -> web.StreamResponse:
    """The answer to a transaction of which `txn.writes` says that it does not.

    All that it names must lie in one mirrored range, as each range has a revision of its own.
    """
    txn.check(asked)
    context = Context.of(request)
    sources = [context.source(request, keys) for keys in txn.intervals(asked)]
    if not (sources := sources or context.visible(request)[:1]):
        raise EtcdError(Code.FAILED_PRECONDITION, "syncd: a transaction that names no key is about no range")
    if any(source is not sources[0] for source in sources):
        raise EtcdError(
            Code.FAILED_PRECONDITION,
            "syncd: a transaction must lie in one mirrored range: each has a revision of its own",
        )
    source = sources[0]
    await _current(context, source, serializable=txn.serializable(asked))
    view, head = source.store.view(), _header(context, source)
    outcome = await txn.outcome(asked, view)
    own = orjson.dumps({"revision": str(view.revision)})
    answers: list[Iterator[bytes]] = []
    ordered = 0
    for read in outcome.reads():
        at = await _at(request, source, view, read.revision)
        if not read.sorts:
            answers.append(_in_turn(at, read, own))
            continue
        selection = Selection(at, read)
        await context.sorting.sort(selection, context.user(request))
        answers.append(selection.pieces(own))
        ordered += len(selection.order or ())
        if ordered > ORDERED:
            raise EtcdError(Code.RESOURCE_EXHAUSTED, f"syncd: a transaction may sort {ORDERED} keys at most")
        await asyncio.sleep(0)
    return await _send(request, source, outcome.pieces(head, iter(answers)))


def _in_turn(view: View, read: RangeRequest, head: bytes) -> Iterator[bytes]:
    """The JSON of what is selected only when its turn comes, after others had theirs."""
    yield b""
    yield from Selection(view, read).pieces(head)


async def _at(request: web.Request, source: Source, view: View, revision: int) -> View:
    """The state at `revision`, as it is asked for in a transaction that sees `view`."""
    if revision > view.revision:
        raise future()
    if revision < -1:  # seen: what etcd's kv/range takes for now is refused here, but for -1
        raise compacted()
    if revision <= 0:
        return view
    context = Context.of(request)
    return await context.views.at(source.store, revision, context.user(request))


async def _current(context: Context, source: Source, *, serializable: bool) -> None:
    """Wait until the mirror has all that etcd had when the request came, unless that does not matter."""
    if not serializable:
        try:
            async with asyncio.timeout(DEADLINE):
                await reach(source, await etcd_revision(source))
        except TimeoutError as error:
            must_be_ready(context, source)
            raise EtcdError(Code.UNAVAILABLE, "etcdserver: request timed out") from error
        except ApiError as error:
            must_be_ready(context, source)
            hint = "etcd did not tell its revision; a serializable read is answered without it"
            raise ApiError(error.code, hint, error.detail) from error
    must_be_ready(context, source)


def _header(context: Context, source: Source) -> bytes:
    return orjson.dumps(header(source, context.upstream.member()))


async def _send(request: web.Request, source: Source, pieces: Iterator[bytes]) -> web.StreamResponse:
    """The answer, which is made and sent piece by piece if it is a large one."""
    fields = headers(source)
    begun: list[bytes] = []
    size = 0
    for piece in pieces:
        begun.append(piece)
        size += len(piece)
        if size > CHUNK:
            break
        if not piece:
            await asyncio.sleep(0)
    else:
        return web.Response(body=b"".join(begun), content_type="application/json", headers=fields)
    lines = await Lines.begin(request, fields, kind="application/json")
    del piece
    begun.reverse()
    while begun:  # nothing of it is held any more when it is written
        await lines.add(begun.pop())
    for piece in pieces:
        await lines.add(piece)
        await asyncio.sleep(0)
    return await lines.end()


CALLS: dict[str, Handler] = {"/kv/range": range_}
