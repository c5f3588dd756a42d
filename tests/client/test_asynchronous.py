"""What only the asyncio front has: cancelling, and other tasks beside it."""

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from syncd.client import AsyncClient, Connected
from syncd.records import Batch
from tests.client.fake import CHUNKED, RECORD, FakeDaemon, chunks, echoing, head, streamed, whole

PUT = b'{"revision":%d,"events":[{"type":"put","kv":{"key":"/a","mod_revision":8}}]}\n'
X = whole(b"x", headers=RECORD)


class Served:
    """What one reader sees of a daemon in the same event loop, line by line."""

    def __init__(self) -> None:
        self.connections = 0
        self.open = 0
        self.lines: asyncio.Queue[bytes] = asyncio.Queue()
        self.left = asyncio.Event()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Send the lines as they come until the reader leaves."""
        self.connections += 1
        self.open += 1
        try:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(head(headers=CHUNKED))
            async with asyncio.TaskGroup() as tasks:
                sending = tasks.create_task(self._send(writer), name="send")
                await reader.read()
                sending.cancel()
        finally:
            self.open -= 1
            writer.close()
            self.left.set()

    async def _send(self, writer: asyncio.StreamWriter) -> None:
        while True:
            writer.write(chunks(await self.lines.get()))


@asynccontextmanager
async def serving(path: Path) -> AsyncIterator[Served]:
    """Serve on a socket."""
    served = Served()
    server = await asyncio.start_unix_server(served.serve, path)
    async with server:
        yield served


async def test_a_watch_that_is_cancelled_closes_its_connection(path: Path) -> None:
    """The daemon notices at once."""
    async with serving(path) as served:
        connected = asyncio.Event()

        async def watch() -> None:
            async with AsyncClient(str(path)).watch("/", heartbeat=60) as changes:
                connected.set()
                async for _ in changes:
                    pass

        async with asyncio.TaskGroup() as tasks:
            watching = tasks.create_task(watch(), name="watch")
            await connected.wait()
            assert served.open == 1
            watching.cancel()
        await asyncio.wait_for(served.left.wait(), 10)
        assert served.open == 0


async def test_a_request_that_is_cancelled_closes_its_connection(path: Path) -> None:
    """The next one would take its answer."""
    left = asyncio.Event()

    async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()
        left.set()

    client = AsyncClient(str(path))
    async with await asyncio.start_unix_server(say_nothing, path):
        for ask in (client.status, client.watch("/").open, client.snapshot("/").open):
            left.clear()
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(ask(), 0.02)
            await asyncio.wait_for(left.wait(), 10)


async def test_a_wait_that_is_cancelled_loses_nothing(path: Path) -> None:
    """The watch can be read on, by the same iterator too."""
    async with serving(path) as served, AsyncClient(str(path)).watch("/") as watch:
        changes = aiter(watch)
        for revision in (8, 9, 10):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.02):
                    await anext(changes)
            await served.lines.put(PUT % revision)
            batch = await anext(changes)
            assert isinstance(batch, Batch)
            assert batch.revision == revision
        assert served.connections == 1


async def test_tasks_share_a_client(path: Path) -> None:
    """Requests at the same time go over as many connections, and those that follow over the same."""
    with echoing(path) as connections:
        async with AsyncClient(str(path)) as client:
            keys = [f"/{number}" for number in range(6)]
            for _ in range(3):
                found = await asyncio.gather(*map(client.get, keys))
                assert [value.record.value.decode() for value in found] == keys
                assert connections() == len(keys)


async def test_others_get_their_turn_while_much_is_received(path: Path) -> None:
    """However fast the daemon sends, a reader gives way between what it reads."""
    record = b'{"key":"/a","value":"%s","create_revision":5,"mod_revision":7,"version":2,"lease":9}\n'
    count = 2000
    body = b'{"revision":7,"epoch":"e1","count":%d}\n' % count + record % (b"x" * 1000) * count
    turns = 0

    async def take_turns() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    with FakeDaemon(path, [streamed(body, b'{"end":true,"count":%d}\n' % count)]) as daemon:
        async with AsyncClient(daemon.path).snapshot("/") as snapshot, asyncio.TaskGroup() as tasks:
            beside = tasks.create_task(take_turns(), name="beside")
            assert len([one async for one in snapshot]) == count
            assert turns >= 8  # it cannot have come in fewer pieces
            beside.cancel()


def test_a_client_belongs_to_no_event_loop(path: Path) -> None:
    """An idle connection of one that has ended serves in the next."""
    with FakeDaemon(path, [X, X]) as daemon:
        client = AsyncClient(daemon.path)

        async def get() -> bytes:
            return (await client.get("/a")).record.value

        assert [asyncio.run(get()) for _ in range(2)] == [b"x", b"x"]
        assert len(daemon.requests) == 2
        client.close()


def test_nothing_heavy_is_imported_unless_asked_for() -> None:
    """Neither asyncio nor an HTTP library, nor any of the daemon."""
    program = (
        "import sys, syncd.client;"
        "syncd.client.Client('/x').watch('/').close();"
        "before = set(sys.modules);"
        "assert syncd.client.AsyncClient('/x');"
        "assert 'asyncio' in sys.modules;"
        "print(*sorted(before))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    imported = set(done.stdout.split())
    assert "syncd.client.blocking" in imported
    assert not imported & {
        "aiohttp",
        "asyncio",
        "concurrent.futures",
        "cryptography",
        "hashlib",
        "http.client",
        "json",
        "logging",
        "orjson",
        "random",
        "ssl",
        "structlog",
        "yaml",
    }
    ours = {name for name in imported if name.startswith("syncd.") and not name.startswith("syncd.client")}
    assert ours <= {"syncd.errors", "syncd.records"}


async def test_a_watch_can_be_followed_by_messages(path: Path) -> None:
    """Everything it tells, in an `async for`."""
    async with serving(path) as served, AsyncClient(str(path)).watch("/") as watch:
        await served.lines.put(PUT % 8)
        told = []
        async for message in watch.messages():
            told.append(type(message))
            if isinstance(message, Batch):
                break
        assert told == [Connected, Batch]
