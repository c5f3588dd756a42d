"""The body of a request: of bounded size, and there in bounded time."""

from __future__ import annotations

import asyncio

from aiohttp import web

from syncd.serve.v3.errors import Code, EtcdError

LIMIT = 64 << 10
"""Bytes of a request that only asks: a long key, and room for more."""

SECONDS = 10.0
"""In which a body must be there."""


async def read_body(request: web.Request, most: int = LIMIT) -> bytes:
    """The whole body, or EtcdError; one that says that it is too large is not read."""
    if (request.content_length or 0) > most:
        raise _too_large(request.content_length or 0, most)
    received = bytearray()
    try:
        async with asyncio.timeout(SECONDS):
            async for piece in request.content.iter_any():
                received += piece
                if len(received) > most:
                    raise _too_large(len(received), most)
    except TimeoutError as error:
        message = f"syncd: the request's body did not come within {SECONDS:g} s"
        raise EtcdError(Code.INVALID_ARGUMENT, message) from error
    except web.RequestPayloadError as error:
        raise EtcdError(Code.INVALID_ARGUMENT, f"syncd: the request's body is no HTTP: {error}") from error
    return bytes(received)


def _too_large(size: int, most: int) -> EtcdError:
    """In gRPC's words."""
    return EtcdError(Code.RESOURCE_EXHAUSTED, f"grpc: received message larger than max ({size} vs. {most})")
