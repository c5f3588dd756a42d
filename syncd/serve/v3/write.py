"""What changes something: passed on to etcd if that is configured, else refused; never an empty success.

What is passed on is written anew from what was understood here, for two parsers may understand a request
differently, as one that names a field twice. It is passed on once: where an answer is missing, it may have
been done. All keys that it names, or that a lease would take with it, must lie in mirrored ranges and be
readable to whoever asks. So a writer can read back what it wrote: etcd's answer is given when the mirror has
come as far, or after SEEN, as it is done by then, whoever has seen it.
"""

from __future__ import annotations

import asyncio
import re
from base64 import b64encode
from collections.abc import Iterable
from contextlib import suppress

import msgspec
import orjson
from aiohttp import web

from syncd.errors import SyncdError
from syncd.keyrange import KeyRange
from syncd.serve.context import Context
from syncd.serve.freshness import reach
from syncd.serve.source import Source
from syncd.serve.v3 import kv, txn
from syncd.serve.v3.body import read_body
from syncd.serve.v3.errors import Code, EtcdError
from syncd.serve.v3.handler import Handler
from syncd.serve.v3.messages import T, decode, interval

LIMIT = 4 << 20
"""Bytes of a request: etcd takes 1.5 MiB by default, which base64 makes 2."""

OPS = 1 << 20
"""Operations in a transaction: how many it takes, etcd itself knows."""

LOOKED_AT = 64 << 10
"""Bytes of an answer that are understood; of a longer one, its beginning: megabytes would take too long."""

SEEN = 5.0
"""Seconds to wait for the mirror before a write is answered."""

TIME_TO_LIVE = "/kv/lease/timetolive"
"""Where 3.3 has it, as all later ones do: `/lease/…` is newer, but for grant and keepalive."""

READS_ONLY = (
    "syncd: this is a mirror, and serves reads only; with serve.write_through: true, it passes put, "
    "deleterange, txn and leases on to etcd"
)
NEVER = "syncd: this is a mirror, and serves reads only; ask etcd itself for this"


class GrantRequest(msgspec.Struct, frozen=True):
    """etcd's LeaseGrantRequest."""

    TTL: int = 0
    ID: int = 0


class LeaseRequest(msgspec.Struct, frozen=True):
    """etcd's LeaseRevokeRequest and LeaseKeepAliveRequest."""

    ID: int = 0


class TimeToLiveRequest(msgspec.Struct, frozen=True):
    """etcd's LeaseTimeToLiveRequest."""

    ID: int = 0
    keys: bool = False


class LeasesRequest(msgspec.Struct, frozen=True):
    """etcd's LeaseLeasesRequest."""


class _Attached(msgspec.Struct):
    """The keys of a lease, in the answer to a TimeToLiveRequest."""

    keys: tuple[bytes, ...] = ()


class _Header(msgspec.Struct):
    revision: int = 0


class _Answer(msgspec.Struct):
    """Any answer of etcd's; a refusal and a stream's answer have no revision."""

    header: _Header = msgspec.field(default_factory=_Header)


_attached = msgspec.json.Decoder(_Attached)
_answer = msgspec.json.Decoder(_Answer, strict=False)
_header = msgspec.json.Decoder(_Header, strict=False)

_BEGINNING = re.compile(rb'\s*\{\s*"header"\s*:\s*(\{[^{}]*\})')
"""What every long answer of etcd's begins with."""


async def put(request: web.Request) -> web.StreamResponse:
    """kv/put."""
    asked = await _asked(request, txn.PutRequest)
    keys = interval(asked.key, b"")
    return await _done(request, "/kv/put", asked, [Context.of(request).source(request, keys)])


async def delete_range(request: web.Request) -> web.StreamResponse:
    """kv/deleterange."""
    asked = await _asked(request, txn.DeleteRangeRequest)
    keys = interval(asked.key, asked.range_end)
    return await _done(request, "/kv/deleterange", asked, [Context.of(request).source(request, keys)])


async def transaction(request: web.Request) -> web.StreamResponse:
    """kv/txn; one that only reads is answered from the mirror."""
    asked = decode(txn.TxnRequest, await read_body(request, LIMIT))
    if not txn.writes(asked):
        return await kv.txn_reads(request, asked)
    _must_be_on(request)
    txn.check(asked, OPS)
    context = Context.of(request)
    return await _done(request, "/kv/txn", asked, [context.source(request, k) for k in txn.intervals(asked)])


async def grant(request: web.Request) -> web.StreamResponse:
    """lease/grant."""
    return await _done(request, "/lease/grant", await _asked(request, GrantRequest))


async def keep_alive(request: web.Request) -> web.StreamResponse:
    """lease/keepalive: a stream in etcd, of which one request and its answer are passed on."""
    return await _done(request, "/lease/keepalive", await _asked(request, LeaseRequest))


async def revoke(request: web.Request) -> web.StreamResponse:
    """lease/revoke: deletes the keys of the lease."""
    asked = await _asked(request, LeaseRequest)
    status, body = await _told(request, TIME_TO_LIVE, TimeToLiveRequest(asked.ID, keys=True))
    sources = _of_lease(request, body) if status == 200 else ()
    return await _done(request, "/kv/lease/revoke", asked, sources)


