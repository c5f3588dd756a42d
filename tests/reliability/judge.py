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
from base64 import b64decode, b64encode
from collections.abc import AsyncIterator, Iterable, Sequence
from itertools import groupby
from time import monotonic
from typing import Any

import aiohttp
import orjson

from tests.reliability.history import Change, Generation, History, Impossible, Record

RETRY_SECONDS = 0.1
"""Between two tries: a member that is down should not cost a processor."""

COMPACTED_SECONDS = 20.0
"""How long all members may say that what comes next is compacted, until the judge gives up. A member that was
cut off for longer, and has compacted nothing, might still tell it."""

CONNECT_SECONDS = 5.0

_EVERYTHING = b64encode(b"\0").decode()


class JudgeError(Exception):
    """The truth cannot be known: members contradict each other, or nobody tells it any more."""


class _Lost(Exception):
    """A stream is of no more use; another one is."""


class Judge:
    """Watches `endpoints`, the members' own addresses, as `user`, who may read everything, or as nobody."""

    def __init__(
        self, history: History, endpoints: Sequence[str], api_prefix: str, user: str, password: str
    ) -> None:
        self._history = history
        self._endpoints = tuple(endpoints)
        self._prefix = api_prefix
        self._user = user
        self._password = password
        self._moved = asyncio.Condition()
        self._compacted: tuple[int, int, float] | None = None
        self.streams = 0
        """Watches opened so far."""
        self.skipped = 0
        """How often a member left out a revision; its watch was opened again then."""

    async def run(self) -> None:
        """Watch all members until cancelled, whatever happens to them; JudgeError when they contradict."""
        connector = aiohttp.TCPConnector(limit=0)
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS)
        async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
            members = [_Member(self, session, endpoint) for endpoint in self._endpoints]
            try:
                async with asyncio.TaskGroup() as group:
                    for member in members:
                        group.create_task(member.run(), name=f"judge of {member.url}")
            except* JudgeError as errors:
                raise errors.exceptions[0] from None

    async def caught_up(self, revision: int) -> None:
        """Return when the history is complete up to `revision`; JudgeError if its generation ends before."""
        generation = self._history.current
        async with self._moved:
            while generation.head < revision:
                if generation.ended:
                    raise JudgeError(
                        f"generation {generation.number} ended at {generation.head}, before {revision}"
                    )
                await self._moved.wait()

    @property
    def history(self) -> History:
        """What is known."""
        return self._history

    def request(self, revision: int) -> bytes:
        """The body of a watch of everything from `revision` on."""
        create = {"key": _EVERYTHING, "range_end": _EVERYTHING, "start_revision": revision, "prev_kv": True}
        return orjson.dumps({"create_request": create})

    def credentials(self) -> bytes:
        """The body of a request for a token; empty where no token is needed."""
        return orjson.dumps({"name": self._user, "password": self._password}) if self._user else b""

    def address(self, path: str) -> str:
        """`path` below the gateway's prefix."""
        return self._prefix + path

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
            except (aiohttp.ClientError, OSError, TimeoutError, _Lost):
                await asyncio.sleep(RETRY_SECONDS)

    async def _follow(self, generation: Generation) -> None:
        due = generation.head + 1
        self._judge.streams += 1
        async for result in self._results(due):
            if generation.ended:
                raise _Lost
            if result.get("canceled"):
                if "compact_revision" in result:
                    self._judge.compacted(generation, self.url, int(result["compact_revision"]))
                raise _Lost
            events = result.get("events", ())
            for revision, group in groupby(events, key=lambda event: int(event["kv"]["mod_revision"])):
                if revision != due:
                    self._judge.skipped += 1
                    raise _Lost
                await self._judge.take(generation, self.url, revision, _changes(group))
                due += 1

    async def _results(self, revision: int) -> AsyncIterator[dict[str, Any]]:
        """What a watch from `revision` on says."""
        headers = {"Grpc-Metadata-hasleader": "true"}  # a member that is cut off shall say so
        # A new token each time: a member forgets those it gave, and says so in many ways.
        if token := await self._authenticate():
            headers["Authorization"] = token
        url = self.url + self._judge.address("/watch")
        async with self._session.post(url, data=self._judge.request(revision), headers=headers) as response:
            if response.status != 200:
                raise _Lost(await response.text())
            async for line in _lines(response):
                document = orjson.loads(line)
                if "result" not in document:
                    raise _Lost(line.decode())
                yield document["result"]

    async def _authenticate(self) -> str:
        """A token, '' where none is needed. Only the member that gave it knows it, until it is restarted."""
        credentials = self._judge.credentials()
        if not credentials:
            return ""
        url = self.url + self._judge.address("/auth/authenticate")
        async with self._session.post(url, data=credentials) as response:
            text = await response.text()
        if response.status == 200:
            token: str = orjson.loads(text)["token"]
            return token
        if "authentication is not enabled" in text:
            return ""
        raise _Lost(text)


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
            None if event.get("type") == "DELETE" else _record(event["kv"]),
            _record(event["prev_kv"]) if "prev_kv" in event else None,
        )
        for event in events
    ]


def _record(kv: dict[str, Any]) -> Record:
    return Record(
        b64decode(kv["key"]),
        b64decode(kv.get("value", "")),
        int(kv["create_revision"]),
        int(kv["mod_revision"]),
        int(kv["version"]),
        int(kv.get("lease", 0)),
    )
