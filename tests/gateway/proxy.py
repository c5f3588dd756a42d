"""A stand-in for a reverse proxy such as nginx, which reads a request to its end before it passes it on."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


@asynccontextmanager
async def buffering_proxy(port: int) -> AsyncIterator[str]:
    """Listen in front of the port on this machine; the URL. Answers are passed on as they come."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            request = await _whole_request(reader, writer)
            upstream, to_upstream = await asyncio.open_connection("127.0.0.1", port)
            try:
                to_upstream.write(request)
                async with asyncio.TaskGroup() as tasks:
                    gone = tasks.create_task(_until_closed(reader, to_upstream), name="client")
                    while data := await upstream.read(65536):
                        writer.write(data)
                        await writer.drain()
                    gone.cancel()
            finally:
                to_upstream.close()
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        await server.wait_closed()


async def _whole_request(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
    """Read a request to its end, and write it anew with a Content-Length."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    if re.search(r"(?i)\r\nexpect: 100-continue", head):
        writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    body = b""
    if re.search(r"(?i)\r\ntransfer-encoding: chunked", head):
        while size := int(await reader.readuntil(b"\r\n"), 16):
            body += await reader.readexactly(size)
            await reader.readexactly(2)
    elif length := re.search(r"(?i)\r\ncontent-length: (\d+)", head):
        body = await reader.readexactly(int(length[1]))
    kept = re.sub(r"(?i)\r\n(expect|transfer-encoding|content-length|connection):[^\r]*", "", head[:-4])
    return f"{kept}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode() + body


async def _until_closed(reader: asyncio.StreamReader, to_upstream: asyncio.StreamWriter) -> None:
    """When the client goes away, so does the connection to the server."""
    while await reader.read(65536):
        pass
    to_upstream.close()