async def time_to_live(request: web.Request) -> web.StreamResponse:
    """lease/timetolive."""
    asked = await _asked(request, TimeToLiveRequest)
    status, body = await _told(request, TIME_TO_LIVE, asked)
    if status == 200:
        _of_lease(request, body)
    return _passed_on(status, body)


async def leases(request: web.Request) -> web.StreamResponse:
    """lease/leases: those of all keys there are, so they are for those who may read all that is mirrored."""
    asked = await _asked(request, LeasesRequest)
    if not Context.of(request).sees_all(request):
        raise EtcdError(Code.PERMISSION_DENIED, "etcdserver: permission denied")
    return _passed_on(*await _told(request, "/kv/lease/leases", asked))


async def reads_only(request: web.Request) -> web.StreamResponse:
    """What is never passed on."""
    del request
    raise EtcdError(Code.UNIMPLEMENTED, NEVER)


async def _asked(request: web.Request, kind: type[T]) -> T:
    """What is asked for, unless that is never done here."""
    _must_be_on(request)
    return decode(kind, await read_body(request, LIMIT))


def _must_be_on(request: web.Request) -> None:
    if not Context.of(request).write_through:
        raise EtcdError(Code.UNIMPLEMENTED, READS_ONLY)


async def _done(
    request: web.Request, path: str, asked: msgspec.Struct, sources: Iterable[Source] = ()
) -> web.StreamResponse:
    """etcd's answer to a write, when the ranges that it is about have come as far."""
    status, body = await _told(request, path, asked)
    if status == 200 and (revision := _revision(body)):
        with suppress(TimeoutError):
            async with asyncio.timeout(SEEN):
                for source in dict.fromkeys(sources):
                    await reach(source, revision)
    return _passed_on(status, body)


def _revision(body: bytes) -> int:
    """The revision that an answer of etcd's tells, 0 for none; msgspec's error for what is not etcd's."""
    if len(body) <= LOOKED_AT:
        return _answer.decode(body).header.revision
    if not (begins := _BEGINNING.match(body, 0, LOOKED_AT)):
        raise msgspec.DecodeError("a long answer that does not begin with a header")
    return _header.decode(begins[1]).revision


async def _told(request: web.Request, path: str, asked: msgspec.Struct) -> tuple[int, bytes]:
    """etcd's answer, a refusal included."""
    context = Context.of(request)
    try:
        sent, user = orjson.dumps(message(asked)), context.user(request)
        status, body = await context.upstream.call(path, sent, user)
        _revision(body)
    except EtcdError:
        raise  # which tells whether it was done
    except (SyncdError, msgspec.MsgspecError, UnicodeDecodeError) as error:
        detail = f": {error}" if context.sees_all(request) else ""
        raise EtcdError(
            Code.UNAVAILABLE, f"syncd: etcd did not answer; it may have done it, or not{detail}"
        ) from error
    return status, body


def _of_lease(request: web.Request, body: bytes) -> list[Source]:
    """The ranges with the keys that etcd says are those of a lease; a refusal if there are others."""
    context = Context.of(request)
    try:
        keys = _attached.decode(body).keys
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise EtcdError(Code.UNAVAILABLE, "syncd: etcd did not tell the keys of the lease") from error
    return [context.source(request, KeyRange(key)) for key in keys]


def _passed_on(status: int, body: bytes) -> web.Response:
    return web.Response(status=status, body=body, content_type="application/json")


def message(struct: msgspec.Struct) -> dict[str, object]:
    """A request as JSON has it: what is zero is left out, but for the members of a oneof."""
    fields = msgspec.structs.fields(struct)
    given = ((field.name, getattr(struct, field.name), field.default) for field in fields)
    return {name: _plain(value) for name, value, default in given if value != default}


def _plain(value: object) -> object:
    if isinstance(value, msgspec.Struct):
        return message(value)
    if isinstance(value, tuple):
        return [_plain(each) for each in value]
    return b64encode(value).decode() if isinstance(value, bytes) else value


_LEASES: dict[str, Handler] = {"revoke": revoke, "timetolive": time_to_live, "leases": leases}

_NEVER = (
    *("/kv/compaction",),
    *(f"/cluster/member/{name}" for name in ("add", "remove", "update", "promote")),
    *(
        f"/maintenance/{name}"
        for name in ("alarm", "defragment", "hash", "snapshot", "transfer-leadership", "downgrade")
    ),
    *(f"/auth/{name}" for name in ("enable", "disable", "status")),
    *(f"/auth/user/{name}" for name in ("add", "get", "list", "delete", "changepw", "grant", "revoke")),
    *(f"/auth/role/{name}" for name in ("add", "get", "list", "delete", "grant", "revoke")),
    *(f"/election/{name}" for name in ("campaign", "proclaim", "leader", "observe", "resign")),
    *(f"/lock/{name}" for name in ("lock", "unlock")),
)
"""All other calls of etcd 3.5's gateway."""

CALLS: dict[str, Handler] = {
    "/kv/put": put,
    "/kv/deleterange": delete_range,
    "/kv/txn": transaction,
    "/lease/grant": grant,
    "/lease/keepalive": keep_alive,
    **{f"{prefix}/lease/{name}": handler for prefix in ("", "/kv") for name, handler in _LEASES.items()},
    **dict.fromkeys(_NEVER, reads_only),
}
