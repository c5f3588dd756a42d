"""The judge: an independent record of what etcd did, kept by watching every member from revision 1 on.

Each member's watch goes over the whole key space, so each of its revisions has an event, and a hole cannot
go unnoticed. Members are killed, paused, cut off, wiped and restored: a watch that ends is opened again, from
the history's head on, and whoever is first tells what comes next. What the others tell of the same
revision must be the same.

etcd cuts what it sends between revisions, never within one (unless asked to, by `fragment`): a document, also
one of a catch-up, has whole revisions. Were it otherwise, the members would contradict each other here.
"""

from __future__ import annotations

import asyncio
import ssl
from base64 import b64decode
from collections.abc import AsyncIterator, Iterable, Sequence
from itertools import cycle, groupby
from time import monotonic
from typing import Any

import aiohttp
import orjson

from tests.reliability.direct import EVERYTHING, Lost, authenticate, read_everything, record
from tests.reliability.history import Change, Generation, History, Impossible, Record

RETRY_SECONDS = 0.1
"""Between two tries: a member that is down should not cost a processor."""

COMPACTED_SECONDS = 20.0
"""How long all members may say that what comes next is compacted, until the judge gives up. A member that was
cut off for longer, and has compacted nothing, might still tell it."""

CONNECT_SECONDS = 5.0

PATIENCE = 60.0
"""Seconds in which the judge must have heard what a member has told somebody else."""

READ_SECONDS = 10.0
"""For a member to tell everything that etcd holds; then another one is asked."""

DIFFERENCES = 5
"""That are told when etcd holds something else than it should."""


class JudgeError(Exception):
    """The truth cannot be known: members contradict each other, or nobody tells it any more."""


class Judge:
    """Watches `endpoints`, the members' own addresses, as `user`, who may read everything, or as nobody.

    `tls`: where they are https.
    """

    def __init__(
        self,
        history: History,
        endpoints: Sequence[str],
        api_prefix: str,
        user: str,
        password: str,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._history = history
        self._endpoints = tuple(endpoints)
        self._prefix = api_prefix
        self._user = user
        self._password = password
        self._tls = tls
        self._moved = asyncio.Condition()
        self._compacted: tuple[int, int, float] | None = None
        self.streams = 0
        """Watches opened so far."""
        self.skipped = 0
        """How often a member left out a revision; its watch was opened again then."""

    async def run(self) -> None:
        """Watch all members until cancelled, whatever happens to them; JudgeError when they contradict."""
        async with self._session() as session:
            members = [_Member(self, session, endpoint) for endpoint in self._endpoints]
            try:
                async with asyncio.TaskGroup() as group:
                    for member in members:
                        group.create_task(member.run(), name=f"judge of {member.url}")
            except ExceptionGroup as errors:
                # Not `except*`: Python 3.11.2 wraps what is raised there in a group again.
                ours = (one for one in errors.exceptions if isinstance(one, JudgeError))
                raise next(ours, errors) from None

    async def caught_up(self, revision: int) -> None:
        """Return when the history is complete up to `revision`.

        JudgeError when its generation ends before, or when that takes longer than PATIENCE.
        """
        generation = self._history.current
        try:
            async with asyncio.timeout(PATIENCE), self._moved:
                while generation.head < revision:
                    if generation.ended:
                        raise JudgeError(
                            f"generation {generation.number} ended at {generation.head}, before {revision}"
                        )
                    await self._moved.wait()
        except TimeoutError as error:
            raise JudgeError(
                f"after {PATIENCE:g} s generation {generation.number} is known up to {generation.head}, "
                f"not to {revision}: no member told what came next; {self.streams} watches were opened so far"
            ) from error

    async def compare_with_etcd(self) -> int:
        """Hold the history against what etcd says that it holds now; the number of keys compared.

        A watch and a read are told by different parts of etcd. JudgeError when they differ.
        """
        generation = self._history.current
        revision, held = await self._read()
        await self.caught_up(revision)
        known = generation.state(b"", revision)
        if wrong := [key for key in sorted(held.keys() | known) if held.get(key) != known.get(key)]:
            told = "; ".join(f"{held.get(key)}, known is {known.get(key)}" for key in wrong[:DIFFERENCES])
            raise JudgeError(
                f"at revision {revision} of generation {generation.number} etcd holds {len(wrong)} of "
                f"{len(held)} keys otherwise than it said to watches: {told}"
            )
        return len(held)

    async def _read(self) -> tuple[int, dict[bytes, Record]]:
        """A revision, and all that etcd holds at it, by the word of any member."""
        why = "no member"
        try:
            async with asyncio.timeout(PATIENCE), self._session() as session:
                for endpoint in cycle(self._endpoints):
                    url = self.address(endpoint, "")
                    try:
                        async with asyncio.timeout(READ_SECONDS):
                            return await read_everything(session, url, await self.token(session, endpoint))
                    except (aiohttp.ClientError, OSError, Lost) as error:
                        why = f"{endpoint}: {error!r}"
                        await asyncio.sleep(RETRY_SECONDS)
        except TimeoutError as error:
            raise JudgeError(f"etcd could not be read within {PATIENCE:g} s; at last {why}") from error
        raise JudgeError(why)

    def _session(self) -> aiohttp.ClientSession:
        connector = aiohttp.TCPConnector(limit=0, ssl=self._tls or True)
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS)
        return aiohttp.ClientSession(connector=connector, timeout=timeout)

    @property
    def history(self) -> History:
        """What is known."""
        return self._history

    def request(self, revision: int) -> bytes:
        """The body of a watch of everything from `revision` on."""
        create = {"key": EVERYTHING, "range_end": EVERYTHING, "start_revision": revision, "prev_kv": True}
        return orjson.dumps({"create_request": create})

    async def token(self, session: aiohttp.ClientSession, endpoint: str) -> dict[str, str]:
        """The headers that let the judge read at a member."""
        return await authenticate(session, self.address(endpoint, ""), self._user, self._password)

    def address(self, endpoint: str, path: str) -> str:
        """`path` below the gateway's prefix."""
        return endpoint + self._prefix + path

    async def take(self, generation: Generation, url: str, revision: int, changes: Sequence[Change]) -> None:
        """A member tells a revision: the next one, or one that is known already."""
        if revision <= generation.head:
            known = [(event.key, event.kv) for event in generation.events(revision)]
            if known != (told := [(change.key, change.kv) for change in changes]):
                raise JudgeError(
                    f"{url} tells of revision {revision} of generation {generation.number} {told}, "
                    f"but another member told {known}"
                )
            return
        try:
            generation.add(revision, changes)
        except Impossible as error:
            raise JudgeError(f"{url}, generation {generation.number}: {error}") from error
        self._compacted = None
        async with self._moved:
            self._moved.notify_all()

    def compacted(self, generation: Generation, url: str, revision: int) -> None:
        """A member can't tell what comes next; JudgeError when that has been so for too long."""
        where = (generation.number, generation.head)
        if self._compacted is None or self._compacted[:2] != where:
            self._compacted = (*where, monotonic())
        elif monotonic() - self._compacted[2] > COMPACTED_SECONDS:
            raise JudgeError(
                f"{url} has compacted everything before {revision}, and generation {generation.number} is "
                f"known only up to {generation.head}: compact what the judge knows (`caught_up`)"
            )


