"""What all readers share, and how each of them talks with the daemon."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic

from tests.reliability.court import Claim, Court
from tests.reliability.docket import Docket
from tests.reliability.refusals import Processes
from tests.reliability.tally import Tally
from tests.reliability.told import Malformed
from tests.reliability.wire import READ_BYTES, Connection, Cut, Silent


@dataclass
class Scene:
    """`range`: what is mirrored; `prefixes`: what readers ask for."""

    socket: Path
    docket: Docket
    draw: random.Random
    prefixes: tuple[bytes, ...]
    processes: Processes = field(init=False)

    def __post_init__(self) -> None:
        self.processes = Processes(self.docket.court)

    @property
    def range(self) -> bytes:
        """What is mirrored."""
        return self.court.range

    @property
    def court(self) -> Court:
        """Where violations are noted."""
        return self.docket.court

    @property
    def tally(self) -> Tally:
        """Where things are counted."""
        return self.docket.court.tally

    async def pause(self, least: float, most: float) -> None:
        """Do nothing for a random time."""
        await asyncio.sleep(self.draw.uniform(least, most))

    async def talk(
        self, reader: str, about: Callable[[Connection], Awaitable[None]], sip: int = READ_BYTES
    ) -> None:
        """Have `reader` talk over a connection of its own; whatever ends that is judged."""
        try:
            connection = await Connection.open(self.socket, sip)
        except OSError:
            self.tally.unreachable += 1
            return
        async with connection:
            try:
                await about(connection)
            except Cut as error:
                self.docket.ended(reader, connection, f"cut {error}")
            except Silent as error:
                self._violated("silent", reader, f"nothing {error}", "everything asked for is answered")
            except (Malformed, KeyError, ValueError) as error:
                self._violated("form", reader, repr(error), "see the local API")

    def _violated(self, rule: str, reader: str, told: str, true: str) -> None:
        self.tally.violated(rule, reader, told, true, monotonic(), "", 0)


def claim_of(reader: str, asked: float, connection: Connection) -> Claim:
    """What the answer's headers say; a header that is not there says nothing."""
    headers = connection.headers
    age = headers.get("syncd-age-ms")
    return Claim(
        reader,
        monotonic(),
        asked,
        headers.get("syncd-epoch", ""),
        int(headers.get("syncd-revision", 0)),
        headers.get("syncd-state", ""),
        None if age is None else int(age),
        connection.pid,
    )
