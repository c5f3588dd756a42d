"""Every call of etcd's gateway API, and how a failure looks in etcd's words."""

from __future__ import annotations

from functools import wraps

from aiohttp import web
from aiohttp.typedefs import Handler

from syncd.serve.errors import ApiError
from syncd.serve.v3 import about, kv, leases, watch, write
from syncd.serve.v3.errors import Code, EtcdError

PREFIXES = ("/v3", "/v3beta")

CALLS: dict[str, Handler] = {**about.CALLS, **kv.CALLS, **leases.CALLS, **watch.CALLS, **write.CALLS}
"""POST handlers, by path below the prefix."""


def add_calls(router: web.UrlDispatcher) -> None:
    """Let `router` know every call."""
    for prefix in PREFIXES:
        for path, handler in CALLS.items():
            router.add_post(prefix + path, answered(handler))
        router.add_route("*", prefix + "/{path:.*}", answered(_nothing_here))
    for path, handler in about.PLAIN.items():
        router.add_get(path, handler)


def answered(handler: Handler) -> Handler:
    """`handler`, whose failures are answers in etcd's words."""

    @wraps(handler)
    async def answer(request: web.Request) -> web.StreamResponse:
        try:
            return await handler(request)
        except EtcdError as error:
            refusal = error
        except ApiError as error:
            refusal = EtcdError.like(error)
        return web.Response(status=refusal.status, body=refusal.body(), content_type="application/json")

    return answer


async def _nothing_here(request: web.Request) -> web.StreamResponse:
    path = request.path.partition("/")[2].partition("/")[2]
    if f"/{path}" in CALLS:
        raise EtcdError(Code.UNIMPLEMENTED, "Method Not Allowed")
    raise EtcdError(Code.NOT_FOUND, "Not Found")
