"""`/v3/watch`: many watches on one stream, which the client may go on speaking to while it listens.

One task reads what is asked for, another does it and tells what happens (`watches`). Each document is an HTTP
chunk of its own, as etcd's is, and ends in a newline: there are clients that take a chunk for a document
(lua-resty-etcd, etcd3gw).

What is unlike etcd: an answer begins with the first request, whatever that is, so that a mistake in it has a
status; a mistake in a later one ends the stream, where etcd falls silent; and `progress_notify` comes every
PROGRESS_SECONDS. A stream has `readers.MOST` watches at most, and ends after EMPTY_SECONDS without any.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import ExitStack, aclosing

from aiohttp import StreamReader, web
from aiohttp.typedefs import Handler

from syncd.serve.context import Context
from syncd.serve.readers import Readers
from syncd.serve.stream import Lines
from syncd.serve.v3.errors import Code, EtcdError
from syncd.serve.v3.requests import Documents, WatchRequest, watch_request
from syncd.serve.v3.watches import Watches

DOCUMENT = 4 << 20
"""Bytes of a document that are one HTTP chunk: two of etcd's largest values, in base64, are no more."""

FIRST_SECONDS = 30.0
"""For the first request to arrive: until then a client holds a place for nothing."""


async def watch(request: web.Request) -> web.StreamResponse:
    """Tell of changes until the client or the daemon goes away."""
    context = Context.of(request)
    with Readers(context, request) as readers:
        async with aclosing(_requests(request.content)) as requests:
            try:
                async with asyncio.timeout(FIRST_SECONDS):
                    first = await anext(requests)
            except TimeoutError as error:
                late = f"syncd: nothing was asked for within {FIRST_SECONDS:g} s"
                raise EtcdError(Code.UNAVAILABLE, late) from error
            except StopAsyncIteration as error:
                raise EtcdError(Code.INVALID_ARGUMENT, "proto: unexpected EOF") from error
            lines = await Lines.begin(request, {}, kind="application/json", chunk=DOCUMENT)
            with ExitStack() as subscriptions:
                watches = Watches(context, request, lines, readers, subscriptions)
                async with asyncio.TaskGroup() as group:
                    reading = group.create_task(watches.take(first, requests), name="requests of a watch")
                    await watches.run()
                    reading.cancel()
            if watches.gone:
                raise watches.gone
    response = await lines.end()
    if request.transport is not None:
        request.transport.close()  # the body may never end, and aiohttp would wait for it
    return response


CALLS: dict[str, Handler] = {"/watch": watch}


async def _requests(body: StreamReader) -> AsyncGenerator[WatchRequest, None]:
    """What is asked for in `body`; EtcdError for what cannot be understood."""
    documents = Documents()
    try:
        while chunk := await body.readany():
            for document in documents.feed(chunk):
                yield watch_request(document)
    except web.RequestPayloadError as error:
        raise EtcdError(Code.INVALID_ARGUMENT, f"syncd: the request's body: {error}") from error
    documents.end()
