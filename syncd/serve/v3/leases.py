"""Leases, passed on to etcd as `write` does it.

A lease acts on its keys: who revokes it deletes them, who keeps it alive keeps them. So etcd is asked for the
keys first, and all of them must lie in mirrored ranges and be readable to whoever asks; where etcd does not
tell them, nothing is done. A lease without any, as a new one, is for those who may read a whole range.
"""

from __future__ import annotations

import asyncio

import msgspec
from aiohttp import web
from aiohttp.typedefs import Handler

from syncd.keyrange import KeyRange
from syncd.serve.context import Context
from syncd.serve.source import Source
from syncd.serve.v3.errors import Code, EtcdError
from syncd.serve.v3.write import answer, ask_etcd, denied, pass_on, understood

TIME_TO_LIVE = "/kv/lease/timetolive"
"""Where 3.3 has it, as all later ones do: `/lease/…` is newer, but for grant and keepalive."""

AT_ONCE = 1000
"""Keys that are looked at before others have their turn."""


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


_attached = msgspec.json.Decoder(_Attached)


async def grant(request: web.Request) -> web.StreamResponse:
    """lease/grant."""
    async with understood(request, GrantRequest) as asked:
        _must_see_a_range(request)
        return await pass_on(request, "/lease/grant", asked)


async def keep_alive(request: web.Request) -> web.StreamResponse:
    """lease/keepalive: a stream in etcd, of which one request and its answer are passed on."""
    async with understood(request, LeaseRequest) as asked:
        status, told = await _keys_told(request, asked.ID)
        if status == 200:
            await _of_lease(request, told)
            return await pass_on(request, "/lease/keepalive", asked)
        return answer(status, told)


async def revoke(request: web.Request) -> web.StreamResponse:
    """lease/revoke: deletes the keys of the lease."""
    async with understood(request, LeaseRequest) as asked:
        status, told = await _keys_told(request, asked.ID)
        if status == 200:
            return await pass_on(request, "/kv/lease/revoke", asked, await _of_lease(request, told))
        return answer(status, told)


async def time_to_live(request: web.Request) -> web.StreamResponse:
    """lease/timetolive."""
    async with understood(request, TimeToLiveRequest) as asked:
        status, told = await _keys_told(request, asked.ID)
        if status == 200:
            await _of_lease(request, told)
            if not asked.keys:
                status, told = await ask_etcd(request, TIME_TO_LIVE, asked)
        return answer(status, told)


async def leases(request: web.Request) -> web.StreamResponse:
    """lease/leases: those of all keys there are, so they are for those who may read all that is mirrored."""
    async with understood(request, LeasesRequest) as asked:
        if not Context.of(request).sees_all(request):
            raise denied()
        return answer(*await ask_etcd(request, "/kv/lease/leases", asked))


def _must_see_a_range(request: web.Request) -> None:
    if not Context.of(request).visible(request):
        raise denied()


async def _keys_told(request: web.Request, lease: int) -> tuple[int, bytes]:
    """What etcd says of a lease and its keys, which is to be looked at before anything is done or told."""
    return await ask_etcd(request, TIME_TO_LIVE, TimeToLiveRequest(lease, keys=True))


async def _of_lease(request: web.Request, told: bytes) -> list[Source]:
    """The ranges with the keys that etcd says are those of a lease; a refusal if there are others.

    One without keys is for those who could have been granted it.
    """
    context = Context.of(request)
    try:
        keys = _attached.decode(told).keys
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise EtcdError(Code.UNAVAILABLE, "syncd: etcd did not tell the keys of the lease") from error
    if not keys:
        _must_see_a_range(request)
    sources: list[Source] = []
    for number, key in enumerate(keys, 1):
        if (source := context.source(request, KeyRange(key))) not in sources:
            sources.append(source)
        if not number % AT_ONCE:
            await asyncio.sleep(0)
    return sources


_CALLS: dict[str, Handler] = {"revoke": revoke, "timetolive": time_to_live, "leases": leases}

CALLS: dict[str, Handler] = {
    "/lease/grant": grant,
    "/lease/keepalive": keep_alive,
    **{f"{prefix}/lease/{name}": handler for prefix in ("", "/kv") for name, handler in _CALLS.items()},
}
