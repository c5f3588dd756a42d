"""Looks at an endpoint from outside, and gathers what is to be seen: addresses, a connection, TLS, HTTP."""

from __future__ import annotations

import asyncio
import errno
import os
import re
import socket
import threading
from contextlib import closing, suppress
from urllib.parse import urlsplit

from syncd.config import TLS
from syncd.diagnosis.handshake import shake_hands
from syncd.diagnosis.sight import NO_ANSWER, Handshake, Sight
from syncd.gateway.errors import Unreachable, Why

PATIENCE = 1.2
"""Seconds for each: the address, a connection, a handshake, an answer. A whole check takes less than five."""

LONGEST_HEAD = 64 << 10

_NO_ROUTE = {errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EADDRNOTAVAIL}


async def look(url: str, tls: TLS) -> Sight:
    """Look at `url`: connect, shake hands as `tls` says, ask for the version.

    Whichever is expected, TLS or none, is tried first; the other one only when that makes no sense.
    """
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port or {"http": 80, "https": 443}[parts.scheme]
    addresses: tuple[str, ...] = ()
    began = asyncio.get_running_loop().time()
    try:
        addresses = await _resolve(url, host, port)
        connected = await _first_that_connects(url, addresses, port)
    except Unreachable as error:
        return Sight(url, addresses, error=error)
    took = asyncio.get_running_loop().time() - began
    answer, handshake = b"", None
    if parts.scheme == "https":
        handshake = await _handshake(connected, port, tls.server_name or host, tls)
        if handshake.chain and not (handshake.answer or handshake.alert):
            # Cut without a word: etcd does so to a certificate that was revoked; or the road just then.
            handshake = await _handshake(connected, port, tls.server_name or host, tls)
        answer = handshake.answer
    if not (handshake and handshake.chain):
        answer = await _plain(connected, port)
        if not (answer or handshake):
            handshake = await _handshake(connected, port, host, TLS())
    plain = bool(answer) and not (handshake and handshake.chain)
    return Sight(url, addresses, connected, took, plain=plain, handshake=handshake, answer=answer)


async def _handshake(address: str, port: int, name: str, tls: TLS) -> Handshake:
    try:
        async with asyncio.timeout(PATIENCE):
            return await shake_hands(address, port, name, tls, _request(name))
    except TimeoutError:
        return Handshake(failed=NO_ANSWER)


async def _resolve(url: str, host: str, port: int) -> tuple[str, ...]:
    """The host's addresses. In a thread of its own: one that hangs must not keep the program from ending."""
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[tuple[str, ...] | OSError | UnicodeError] = loop.create_future()

    def tell(result: tuple[str, ...] | OSError | UnicodeError) -> None:
        if not answer.done():
            answer.set_result(result)

    def ask() -> None:
        result: tuple[str, ...] | OSError | UnicodeError
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            result = tuple(dict.fromkeys(str(each[4][0]) for each in found))
        except (OSError, UnicodeError) as error:
            result = error
        with suppress(RuntimeError):  # the loop is closed; nobody waits any more
            loop.call_soon_threadsafe(tell, result)

    threading.Thread(target=ask, name=f"address of {host}", daemon=True).start()
    try:
        async with asyncio.timeout(PATIENCE):
            result = await answer
    except TimeoutError as error:
        raise Unreachable(url, f"no name server tells the address of {host}", "unresolved") from error
    if isinstance(result, tuple):
        return result
    reason = result.strerror if isinstance(result, OSError) else str(result)
    raise Unreachable(url, f"{host}: {reason}", "unresolved") from result


async def _first_that_connects(url: str, addresses: tuple[str, ...], port: int) -> str:
    failures: list[str] = []
    why: Why = "lost"
    for address in addresses:
        try:
            async with asyncio.timeout(PATIENCE / len(addresses)):
                _, writer = await asyncio.open_connection(address, port)
        except TimeoutError:
            failures.append(f"{address} port {port}: no answer")
            why = "late"
        except OSError as error:
            failures.append(f"{address} port {port}: {os.strerror(error.errno or 0)}")
            why = "no route" if error.errno in _NO_ROUTE else "refused"
        else:
            writer.close()
            return address
    raise Unreachable(url, "; ".join(failures), why)


async def _plain(address: str, port: int) -> bytes:
    """The begin of an answer in HTTP; empty when there is none."""
    answer = b""
    with suppress(OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
        async with asyncio.timeout(PATIENCE):
            reader, writer = await asyncio.open_connection(address, port, limit=LONGEST_HEAD)
            with closing(writer):
                writer.write(_request(address))
                answer = await reader.readuntil(b"\r\n\r\n")
                answer += await reader.read(LONGEST_HEAD)
    # Go's server answers 400 to plain HTTP on a port for TLS; etcd's cuts the connection.
    return answer if re.match(rb"HTTP/1\.[01] (?!400)", answer) else b""


def _request(host: str) -> bytes:
    name = f"[{host}]" if ":" in host else host
    return f"GET /version HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\n\r\n".encode("ascii", "replace")
