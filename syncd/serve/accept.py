"""`POST /v1/accept`: the one call that changes anything, for those who run the daemon."""

from __future__ import annotations

import os

import orjson
import structlog
from aiohttp import web

from syncd.serve.context import SOURCE, Context
from syncd.serve.errors import ApiError
from syncd.serve.params import Params
from syncd.serve.peer import peer_of

log = structlog.get_logger("syncd.serve")


async def accept(request: web.Request) -> web.Response:
    """Let through what the guard of `range` holds back; for root and the daemon's own user."""
    name = Params(request.rel_url.raw_query_string, ("range",)).text("range")
    if name is None:
        raise ApiError("bad_request", "expected range=, the name of a range as in /v1/status")
    peer = peer_of(request.transport)
    if not peer.runs_the_daemon:
        also = f" and the daemon's own user (uid {os.geteuid()})" if os.geteuid() else ""
        raise ApiError("forbidden", f"only root{also} may accept that")
    request[SOURCE] = source = Context.of(request).sources.named(name)
    accepted = source.accept()
    log.info("accept", range=name, held=accepted, pid=peer.pid, uid=peer.uid)
    body = orjson.dumps({"range": name, "accepted": accepted}, option=orjson.OPT_APPEND_NEWLINE)
    return web.Response(body=body, content_type="application/json")
