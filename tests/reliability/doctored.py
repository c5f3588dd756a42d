"""A daemon that lies: a proxy on a Unix socket that passes on everything, and changes one thing of it, once.

async with Doctored(daemon.socket, path, drop_a_batch) as lie:
    ...  # readers at `path`
    await lie.told.wait()
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Self

Lie = Callable[[bytes], bytes]
"""What is told instead of some bytes; the same, if they offer no opportunity. Chunks stay whole."""

READ_BYTES = 1 << 18
AHEAD = 30
"""Revisions; some of them change what the reader asked for."""

_BATCH = re.compile(rb'[0-9a-f]+\r\n\{"revision":\d+,"events":[^\n]*\]\}\n\r\n')
"""A chunk with one batch in it."""

_PROGRESS = re.compile(rb'\{"revision":(\d+),"progress"')
_STALE = re.compile(rb'("progress":true,"state":"stale","age_ms":)(\d+)')


def drop_a_batch(data: bytes) -> bytes:
    """Leave a revision out."""
    return _BATCH.sub(b"", data, count=1)


def double_a_batch(data: bytes) -> bytes:
    """Tell a revision twice."""
    return _BATCH.sub(lambda match: match[0] * 2, data, count=1)


def change_a_value(data: bytes) -> bytes:
    """Tell something that is not so."""
    return re.sub(rb'"value":"true', b'"value":"lies', data, count=1)


def renumber_a_key(data: bytes) -> bytes:
    """Tell a wrong version of a key, within a snapshot or alone."""
    return re.sub(rb'(\n\{"key":[^\n]*"version":)\d', rb"\g<1>0", data, count=1)


def claim_progress(data: bytes) -> bytes:
    """Tell that nothing more will have happened up to a revision that is yet to come."""

    def ahead(match: re.Match[bytes]) -> bytes:
        revision = b"%d" % (int(match[1]) + AHEAD)
        return match[0].replace(match[1], revision) if len(revision) == len(match[1]) else match[0]

    return _PROGRESS.sub(ahead, data, count=1)


def hide_the_age_of_an_answer(data: bytes) -> bytes:
    """Tell that an answer is as fresh as can be, though etcd is out of sight."""
    return re.sub(rb"(Syncd-State: stale\r\n[^\0]*?Syncd-Age-Ms: )\d+", rb"\g<1>0", data, count=1)


def hide_the_age_of_a_progress(data: bytes) -> bytes:
    """The same, on a watch."""
    return _STALE.sub(lambda match: match[1] + b"0".rjust(len(match[2])), data, count=1)


class Doctored:
    """At `path` it passes on to `daemon`; the first answer in which `lie` finds something is changed."""

    def __init__(self, daemon: Path, path: Path, lie: Lie) -> None:
        self._daemon = daemon
        self._path = path
        self._lie = lie
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._serving: set[asyncio.Task[None]] = set()
        self.told = asyncio.Event()
        """Set when the lie is out."""

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_unix_server(self._serve, str(self._path))
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._server is not None:
            self._server.close()
            for writer in tuple(self._writers):
                writer.transport.abort()
            await asyncio.gather(*self._serving)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        self._serving.add(task)
        task.add_done_callback(self._serving.discard)
        self._writers.add(writer)
        try:
            upstream, onward = await asyncio.open_unix_connection(str(self._daemon))
            self._writers.add(onward)
            async with asyncio.TaskGroup() as group:
                group.create_task(self._pass(reader, onward, lying=False), name="doctored, up")
                group.create_task(self._pass(upstream, writer, lying=True), name="doctored, down")
        except OSError:
            writer.transport.abort()

    async def _pass(self, source: asyncio.StreamReader, target: asyncio.StreamWriter, *, lying: bool) -> None:
        with suppress(OSError):  # one side hung up
            while data := await source.read(READ_BYTES):
                if lying and not self.told.is_set() and (lie := self._lie(data)) != data:
                    self.told.set()
                    data = lie
                target.write(data)
                await target.drain()
        target.transport.abort()
