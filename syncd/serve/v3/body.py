"""The body of a request: of bounded size, and there in bounded time, as all of them together are."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web

from syncd.serve.budget import Budget, User
from syncd.serve.context import Context
from syncd.serve.v3.errors import Code, EtcdError, too_many

LIMIT = 64 << 10
"""Bytes of a request that only asks: a long key, and room for more."""

PARTS = 1 << 15
"""Braces, brackets and commas of a request, of which it has one for each value: enough for 1,024 operations.

Reading so many takes some 10 ms; 4 MiB of them would hold up everybody for more than a second.
"""

SECONDS = 10.0
"""In which a body must be there."""


@asynccontextmanager
async def received(request: web.Request, most: int = LIMIT) -> AsyncIterator[bytes]:
    """The whole body, or EtcdError; it counts among all there are until the context ends."""
    if (request.content_length or 0) > most:
        raise _too_large(request.content_length or 0, most)
    context = Context.of(request)
    share = _Share(context.bodies, context.user(request))
    try:
        yield await _whole(request, most, share)
    finally:
        share.give_back()


async def read_body(request: web.Request, most: int = LIMIT) -> bytes:
    """The same, for what is answered without keeping it."""
    async with received(request, most) as body:
        return body


class _Share:
    """What one body has of the bytes of all."""

    def __init__(self, budget: Budget, user: User) -> None:
        self._budget = budget
        self._user = user
        self._taken = 0

    def take(self, amount: int) -> None:
        """Take so much more, or EtcdError."""
        if not self._budget.take(self._user, amount):
            raise too_many()
        self._taken += amount

    def give_back(self) -> None:
        """All of it."""
        self._budget.give_back(self._user, self._taken)


async def _whole(request: web.Request, most: int, share: _Share) -> bytes:
    body = bytearray()
    try:
        async with asyncio.timeout(SECONDS):
            async for piece in request.content.iter_any():
                if len(body) + len(piece) > most:
                    raise _too_large(len(body) + len(piece), most)
                share.take(len(piece))
                body += piece
    except TimeoutError as error:
        message = f"syncd: the request's body did not come within {SECONDS:g} s"
        raise EtcdError(Code.INVALID_ARGUMENT, message) from error
    except web.RequestPayloadError as error:
        raise EtcdError(Code.INVALID_ARGUMENT, f"syncd: the request's body is no HTTP: {error}") from error
    if sum(map(body.count, (b"{", b"[", b","))) > PARTS:
        raise EtcdError(Code.INVALID_ARGUMENT, f"syncd: the request has more than {PARTS} parts")
    return bytes(body)


def _too_large(size: int, most: int) -> EtcdError:
    """In gRPC's words."""
    return EtcdError(Code.RESOURCE_EXHAUSTED, f"grpc: received message larger than max ({size} vs. {most})")
