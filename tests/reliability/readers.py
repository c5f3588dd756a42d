"""Two hundred local readers, and a court that holds everything they are told against the truth."""

from __future__ import annotations

import asyncio
import random
from itertools import count
from pathlib import Path

from tests.reliability.answers import Conditions
from tests.reliability.court import Court
from tests.reliability.docket import Docket
from tests.reliability.history import History
from tests.reliability.nuisances import Rude, Silent
from tests.reliability.pollers import WAIT_MS, Poller
from tests.reliability.scene import Scene
from tests.reliability.tally import Tally
from tests.reliability.watchers import Manner, Watcher

RANGE = b"/c/"
PREFIXES = (b"/c/a/", b"/c/b/", b"/c/c/")

STEADY = 30
FICKLE = 20
SLOW = 10
SILENT = 50
RUDE = 50
POLLERS = 40


class Readers:
    """All of them. `heartbeat`: the daemon's, in seconds; `history_events`: how many it keeps."""

    def __init__(
        self,
        history: History,
        socket: Path,
        draw: random.Random,
        tally: Tally,
        *,
        heartbeat: float,
        history_events: int,
    ) -> None:
        court = Court(history, tally, heartbeat, RANGE, history_events)
        self._scene = Scene(socket, Docket(court), draw, PREFIXES)

    async def run(self) -> None:
        """Read until cancelled; then judge everything.

        What was read last can be judged if the judge knows it: stop the writers, wait for `Judge.caught_up`
        and for `settle` before, and let the judge and the daemon go on until this has ended.
        """
        scene, numbers = self._scene, count(1)
        manners: dict[Manner, int] = {"steady": STEADY, "fickle": FICKLE, "slow": SLOW}
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(scene.docket.run(), name="court")
                for manner, how_many in manners.items():
                    for _ in range(how_many):
                        number = next(numbers)
                        group.create_task(Watcher(scene, number, manner).run(), name=f"watcher {number}")
                for _ in range(POLLERS):
                    number = next(numbers)
                    group.create_task(Poller(scene, number).run(), name=f"poller {number}")
                for _ in range(RUDE):
                    number = next(numbers)
                    group.create_task(Rude(scene, number).run(), name=f"rude reader {number}")
                group.create_task(Silent(scene, SILENT).run(), name="silent readers")
        finally:
            await scene.docket.finish()

    async def settle(self, revision: int) -> None:
        """All is well, nobody writes any more, and etcd is at `revision`: hold the daemon to that.

        To be called while `run` runs. Each watch arrives there, and questions that only a daemon in distress
        may refuse are answered.
        """
        await self._scene.docket.arrive(revision)
        poller = Poller(self._scene, 0)
        await poller.insist(Conditions(linearizable=True, wait_ms=WAIT_MS))
        await poller.insist(Conditions(max_age_ms=round(2000 * self._scene.court.heartbeat), wait_ms=WAIT_MS))
