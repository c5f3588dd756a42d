"""Readers that ask again and again: for values, snapshots, the status, with all the conditions there are."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from time import monotonic

import orjson

from tests.reliability.answers import NO_CONDITIONS, Answer, Conditions, Range, Value
from tests.reliability.court import Claim
from tests.reliability.epochs import MARKER
from tests.reliability.history import Record
from tests.reliability.scene import Scene, claim_of
from tests.reliability.told import Lines, Malformed, Snapshot, record, refusal
from tests.reliability.wire import Connection, target

PAUSE_SECONDS = (0.1, 1.5)
QUESTIONS = 20
"""On one connection, at most."""

WAIT_MS = 2000


class Poller:
    """One reader. It keeps what it got with a tag, to ask whether that has changed."""

    def __init__(self, scene: Scene, number: int) -> None:
        self._scene = scene
        self._name = f"poll {number}"
        self._asked = 0.0
        self._tagged_value: tuple[str, Value] | None = None
        self._tagged_range: tuple[str, Range] | None = None

    async def run(self) -> None:
        """Ask until cancelled."""
        while True:
            await self._scene.talk(self._name, self._ask_some)
            await self._scene.pause(0.02, 0.4)

    async def insist(self, conditions: Conditions) -> None:
        """All is well: what asks for no more than that must be answered."""
        status = 0
        marker = self._scene.prefixes[0].removesuffix(b"/") + MARKER

        async def ask(connection: Connection) -> None:
            nonlocal status
            await self._value_of(marker, conditions, connection)
            status = connection.status

        await self._scene.talk(self._name, ask)
        if status != 200:
            told = f"status {status}" if status else "no answer"
            self._scene.tally.violated(
                "refusal",
                self._name,
                told,
                f"all is well, and this was asked: {conditions}",
                monotonic(),
                "",
                0,
            )

    async def _ask_some(self, connection: Connection) -> None:
        ways: list[Callable[[Connection], Awaitable[None]]] = [
            self._value,
            self._value,
            self._value_again,
            self._record,
            self._snapshot,
            self._snapshot_again,
            self._status,
        ]
        for _ in range(self._scene.draw.randint(1, QUESTIONS)):
            await self._scene.draw.choice(ways)(connection)
            await self._scene.pause(*PAUSE_SECONDS)

    async def _value(self, connection: Connection) -> None:
        await self._value_of(self._some_key(), self._conditions(), connection)

    async def _value_of(self, key: bytes, conditions: Conditions, connection: Connection) -> None:
        claim = await self._ask(connection, "value", conditions, key=key)
        body = await connection.body()
        if connection.status != 200:
            self._refused(connection, claim, conditions, body, key)
            return
        value = Value(key, _from_headers(key, body, connection.headers))
        self._tagged_value = (connection.headers["etag"], value)
        self._scene.docket.answer(Answer(claim, value, conditions))

    async def _value_again(self, connection: Connection) -> None:
        """Has it changed since? 304 says that it is still the same."""
        if self._tagged_value is None:
            return
        tag, value = self._tagged_value
        claim = await self._ask(connection, "value", NO_CONDITIONS, tag, key=value.key)
        body = await connection.body()
        self._tagged_value = None
        if connection.status == 304:
            self._scene.docket.answer(Answer(claim, value))
        elif connection.status == 200:
            new = _from_headers(value.key, body, connection.headers)
            self._scene.docket.answer(Answer(claim, Value(value.key, new)))
        else:
            self._refused(connection, claim, NO_CONDITIONS, body, value.key)

    async def _record(self, connection: Connection) -> None:
        """The whole record, as JSON."""
        key, conditions = self._some_key(), self._conditions()
        claim = await self._ask(connection, "value", conditions, accept="application/json", key=key)
        body = await connection.body()
        if connection.status == 200:
            self._scene.docket.answer(Answer(claim, Value(key, record(orjson.loads(body))), conditions))
        else:
            self._refused(connection, claim, conditions, body, key)

    async def _snapshot(self, connection: Connection) -> None:
        draw = self._scene.draw
        prefix, conditions = draw.choice((self._scene.range, *self._scene.prefixes)), self._conditions()
        keys_only = draw.random() < 0.2
        claim = await self._ask(
            connection, "snapshot", conditions, prefix=prefix, keys_only=keys_only or None
        )
        if connection.status != 200:
            self._refused(connection, claim, conditions, await connection.body())
            return
        snapshot = await self._read_snapshot(connection, claim, keys_only=keys_only)
        got = Range(prefix, snapshot)
        if not keys_only:
            self._tagged_range = (connection.headers["etag"], got)
        self._scene.docket.answer(Answer(claim, got, conditions))

    async def _snapshot_again(self, connection: Connection) -> None:
        """Has it changed since?"""
        if self._tagged_range is None:
            return
        tag, got = self._tagged_range
        claim = await self._ask(connection, "snapshot", NO_CONDITIONS, tag, prefix=got.prefix)
        self._tagged_range = None
        if connection.status == 304:
            old = got.snapshot
            same = Snapshot(claim.revision, claim.epoch, claim.state, claim.age_ms, old.records, old.counts)
            self._scene.docket.answer(Answer(claim, Range(got.prefix, same)))
        elif connection.status == 200:
            snapshot = await self._read_snapshot(connection, claim, keys_only=False)
            self._scene.docket.answer(Answer(claim, Range(got.prefix, snapshot)))
        else:
            self._refused(connection, claim, NO_CONDITIONS, await connection.body())

    async def _status(self, connection: Connection) -> None:
        self._asked = monotonic()
        await connection.ask("/v1/status")
        head = claim_of(self._name, self._asked, connection)
        if head.epoch:
            self._scene.docket.answer(Answer(head))
        for fields in orjson.loads(await connection.body())["ranges"]:
            if fields["epoch"]:
                claim = Claim(
                    self._name,
                    monotonic(),
                    self._asked,
                    fields["epoch"],
                    fields["revision"],
                    fields["state"],
                    fields["age_ms"],
                    connection.pid,
                )
                self._scene.docket.answer(Answer(claim))

    async def _ask(
        self,
        connection: Connection,
        call: str,
        conditions: Conditions,
        tag: str | None = None,
        accept: str | None = None,
        **parameters: object,
    ) -> Claim:
        headers = {"If-None-Match": tag} if tag else {}
        if accept:
            headers["Accept"] = accept
        query = target(
            call,
            **parameters,
            linearizable=conditions.linearizable or None,
            min_revision=conditions.min_revision or None,
            max_age_ms=conditions.max_age_ms,
            wait_ms=conditions.wait_ms or None,
        )
        self._asked = monotonic()
        await connection.ask(query, headers, conditions.wait_ms / 1000)
        claim = claim_of(self._name, self._asked, connection)
        if connection.status in (200, 304):
            self._scene.processes.served(claim)
        return claim

    async def _read_snapshot(self, connection: Connection, claim: Claim, *, keys_only: bool) -> Snapshot:
        lines = Lines(keys_only)
        snapshot = None
        while (line := await connection.line()) is not None:
            if snapshot:
                raise Malformed(f"after the end: {line!r}")
            told = lines.add(orjson.loads(line))
            if isinstance(told, Snapshot):
                snapshot = told
        if snapshot is None:
            raise Malformed(f"a snapshot without an end, revision {claim.revision}")
        head = Claim(
            self._name,
            monotonic(),
            self._asked,
            snapshot.epoch,
            snapshot.revision,
            snapshot.state,
            snapshot.age_ms,
            claim.process,
        )
        self._scene.docket.answer(Answer(head))
        return snapshot

    def _refused(
        self, connection: Connection, claim: Claim, conditions: Conditions, body: bytes, key: bytes = b""
    ) -> None:
        """An answer without what was asked for; "not found" says of a `key` that there is none."""
        error = refusal(orjson.loads(body))
        if key and error.code == "not_found":
            self._scene.tally.refusals[error.code] += 1
            self._scene.docket.answer(Answer(claim, Value(key, None), conditions))
            return
        self._scene.processes.refused(claim, error, conditions)
        if claim.epoch:  # a refusal, too, says how fresh the range is
            self._scene.docket.answer(Answer(claim))

    def _some_key(self) -> bytes:
        draw, current = self._scene.draw, self._scene.court.history.current
        if draw.random() < 0.1:
            return draw.choice(self._scene.prefixes) + b"no such key"
        if draw.random() < 0.1:
            return draw.choice(self._scene.prefixes).removesuffix(b"/") + MARKER
        keys = list(current.keys(self._scene.range))
        return draw.choice(keys) if keys else self._scene.range + b"too early"

    def _conditions(self) -> Conditions:
        draw, current = self._scene.draw, self._scene.court.history.current
        way = draw.random()
        if way < 0.15:
            return Conditions(linearizable=True, wait_ms=WAIT_MS)
        if way < 0.3:
            return Conditions(min_revision=current.acknowledged_before(monotonic()), wait_ms=WAIT_MS)
        if way < 0.4:
            return Conditions(max_age_ms=draw.choice((0, 100, 1000, 5000)), wait_ms=WAIT_MS)
        return NO_CONDITIONS


def _from_headers(key: bytes, body: bytes, headers: dict[str, str]) -> Record:
    names = ("create-revision", "mod-revision", "version", "lease")
    numbers = [int(headers[f"syncd-{name}"]) for name in names]
    return Record(key, body, *numbers)
