"""What etcd says of itself: maintenance/status, cluster/member/list, auth/authenticate, /version, /health.

Status and members are etcd's own, asked for once in a while; while it does not answer, they are as it told
them last. The header alone is that of all answers here: its revision is as far as the mirror is.
"""

from __future__ import annotations

import msgspec
import orjson
from aiohttp import web
from aiohttp.typedefs import Handler

from syncd.serve.context import Context
from syncd.serve.v3 import messages
from syncd.serve.v3.body import read_body
from syncd.serve.v3.errors import Code, EtcdError

UNKNOWN_VERSION = "3.5.0"
"""While etcd has not told its own: the first of those whose words are spoken here."""


class _Authenticate(msgspec.Struct):
    """auth/authenticate."""

    name: str = ""
    password: str = ""


class _Nothing(msgspec.Struct):
    """A request without fields that matter."""


async def status(request: web.Request) -> web.Response:
    """What the member of etcd that is asked says of itself, such as its size: for those who may read all.

    Without its word, and for others, it is what is known of it; for those who may read no range, its version.
    """
    messages.decode(_Nothing, await read_body(request))
    context = Context.of(request)
    told = await context.upstream.about("/maintenance/status") if context.sees_all(request) else None
    if told is None:
        told = {"version": _version(context)}
        if context.visible(request):
            member = context.upstream.member()
            told |= {"leader": str(member.member_id), "raftTerm": str(member.raft_term)}
    return _json({**told, "header": _header(request)})


async def members(request: web.Request) -> web.Response:
    """The members of etcd's cluster, for those who may read all; their URLs lead to etcd, not here."""
    messages.decode(_Nothing, await read_body(request))
    context = Context.of(request)
    if not context.sees_all(request):
        raise EtcdError(Code.PERMISSION_DENIED, "etcdserver: permission denied")
    told = await context.upstream.about("/cluster/member/list")
    if told is None:
        raise EtcdError(
            Code.UNAVAILABLE, "syncd: etcd has not told its members so far, and cannot be asked now"
        )
    header = _header(request)
    header.pop("revision", None)  # as etcd has it
    return _json({**told, "header": header})


async def authenticate(request: web.Request) -> web.Response:
    """As an etcd without authentication, also where syncd has a user: that one is nobody else's."""
    messages.decode(_Authenticate, await read_body(request))
    raise EtcdError(Code.FAILED_PRECONDITION, "etcdserver: authentication is not enabled")


async def version(request: web.Request) -> web.Response:
    """etcd's version, and that of its cluster."""
    known = _version(Context.of(request))
    major, minor, *_ = known.split(".")
    return _json({"etcdserver": known, "etcdcluster": f"{major}.{minor}.0"})


async def health(request: web.Request) -> web.Response:
    """Whether anything can be served."""
    sources = Context.of(request).visible(request)
    well = not sources or any(source.store.ready for source in sources)
    answer = {"health": "true" if well else "false", "reason": "" if well else "syncd: nothing was read yet"}
    return web.Response(status=200 if well else 503, text=orjson.dumps(answer).decode())


def _header(request: web.Request) -> dict[str, str]:
    """That of the range that is furthest: it must not be behind what any answer before has shown."""
    context = Context.of(request)
    sources = context.visible(request)
    if not sources:
        return {}
    furthest = max(sources, key=lambda source: source.store.revision)
    return messages.header(furthest, context.upstream.member())


def _version(context: Context) -> str:
    return context.upstream.member().version or UNKNOWN_VERSION


def _json(answer: object) -> web.Response:
    return web.Response(body=orjson.dumps(answer), content_type="application/json")


CALLS: dict[str, Handler] = {
    "/maintenance/status": status,
    "/cluster/member/list": members,
    "/auth/authenticate": authenticate,
}

PLAIN: dict[str, Handler] = {"/version": version, "/health": health}
