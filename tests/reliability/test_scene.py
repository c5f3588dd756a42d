"""Real readers, told what no daemon should tell, by a server that says whatever the test wants."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Coroutine
from pathlib import Path

import orjson
import pytest

from tests.reliability.answers import Conditions
from tests.reliability.court import Court
from tests.reliability.dialogue import EPOCH, HEARTBEAT, broken, written
from tests.reliability.docket import Docket
from tests.reliability.nuisances import Rude
from tests.reliability.pollers import Poller
from tests.reliability.scene import Scene
from tests.reliability.tally import Tally
from tests.reliability.test_wire import server
from tests.reliability.told import Selection
from tests.reliability.watchers import Habit, Manner, Watcher

PATIENCE = 30.0

STATE = f"Syncd-Revision: 12\r\nSyncd-Epoch: {EPOCH}\r\nSyncd-State: live\r\nSyncd-Age-Ms: 1\r\n".encode()
STREAM = b"HTTP/1.1 200 OK\r\n" + STATE + b"Transfer-Encoding: chunked\r\n\r\n"
END = b"0\r\n\r\n"
MARKER = (
    b"HTTP/1.1 200 OK\r\n"
    + STATE
    + b"Syncd-Create-Revision: 2\r\nSyncd-Mod-Revision: 2\r\nSyncd-Version: 1\r\nSyncd-Lease: 0\r\n"
    b'ETag: "12"\r\nContent-Length: 1\r\n\r\n0'
)
"""Of the generation that there is."""

PROGRESS = b'{"revision":12,"progress":true,"state":"live","age_ms":1}\n'


def chunk(data: bytes) -> bytes:
    """One chunk."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def error(code: str, **more: int) -> bytes:
    """An error's line."""
    return orjson.dumps({"error": {"code": code, "message": "", **more}}) + b"\n"


def refused(code: str) -> bytes:
    """An answer with an error."""
    body = error(code)
    return b"HTTP/1.1 500 Error\r\n" + STATE + b"Content-Length: %d\r\n\r\n%b" % (len(body), body)


@pytest.fixture
def scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Scene:
    """One without a socket yet."""
    monkeypatch.setattr("tests.reliability.wire.PATIENCE_SECONDS", 0.3)
    monkeypatch.setattr("tests.reliability.docket.DYING_SECONDS", 0.3)
    monkeypatch.setattr("tests.reliability.pollers.WAIT_MS", 100)
    monkeypatch.setattr("tests.reliability.watchers.WAIT_SECONDS", 0.1)
    monkeypatch.setattr("tests.reliability.nuisances.PAUSE_SECONDS", (0.0, 0.1))
    monkeypatch.setattr("tests.reliability.watchers.STAY_SECONDS", (PATIENCE, PATIENCE))
    habit = Habit(Selection(b"/c/"), 200, events=False, with_snapshot=False)
    monkeypatch.setattr(Watcher, "_new_habit", lambda _: habit)
    court = Court(written().history, Tally(), HEARTBEAT)
    court.epochs.learn(EPOCH, 2, [(b"/c/a/!generation", b"0")])
    return Scene(tmp_path / "socket", Docket(court), random.Random(3), (b"/c/a/",))


async def read_until(scene: Scene, run: Coroutine[None, None, None], enough: Callable[[], object]) -> None:
    """Have a reader read, and the court sit, until it is enough."""
    async with asyncio.timeout(PATIENCE), asyncio.TaskGroup() as group:
        tasks = [
            group.create_task(each, name=name)
            for name, each in (("reader", run), ("court", scene.docket.run()))
        ]
        while not enough():  # noqa: ASYNC110 - the tally tells nobody
            await asyncio.sleep(0.02)
        for task in tasks:
            task.cancel()


async def broken_by(scene: Scene, run: Coroutine[None, None, None]) -> set[str]:
    """Have a reader read until something is wrong; the rules that are broken."""
    await read_until(scene, run, lambda: scene.tally.violations)
    return broken(scene.tally)


SILENT, CUT = {"silent"}, {"cut"}


