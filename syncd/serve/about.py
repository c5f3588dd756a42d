"""`/v1/status`, `/healthz`, `/readyz` and `/metrics`: about the daemon itself."""

from __future__ import annotations

import os

import msgspec
import orjson
from aiohttp import web

from syncd.serve.context import Context
from syncd.serve.errors import ApiError
from syncd.serve.freshness import age_ms, must_be_ready
from syncd.serve.params import Params
from syncd.serve.source import Source
from syncd.status import EtcdStatus


async def status(request: web.Request) -> web.Response:
    """Everything that is known and may be seen, as JSON; of etcd only for those who may see all ranges."""
    Params(request.rel_url.raw_query_string, ())
    context = Context.of(request)
    sees_all = context.sees_all(request)
    answer = {
        "version": context.version,
        "uptime_seconds": round(context.clock() - context.started, 3),
        "pid": os.getpid(),
        "listen": context.listen,
        "readers": context.readers,
        "etcd": msgspec.to_builtins(context.etcd() if sees_all else EtcdStatus(())),
        "ranges": [_range(context, source, sees_all=sees_all) for source in context.visible(request)],
    }
    return web.Response(
        body=orjson.dumps(answer, option=orjson.OPT_APPEND_NEWLINE), content_type="application/json"
    )


async def healthz(request: web.Request) -> web.Response:
    """The process lives and its event loop turns."""
    del request
    return web.Response(text="ok\n")


async def readyz(request: web.Request) -> web.Response:
    """Every range that may be seen has something to serve."""
    context = Context.of(request)
    visible = context.visible(request)
    if not visible:
        raise ApiError("forbidden", "serve.access does not let you see any range")
    for source in visible:
        must_be_ready(context, source)
    return web.Response(text="ready\n")


async def metrics(request: web.Request) -> web.Response:
    """For Prometheus."""
    # Not at the top: a start should not wait for prometheus_client, which takes as long as 50,000 keys do.
    from syncd.serve.metrics import exposition  # noqa: PLC0415

    body, content_type = exposition(request)
    return web.Response(body=body, headers={"Content-Type": content_type})


async def nothing_here(request: web.Request) -> web.Response:
    """Any other path or method."""
    if request.path in {resource.canonical for resource in request.app.router.resources()}:
        understood = "POST" if request.path == "/v1/accept" else "GET"
        raise ApiError(
            "bad_request", f"{request.method} {request.path}: only {understood} is understood here"
        )
    raise ApiError(
        "not_found",
        f"{request.method} {request.path}: no such call; there are GET /v1/value, /v1/snapshot, /v1/watch, "
        "/v1/status, /healthz, /readyz and /metrics, and POST /v1/accept",
    )


def _range(context: Context, source: Source, *, sees_all: bool) -> dict[str, object]:
    status = source.status()
    if not sees_all:
        status = msgspec.structs.replace(status, endpoint=None, error=None)
    fields: dict[str, object] = msgspec.to_builtins(status)
    del fields["age"]
    cache = context.caches().get(source.store.keys)
    return fields | {"age_ms": age_ms(status.age), "cache": cache and msgspec.to_builtins(cache)}
