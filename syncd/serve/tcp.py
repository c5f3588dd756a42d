"""The second listener, TCP: everybody on the machine can connect, browsers among them.

A browser asks what any web page wants it to ask, also of its own machine. A page may even come from a name
that its owner has turned to 127.0.0.1 meanwhile (DNS rebinding), and read the answers then. Programs address
the listener as what it is, and a browser tells for which page it asks: so both can be told apart.
"""

from __future__ import annotations

import ipaddress
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager

from aiohttp import web

from syncd.config.notation import Address
from syncd.serve.errors import ApiError
from syncd.serve.listener import ListenError


@contextmanager
def bound_tcp(address: Address) -> Iterator[socket.socket]:
    """A socket bound to `address`, not yet listening; ListenError tells what is in the way."""
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as listener:
        # Else the connections of the daemon before this one would keep the port for a minute.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(address)
        except OSError as error:
            what = os.strerror(error.errno) if error.errno else str(error)
            raise ListenError(f"serve.listen {address}: cannot be had: {what}") from error
        yield listener


def must_be_a_program(request: web.Request) -> None:
    """ApiError forbidden when it is a browser that asks over TCP."""
    transport = request.transport
    if transport is None or transport.get_extra_info("socket").family == socket.AF_UNIX:
        return
    if "Origin" in request.headers:
        raise ApiError("forbidden", "this is for programs; what a web page makes a browser ask is refused")
    host = request.headers.get("Host", "")
    if transport.get_extra_info("sslcontext") is None and not is_ours(host):
        raise ApiError(
            "forbidden",
            f"Host: {host}: without TLS, only an IP address or localhost is answered, as a web page may have "
            "its own name lead here",
        )


def is_ours(host: str) -> bool:
    """Whether a Host header says no name that its owner could have lead here; also when it says nothing."""
    name = host.rpartition(":")[0] if host.rpartition("]")[2].count(":") == 1 else host
    if name.lower() in {"", "localhost"}:
        return True
    try:
        ipaddress.ip_address(name.removeprefix("[").removesuffix("]"))
    except ValueError:
        return False
    return True
