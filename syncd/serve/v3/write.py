"""What changes something: passed on to etcd if that is configured, else refused; never an empty success.

What is passed on is written anew from what was understood here, for two parsers may understand a request
differently, as one that names a field twice. It is passed on once: where an answer is missing, it may have
been done. All keys that it names must lie in mirrored ranges and be readable to whoever asks. So a writer can
read back what it wrote: etcd's answer is given when the mirror has come as far, or after SEEN, as it is done
by then, whoever has seen it.
"""

from __future__ import annotations

import asyncio
import re
from base64 import b64encode
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress
from functools import cache

import msgspec
import orjson
from aiohttp import web
from aiohttp.typedefs import Handler

from syncd.errors import SyncdError
from syncd.serve.context import Context
from syncd.serve.freshness import reach
from syncd.serve.source import Source
from syncd.serve.v3 import kv, txn
from syncd.serve.v3.body import LIMIT as SMALL
from syncd.serve.v3.body import received
from syncd.serve.v3.errors import Code, EtcdError
from syncd.serve.v3.messages import T, decode, interval

LIMIT = 4 << 20
"""Bytes of a request: etcd takes 1.5 MiB by default, which base64 makes 2."""

OPS = 1024
"""Operations in a transaction, as `txn.check` counts them: etcd itself takes 128, or what it was told to."""

LEVELS = 48
"""Of transactions in each other: a JSON encoder has room for some 80."""

LOOKED_AT = 64 << 10
"""Bytes of an answer that are understood; of a longer one, its beginning: megabytes would take too long."""

SEEN = 5.0
"""Seconds to wait for the mirror before a write is answered."""

READS_ONLY = (
    "syncd: this is a mirror, and serves reads only; with serve.write_through: true, it passes put, "
    "deleterange, txn and leases on to etcd"
)
NEVER = "syncd: this is a mirror, and serves reads only; ask etcd itself for this"


class _Header(msgspec.Struct):
    revision: int = 0


class _Answer(msgspec.Struct):
    """Any answer of etcd's; a refusal and a stream's answer have no revision."""

    header: _Header = msgspec.field(default_factory=_Header)


_answer = msgspec.json.Decoder(_Answer, strict=False)
_header = msgspec.json.Decoder(_Header, strict=False)

_BEGINNING = re.compile(rb'\s*\{\s*"header"\s*:\s*(\{[^{}]*\})')
"""What every long answer of etcd's begins with."""


async def put(request: web.Request) -> web.StreamResponse:
    """kv/put."""
    async with understood(request, txn.PutRequest) as asked:
        keys = interval(asked.key, b"")
        return await pass_on(request, "/kv/put", asked, [Context.of(request).source(request, keys)])


async def delete_range(request: web.Request) -> web.StreamResponse:
    """kv/deleterange."""
    async with understood(request, txn.DeleteRangeRequest) as asked:
        keys = interval(asked.key, asked.range_end)
        return await pass_on(request, "/kv/deleterange", asked, [Context.of(request).source(request, keys)])


async def transaction(request: web.Request) -> web.StreamResponse:
    """kv/txn; one that only reads is answered from the mirror."""
    async with received(request, _most(request)) as body:
        asked = decode(txn.TxnRequest, body)
        if not txn.writes(asked):
            return await kv.txn_reads(request, asked)
        _must_be_on(request)
        txn.check(asked, OPS, LEVELS)
        context = Context.of(request)
        sources = [context.source(request, keys) for keys in txn.intervals(asked)]
        return await pass_on(request, "/kv/txn", asked, sources)


async def reads_only(request: web.Request) -> web.StreamResponse:
    """What is never passed on."""
    del request
    raise EtcdError(Code.UNIMPLEMENTED, NEVER)


@asynccontextmanager
async def understood(request: web.Request, kind: type[T]) -> AsyncIterator[T]:
    """What is asked for, unless that is never done here; it counts among all bodies until it is answered."""
    _must_be_on(request)
    async with received(request, _most(request)) as body:
        yield decode(kind, body)


def _most(request: web.Request) -> int:
    """Bytes of a request: many only from those whose large write may come to something."""
    context = Context.of(request)
    return LIMIT if context.write_through and context.visible(request) else SMALL


def _must_be_on(request: web.Request) -> None:
    if not Context.of(request).write_through:
        raise EtcdError(Code.UNIMPLEMENTED, READS_ONLY)


def denied() -> EtcdError:
    """In etcd's words, which tell nothing."""
    return EtcdError(Code.PERMISSION_DENIED, "etcdserver: permission denied")


async def pass_on(
    request: web.Request, path: str, asked: msgspec.Struct, sources: Iterable[Source] = ()
) -> web.StreamResponse:
    """etcd's answer to a write, when the ranges that it is about have come as far."""
    status, body = await ask_etcd(request, path, asked)
    if status == 200 and (revision := _revision(body)):
        with suppress(TimeoutError):
            async with asyncio.timeout(SEEN):
                for source in dict.fromkeys(sources):
                    await reach(source, revision)
    return answer(status, body)


def _revision(body: bytes) -> int:
    """The revision that an answer of etcd's tells, 0 for none; msgspec's error for what is not etcd's."""
    if len(body) <= LOOKED_AT:
        return _answer.decode(body).header.revision
    if not (begins := _BEGINNING.match(body, 0, LOOKED_AT)):
        raise msgspec.DecodeError("a long answer that does not begin with a header")
    return _header.decode(begins[1]).revision


async def ask_etcd(request: web.Request, path: str, asked: msgspec.Struct) -> tuple[int, bytes]:
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


def answer(status: int, body: bytes) -> web.Response:
    """What etcd answered."""
    return web.Response(status=status, body=body, content_type="application/json")


def message(struct: msgspec.Struct) -> dict[str, object]:
    """A request as JSON has it: what is zero is left out, but for the members of a oneof."""
    given = ((name, getattr(struct, name), default) for name, default in _fields(type(struct)))
    return {name: _plain(value) for name, value, default in given if value != default}


@cache
def _fields(kind: type[msgspec.Struct]) -> list[tuple[str, object]]:
    return [(field.name, field.default) for field in msgspec.structs.fields(kind)]


def _plain(value: object) -> object:
    if isinstance(value, msgspec.Struct):
        return message(value)
    if isinstance(value, tuple):
        return [_plain(each) for each in value]
    return b64encode(value).decode() if isinstance(value, bytes) else value


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
    **dict.fromkeys(_NEVER, reads_only),
}
