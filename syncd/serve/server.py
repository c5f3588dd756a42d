"""The local API on its socket, and on TCP if that is wanted."""

from __future__ import annotations

import asyncio
import socket
import ssl
from contextlib import AsyncExitStack
from functools import partial
from types import TracebackType
from typing import Self, cast

import structlog
from aiohttp import web
from aiohttp.typedefs import Handler

from syncd.serve import about, accept, reads, watch
from syncd.serve.connection import Connection
from syncd.serve.context import CONTEXT, SOURCE, Context
from syncd.serve.entrance import Entrance
from syncd.serve.errors import ApiError
from syncd.serve.freshness import header_fields, headers
from syncd.serve.places import Places, enough
from syncd.serve.quick import Quick
from syncd.serve.stream import Lines
from syncd.serve.tcp import must_be_a_program
from syncd.serve.v3.calls import add_calls

FORGET_AFTER = 60.0
"""Seconds after which encoded snapshots that nobody asks for any more are given up."""

GRACE = 0.8
"""Seconds for open streams to end properly when the daemon stops. aiohttp takes them twice, for the handlers
and then, though a reader that doesn't read makes them wait in vain, for the connections; two are promised."""

log = structlog.get_logger("syncd.serve")


class Server:
    """Serves from `listener`, a bound Unix socket, until left.

    Also from `tcp`, a bound socket as well; with TLS if there is a context for it.
    """

    def __init__(
        self,
        context: Context,
        listener: socket.socket,
        tcp: socket.socket | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._context = context
        self._quick = Quick(context.sources, context.upstream)
        self._listener = listener
        self._tcp = tcp
        self._tls = tls
        self._entrance: Entrance | None = None
        """Of `tcp`."""
        app = web.Application(middlewares=[_answers], client_max_size=1024)
        app[CONTEXT] = context
        add_get = partial(app.router.add_get, expect_handler=_expectation)
        add_get("/v1/value", reads.value)
        add_get("/v1/snapshot", reads.snapshot, allow_head=False)
        add_get("/v1/watch", watch.watch, allow_head=False)
        app.router.add_post("/v1/accept", accept.accept, expect_handler=_expectation)
        add_get("/v1/status", about.status)
        add_get("/healthz", about.healthz)
        add_get("/readyz", about.readyz)
        add_get("/metrics", about.metrics)
        add_calls(app.router)
        app.router.add_route("*", "/{path:.*}", about.nothing_here, expect_handler=_expectation)
        self._runner = web.AppRunner(
            app,
            access_log=None,
            handle_signals=False,
            handler_cancellation=True,
            shutdown_timeout=GRACE,
        )
        self._places = Places(enough(), context.tally, "connections turned away")
        self._entrances = AsyncExitStack()
        self._timer: asyncio.TimerHandle | None = None

    async def __aenter__(self) -> Self:
        await self._runner.setup()
        await self._listen(self._listener)
        if self._tcp:
            self._entrance = await self._listen(self._tcp, self._tls)
        self._forget()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._timer:
            self._timer.cancel()
        self._context.closing.set()
        for source in self._context.sources:
            source.store.wake()
        await self._entrances.aclose()
        await self._runner.cleanup()

    def secure(self, tls: ssl.SSLContext) -> None:
        """Have TLS from now on with this context; open connections go on with theirs."""
        if self._entrance:
            self._entrance.tls = tls

    async def _listen(self, listener: socket.socket, tls: ssl.SSLContext | None = None) -> Entrance:
        server = cast("web.Server", self._runner.server)
        connection = partial(Connection, server, self._context, self._quick)
        entrance = Entrance(listener, connection, self._places, tls)
        return await self._entrances.enter_async_context(entrance)

    def _forget(self) -> None:
        self._context.block_lines.forget()
        self._timer = asyncio.get_running_loop().call_later(FORGET_AFTER, self._forget)


async def _expectation(request: web.Request) -> None:
    """Pass over `Expect`, as RFC 9110 allows: no call reads a body, so the answer itself can come at once.

    aiohttp's own way is to refuse what is not 100-continue, and to fail when that is not ASCII.
    """


@web.middleware
async def _answers(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Every answer tells how fresh it is, and every failure is an answer."""
    try:
        must_be_a_program(request)
    except ApiError as error:
        return _refusal(error)
    try:
        response = await handler(request)
    except ApiError as error:
        response = _refusal(error, detailed=bool(error.detail) and Context.of(request).sees_all(request))
    except web.HTTPException as error:
        response = _refusal(ApiError("bad_request", f"{request.method} {request.path}: {error.reason}"))
    except ConnectionError:
        raise  # the reader is gone; aiohttp clears up
    except Exception as error:
        log.exception("a request failed", path=request.path)
        if (begun := Lines.of(request)) is not None:
            # Half an answer is out already: cutting it is the only way left to say that it failed.
            begun.abort()
            raise ConnectionAbortedError from error
        response = _refusal(ApiError("internal", "this is a fault of syncd; its log tells more"))
    if not response.prepared and "Syncd-State" not in response.headers:
        response.headers.update(_freshness(request))
    return response


def _refusal(error: ApiError, *, detailed: bool = False) -> web.Response:
    body = error.body(detailed=detailed)
    response = web.Response(status=error.status, body=body, content_type="application/json")
    if error.code in ("not_ready", "overloaded"):
        response.headers["Retry-After"] = "1"
    return response


def _freshness(request: web.Request) -> dict[str, str]:
    """The headers of the range that was asked about; else the least that holds for all that may be seen."""
    if SOURCE in request:
        return headers(request[SOURCE])
    sources = Context.of(request).visible(request)
    if not sources:
        return {}
    states, ages = zip(*(source.freshness() for source in sources), strict=True)
    epochs = {source.store.epoch for source in sources}
    worst = min(states, key=("cold", "stale", "warm", "live").index)
    known = [age for age in ages if age is not None]
    return header_fields(
        min(source.store.revision for source in sources),
        epochs.pop() if len(epochs) == 1 else "",
        worst,
        max(known) if len(known) == len(sources) else None,
    )
