"""The proxy that tests put between syncd and etcd: what a client sees when it cuts, refuses or swallows."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from tests.proxy import Proxy

Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@asynccontextmanager
async def echoing() -> AsyncIterator[Proxy]:
    """A proxy in front of a server that sends back what it gets."""

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(1024):
                writer.write(data)
        except ConnectionResetError:
            pass  # as the tests want it
        finally:
            writer.close()

    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    async with server, Proxy(server.sockets[0].getsockname()[1]) as proxy:
        yield proxy


@asynccontextmanager
async def connected(proxy: Proxy) -> AsyncIterator[Connection]:
    """A client that connected, and waits ten seconds at most for anything."""
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
    async with asyncio.timeout(10):
        try:
            yield reader, writer
        finally:
            writer.transport.abort()


async def answered(connection: Connection) -> None:
    """Something goes to the server and comes back."""
    reader, writer = connection
    writer.write(b"hello")
    assert await reader.readexactly(5) == b"hello"


async def test_a_cut_connection_is_reset() -> None:
    """Not ended properly: whoever reads sees ECONNRESET; a new connection is welcome."""
    async with echoing() as proxy:
        async with connected(proxy) as one:
            await answered(one)
            proxy.cut()
            with pytest.raises(ConnectionResetError):
                await one[0].read()
        async with connected(proxy) as other:
            await answered(other)


async def test_a_connection_is_cut_in_the_middle() -> None:
    """After as many bytes as were named."""
    async with echoing() as proxy, connected(proxy) as (reader, writer):
        await answered((reader, writer))
        proxy.cut_after(3)
        writer.write(b"hello")
        with pytest.raises(ConnectionResetError):
            await reader.readexactly(5)
        assert proxy.bytes_down == len("hellohel")


async def test_refused_connections_are_reset() -> None:
    """Those that are open, and each new one."""
    async with echoing() as proxy, connected(proxy) as one:
        await answered(one)
        proxy.refuse()
        with pytest.raises(ConnectionResetError):
            await one[0].read()
        async with connected(proxy) as other:
            with pytest.raises(ConnectionResetError):
                await other[0].read()


async def test_a_black_hole_tells_nothing() -> None:
    """Not whether a server is behind it; what was sent flows on afterwards, if there is one."""
    async with echoing() as proxy, connected(proxy) as open_before:
        await answered(open_before)
        proxy.black_hole()
        async with connected(proxy) as held:
            for _, writer in (open_before, held):
                writer.write(b"hello")
            for reader, _ in (open_before, held):
                with pytest.raises(TimeoutError):
                    await asyncio.wait_for(reader.read(1), 0.1)
            proxy.let_through()
            for reader, _ in (open_before, held):
                assert await reader.readexactly(5) == b"hello"
    async with Proxy(1) as proxy:  # where nobody listens
        proxy.black_hole()
        async with connected(proxy) as (reader, _):
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(reader.read(1), 0.1)
            proxy.let_through()
            with pytest.raises(ConnectionResetError):
                await reader.read()


async def test_what_a_black_hole_holds_can_be_cut() -> None:
    """Also a connection that was never passed on."""
    async with echoing() as proxy, connected(proxy) as open_before:
        await answered(open_before)
        proxy.black_hole()
        async with connected(proxy) as held:
            while proxy.open_connections < 2:  # noqa: ASYNC110 - the proxy has no event for that
                await asyncio.sleep(0)
            proxy.cut()
            for reader, _ in (open_before, held):
                with pytest.raises(ConnectionResetError):
                    await reader.read()