class _Member:
    """One member's watch, opened again and again."""

    def __init__(self, judge: Judge, session: aiohttp.ClientSession, url: str) -> None:
        self._judge = judge
        self._session = session
        self.url = url

    async def run(self) -> None:
        while True:
            # Taken before anything is sent: all members were stopped when this generation ended, so
            # whoever answers what is sent now is of this one or, if it ends meanwhile, is not listened to.
            generation = self._judge.history.current
            try:
                await self._follow(generation)
            except (aiohttp.ClientError, OSError, TimeoutError, Lost):
                await asyncio.sleep(RETRY_SECONDS)

    async def _follow(self, generation: Generation) -> None:
        due = generation.head + 1
        self._judge.streams += 1
        async for result in self._results(due):
            if generation.ended:
                raise Lost
            if result.get("canceled"):
                if "compact_revision" in result:
                    self._judge.compacted(generation, self.url, int(result["compact_revision"]))
                raise Lost
            events = result.get("events", ())
            for revision, group in groupby(events, key=lambda event: int(event["kv"]["mod_revision"])):
                if revision != due:
                    self._judge.skipped += 1
                    raise Lost
                await self._judge.take(generation, self.url, revision, _changes(group))
                due += 1

    async def _results(self, revision: int) -> AsyncIterator[dict[str, Any]]:
        """What a watch from `revision` on says."""
        headers = {"Grpc-Metadata-hasleader": "true"}  # a member that is cut off shall say so
        # A new token each time: a member forgets those it gave, and says so in many ways.
        headers |= await self._judge.token(self._session, self.url)
        url = self._judge.address(self.url, "/watch")
        async with self._session.post(url, data=self._judge.request(revision), headers=headers) as response:
            if response.status != 200:
                raise Lost(await response.text())
            async for line in _lines(response):
                document = orjson.loads(line)
                if "result" not in document:
                    raise Lost(line.decode())
                yield document["result"]


async def _lines(response: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
    begun: list[bytes] = []  # a line in pieces: joining them only once keeps this linear
    async for chunk in response.content.iter_any():
        first, *rest = chunk.split(b"\n")
        begun.append(first)
        for piece in rest:
            line = b"".join(begun)
            begun = [piece]
            if line:
                yield line
    if line := b"".join(begun):
        yield line  # errors have no newline


def _changes(events: Iterable[dict[str, Any]]) -> list[Change]:
    return [
        Change(
            b64decode(event["kv"]["key"]),
            None if event.get("type") == "DELETE" else record(event["kv"]),
            record(event["prev_kv"]) if "prev_kv" in event else None,
        )
        for event in events
    ]
