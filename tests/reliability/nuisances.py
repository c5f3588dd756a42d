"""Readers that are bad for a daemon: those who never read, and those who hang up in mid-sentence."""

from __future__ import annotations

import asyncio
import select
import socket

from tests.reliability.scene import Scene
from tests.reliability.wire import Connection, target

LOOK_SECONDS = 0.5
"""How often it is looked whether a connection that nobody reads from was closed."""

PAUSE_SECONDS = (0.3, 3.0)
STAY_SECONDS = (0.0, 1.0)
RECEIVE_BUFFER = 2048
BITE_BYTES = 2048
"""What a rude reader takes at a time: a small part of a snapshot."""


class Silent:
    """`count` connections with a watch each, from which nothing is ever read; opened again when closed."""

    def __init__(self, scene: Scene, count: int) -> None:
        self._scene = scene
        self._count = count
        self._open: dict[int, socket.socket] = {}
        # Without POLLIN: what is there to read is nobody's business here.
        self._poll = select.poll()

    async def run(self) -> None:
        """Until cancelled."""
        try:
            while True:
                for number, _ in self._poll.poll(0):
                    self._poll.unregister(number)
                    self._open.pop(number).close()
                for _ in range(self._count - len(self._open)):
                    self._connect()
                await asyncio.sleep(LOOK_SECONDS)
        finally:
            for connection in self._open.values():
                connection.close()

    def _connect(self) -> None:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connection.setblocking(False)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
            connection.connect(str(self._scene.socket))  # a Unix socket connects at once or not at all
            draw = self._scene.draw
            query = target(
                "watch",
                prefix=draw.choice((self._scene.range, *self._scene.prefixes)),
                snapshot=True,
                prev_kv=True,
            )
            connection.send(f"GET {query} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        except OSError:
            self._scene.tally.unreachable += 1
            connection.close()
            return
        self._scene.tally.silent += 1
        self._open[connection.fileno()] = connection
        self._poll.register(connection, select.POLLRDHUP | select.POLLHUP | select.POLLERR)


class Rude:
    """One that hangs up in the middle: of its request, of a snapshot, of a watch."""

    def __init__(self, scene: Scene, number: int) -> None:
        self._scene = scene
        self._name = f"rude {number}"

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await self._scene.talk(self._name, self._begin, BITE_BYTES)
            await self._scene.pause(*PAUSE_SECONDS)

    async def _begin(self, connection: Connection) -> None:
        await self._say(connection)
        self._scene.tally.hang_ups += 1

    async def _say(self, connection: Connection) -> None:
        scene, draw = self._scene, self._scene.draw
        prefix = draw.choice((scene.range, *scene.prefixes))
        call = draw.choice(("snapshot", "watch"))
        query = target(call, prefix=prefix, snapshot=True if call == "watch" else None)
        way = draw.random()
        if way < 0.4:
            request = f"GET {query} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
            await connection.send(request[: draw.randint(0, len(request))])
            await scene.pause(*STAY_SECONDS)
            return
        await connection.ask(query)
        if way < 0.7:
            await connection.piece()
            return
        try:
            async with asyncio.timeout(draw.uniform(*STAY_SECONDS)):
                while await connection.piece():
                    pass
        except TimeoutError:
            pass  # that was long enough