@pytest.mark.parametrize(
    ("told", "hangs_up", "rules"),
    [
        pytest.param(b"", False, SILENT, id="no answer"),
        pytest.param(STREAM[:30], False, SILENT, id="half a head"),
        pytest.param(STREAM, False, SILENT, id="nothing but a head"),
        pytest.param(STREAM + chunk(PROGRESS)[:20], False, SILENT, id="half a line"),
        pytest.param(b"", True, CUT, id="cut before the answer"),
        pytest.param(STREAM + chunk(PROGRESS)[:20], True, CUT, id="cut within a line"),
        pytest.param(STREAM + chunk(PROGRESS), True, CUT, id="cut between two lines"),
        pytest.param(STREAM + chunk(PROGRESS) + END, True, CUT, id="ended properly"),
        pytest.param(STREAM + chunk(error("internal")) + END, True, {"refusal"}, id="broken off"),
        pytest.param(STREAM + chunk(b"{}\n") + END, True, {"form"}, id="nonsense"),
        pytest.param(refused("internal"), True, {"refusal"}, id="refused"),
        pytest.param(refused("too_stale"), True, {"gone"}, id="refused for its age"),
    ],
)
@pytest.mark.parametrize("manner", ["steady", "fickle", "slow"])
async def test_a_watch_that_fails_its_reader_is_caught(
    scene: Scene, manner: Manner, told: bytes, hangs_up: bool, rules: set[str]
) -> None:
    """Whatever it is that the reader cannot go on with, while the daemon's process lives."""
    more = () if hangs_up else (b"",)
    async with server(scene.socket.parent, told, *more):
        assert await broken_by(scene, Watcher(scene, 1, manner).run()) == rules


@pytest.mark.parametrize(
    ("told", "hangs_up", "rules"),
    [
        pytest.param(b"", False, SILENT, id="no answer"),
        pytest.param(STREAM + chunk(PROGRESS)[:20], False, SILENT, id="half an answer"),
        pytest.param(b"", True, CUT, id="cut before the answer"),
        pytest.param(STREAM + chunk(PROGRESS)[:20], True, CUT, id="cut"),
        pytest.param(refused("internal"), True, {"refusal"}, id="refused"),
        pytest.param(refused("overloaded"), True, {"refusal"}, id="refused as there are many"),
    ],
)
async def test_an_answer_that_is_none_is_caught(
    scene: Scene, told: bytes, hangs_up: bool, rules: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever was asked for."""
    monkeypatch.setattr("tests.reliability.pollers.QUESTIONS", 1)
    monkeypatch.setattr(Poller, "_status", Poller._record)  # it is not refused
    more = () if hangs_up else (b"",)
    async with server(scene.socket.parent, told, *more):
        assert await broken_by(scene, Poller(scene, 1).run()) == rules


@pytest.mark.parametrize("conditions", [Conditions(linearizable=True), Conditions(max_age_ms=2000)], ids=str)
@pytest.mark.parametrize(
    ("told", "rules"),
    [
        pytest.param([MARKER], set(), id="answered"),
        pytest.param([refused("too_stale")], {"refusal"}, id="refused"),
        pytest.param([], {"refusal", "cut"}, id="no answer"),
    ],
)
async def test_what_must_be_answered_when_all_is_well(
    scene: Scene, conditions: Conditions, told: list[bytes], rules: set[str]
) -> None:
    """Only a daemon in distress may refuse it, whose excuse nobody can check; the answer is judged."""
    async with server(scene.socket.parent, *told):
        await Poller(scene, 0).insist(conditions)
    await scene.docket.finish()
    assert broken(scene.tally) == rules
    assert scene.tally.reads == len(told)


async def test_when_all_is_well_somebody_listens(scene: Scene) -> None:
    """A connection that is not accepted is no excuse then."""
    await Poller(scene, 0).insist(Conditions(linearizable=True))
    assert broken(scene.tally) == {"refusal"}


async def test_who_hangs_up_notices_a_silence_too(scene: Scene) -> None:
    """When it wanted to hear a part of the answer."""
    async with server(scene.socket.parent, b"", b""):
        assert await broken_by(scene, Rude(scene, 1).run()) == SILENT


async def test_a_watch_that_fell_too_far_behind_may_end(scene: Scene) -> None:
    """It says so, and its reader begins anew."""
    reader = Watcher(scene, 1, "steady")
    async with server(scene.socket.parent, STREAM + chunk(error("compacted", oldest_revision=9)) + END):
        await read_until(scene, reader.run(), lambda: scene.tally.refusals["compacted"] >= 2)
    await scene.docket.finish()
    assert not scene.tally.violations


async def test_nobody_listens(scene: Scene) -> None:
    """The daemon is down, which is nobody's fault here."""
    await read_until(scene, Watcher(scene, 1, "steady").run(), lambda: scene.tally.unreachable >= 2)
    assert not scene.tally.violations
