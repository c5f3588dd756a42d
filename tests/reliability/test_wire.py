"""The readers' own HTTP, against a server that sends whatever the test wants."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from tests.reliability.wire import Connection, Cut, target

CHUNKED = b"HTTP/1.1 200 OK\r\nSyncd-Revision: 5\r\nTransfer-Encoding: chunked\r\n\r\n"


@asynccontextmanager
async def server(path: Path, *answers: bytes) -> AsyncIterator[Path]:
    """One that answers each request on a connection with the next answer, and then hangs up."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError):  # the test has seen enough
            for answer in answers:
                await reader.readuntil(b"\r\n\r\n")
                writer.write(answer)
        writer.close()

    async with await asyncio.start_unix_server(serve, str(path / "socket")):
        yield path / "socket"


def chunked(*chunks: bytes) -> bytes:
    """A whole answer."""
    return CHUNKED + b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in (*chunks, b""))


async def lines(connection: Connection) -> list[bytes]:
    """All lines of an answer."""
    found = []
    while (line := await connection.line()) is not None:
        found.append(line)
    return found


@pytest.mark.parametrize("sip", [1, 3, 1 << 16])
@pytest.mark.parametrize(
    "chunks",
    [[b"one\ntwo\nthree\n"], [b"one\n", b"two\n", b"three\n"], [b"o", b"ne\ntw", b"o\nthree", b"\n"]],
)
async def test_lines_are_whole_however_they_come(tmp_path: Path, chunks: Sequence[bytes], sip: int) -> None:
    """In any chunks, read in pieces of any size; and the next answer follows on the same connection."""
    answers = chunked(*chunks), chunked(b"again\n")
    async with server(tmp_path, *answers) as path, await Connection.open(path, sip) as connection:
        await connection.ask("/")
        assert (connection.status, connection.headers["syncd-revision"]) == (200, "5")
        assert await lines(connection) == [b"one", b"two", b"three"]
        await connection.ask("/")
        assert await connection.body() == b"again\n"


async def test_answers_without_chunks(tmp_path: Path) -> None:
    """Of a length, of none, and "not modified", whose length is that of what is not sent."""
    answers = [
        b"HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\n\r\nnone",
        b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
    ]
    async with server(tmp_path, *answers) as path, await Connection.open(path) as connection:
        for status, body in ((404, b"none"), (200, b""), (304, b""), (200, b"ok")):
            await connection.ask("/")
            assert (connection.status, await connection.body()) == (status, body)


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        CHUNKED[:20],
        CHUNKED,
        CHUNKED + b"5\r\non",
        CHUNKED + b"4\r\none\n\r\n",
        CHUNKED + b"3\r\none\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\none\n",
    ],
)
async def test_what_was_cut_is_no_answer(tmp_path: Path, answer: bytes) -> None:
    """Wherever it was cut, it isn't taken for the end."""
    async with server(tmp_path, answer) as path, await Connection.open(path) as connection:
        with pytest.raises(Cut):
            await ask_and_read(connection)


async def ask_and_read(connection: Connection) -> None:
    """One request, to its end."""
    await connection.ask("/")
    await lines(connection)


async def test_the_process_at_the_other_end_is_known(tmp_path: Path) -> None:
    """Here it is this one."""
    async with server(tmp_path) as path, await Connection.open(path) as connection:
        assert connection.pid == os.getpid()


async def test_nobody_listens(tmp_path: Path) -> None:
    """Then there is no connection."""
    with pytest.raises(OSError, match="No such file"):
        await Connection.open(tmp_path / "socket")


def test_targets() -> None:
    """Keys are bytes."""
    assert target("value", key=b"/c/a b\xff", keys_only=None) == "/v1/value?key=/c/a%20b%FF"
    assert (
        target("watch", prefix="/c/", from_=5, snapshot=True) == "/v1/watch?prefix=/c/&from=5&snapshot=true"
    )
