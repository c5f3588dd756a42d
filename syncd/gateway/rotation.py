"""Certificates and password that are renewed while running, without losing what works.

The files are looked at every LOOK seconds, and at once when told to; the password by itself, as a trial of
certificates takes time. When a file cannot be used, log and status say so, and what is in use stays; and it
is read again, ever more rarely, as what was in the way need not change the file: too many open files, a disk.
A new password is taken as it is. New certificates are tried first (trial.py): etcd may know nothing of them.

Those that are not taken are tried again, ever more rarely, and as soon as something has changed on the way to
etcd. So both sides may be renewed in any order. What was taken secures every connection made from then on;
whoever follows a stream opens it anew, once (`Gateway.outdated`).
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from math import inf
from pathlib import Path
from typing import Generic, NoReturn, TypeVar

import structlog

from syncd.config import Etcd
from syncd.config.files import close_to_others
from syncd.gateway.credentials import Certificates, Credentials, Files
from syncd.gateway.endpoints import Endpoints
from syncd.gateway.errors import FileUnusable, GatewayError
from syncd.gateway.trial import Failure, trial

LOOK = 2.0
"""Seconds between two looks at the files; a change counts when two looks agree."""

TRY_AGAIN_MOST = 60.0
"""Seconds between two trials of certificates that etcd refuses, or two readings of files of no use."""

STAYS = "what was in use stays in use"

Held = TypeVar("Held")

log = structlog.get_logger("syncd.gateway")


@dataclass(slots=True)
class _Pauses:
    """From one try to the next: LOOK at first, then doubled; each is drawn between half and all of that.

    Many daemons may be given the same files at the same time.
    """

    draw: random.Random
    limit: float = 0.0

    def next(self) -> float:
        """Seconds."""
        self.limit = min(self.limit * 2 or LOOK, TRY_AGAIN_MOST)
        return self.limit * self.draw.uniform(0.5, 1)


@dataclass(slots=True)
class _Waiting:
    """Certificates that are not taken yet: when to try them again, and what the log was told of them."""

    certificates: Certificates
    again: float
    pauses: _Pauses
    in_vain: bool = False
    hurried: bool = False
    """Whether something has changed on the way to etcd since the last trial began."""
    told: set[str] = field(default_factory=set)


class _Source(Generic[Held]):
    """The files of one kind, and how to read them; why that failed is in `troubles`, by `kind`."""

    def __init__(
        self,
        kind: str,
        files: Files,
        read: Callable[[], Held | None],
        troubles: dict[str, GatewayError],
        draw: random.Random,
        clock: Callable[[], float],
    ) -> None:
        self.files = files
        self.lock = asyncio.Lock()
        self._kind = kind
        self._read = read
        self._troubles = troubles
        self._draw = draw
        self._clock = clock
        self._pauses = _Pauses(draw)
        self._again = inf

    # In threads, both: a file may lie on a server that does not answer, and to read all the authorities that
    # a machine trusts takes longer than readers should wait.

    async def due(self) -> bool:
        """Whether the files should be read again: they have changed, or could not be used some time ago."""
        return await asyncio.to_thread(self.files.changed) or self._clock() >= self._again

    async def read(self) -> Held | None:
        """What they hold now; None when that is nothing, or nothing that can be used."""
        try:
            held = await asyncio.to_thread(self._read)
        except FileUnusable as error:
            self._unusable(error)
            return None
        if isinstance(self._troubles.pop(self._kind, None), FileUnusable):
            log.info("files usable again", what=self._kind)
        self._pauses, self._again = _Pauses(self._draw), inf
        return held

    def _unusable(self, error: FileUnusable) -> None:
        before = self._troubles.get(self._kind)
        self._troubles[self._kind] = error
        self._again = self._clock() + self._pauses.next()
        if not isinstance(before, FileUnusable) or before.message != error.message:
            log.error("file unusable", code=error.code, error=error.message, cure=error.cure, meaning=STAYS)


class Rotation:
    """Keeps `credentials` what the files hold, as far as that is good; calls `renewed` after each change."""

    def __init__(
        self,
        etcd: Etcd,
        credentials: Credentials,
        endpoints: Endpoints,
        draw: random.Random,
        clock: Callable[[], float],
        renewed: Callable[[], None],
    ) -> None:
        self._etcd = etcd
        self._credentials = credentials
        self._endpoints = endpoints
        self._draw = draw
        self._clock = clock
        self._renewed = renewed
        self._waiting: _Waiting | None = None
        self.troubles: dict[str, GatewayError] = {}
        """Why the `certificates` or the `password` in use are not those of the files."""
        self.exposed: dict[Path, str] = {}
        """The files with a secret that others can read or write, and their modes."""
        self._password = _Source(
            "password", credentials.password_files, credentials.read_password, self.troubles, draw, clock
        )
        self._certificates = _Source(
            "certificates",
            credentials.certificate_files,
            credentials.read_certificates,
            self.troubles,
            draw,
            clock,
        )

    async def run(self) -> None:
        """Look at the files until cancelled."""
        await self._warn()
        async with asyncio.TaskGroup() as group:
            if self._password.files.paths:
                group.create_task(_forever(self._look_at_password), name="looks at the password")
            if self._certificates.files.paths:
                group.create_task(_forever(self._look_at_certificates), name="looks at certificates")

    async def reload(self) -> list[str]:
        """Read the files now, changed or not; which are in use now. `troubles` tells what was not taken."""
        await self._look(at_once=True)
        in_use = {"certificates": self._credentials.certificates, "password": self._credentials.password}
        return [kind for kind, held in in_use.items() if held is not None and kind not in self.troubles]

    def hurry(self) -> None:
        """Something has changed on the way to etcd: try at the next look what waits.

        Not while nothing helps: each call that fails would cost etcd two handshakes more.
        """
        if self._waiting and not self._waiting.in_vain:
            self._waiting.again, self._waiting.hurried = self._clock(), True

    async def _look(self, *, at_once: bool = False) -> None:
        await self._look_at_password(at_once=at_once)
        await self._look_at_certificates(at_once=at_once)

    async def _look_at_password(self, *, at_once: bool = False) -> None:
        async with self._password.lock:
            if not (at_once or await self._password.due()):
                return
            password = await self._password.read()
            if password is not None and password != self._credentials.password:
                self._credentials.password = password
                log.info("password taken")
                self._renewed()
            elif at_once:
                self._renewed()  # whoever asks for it may have mended the password in etcd
            await self._warn()

    async def _look_at_certificates(self, *, at_once: bool = False) -> None:
        async with self._certificates.lock:
            if at_once or await self._certificates.due():
                new = await self._certificates.read()
                self._waiting = None
                if new is not None and new != self._credentials.certificates:
                    self._waiting = _Waiting(new, self._clock(), _Pauses(self._draw))
                await self._warn()
            if self._waiting and (at_once or self._clock() >= self._waiting.again):
                await self._try(self._waiting)

    async def _try(self, waiting: _Waiting) -> None:
        """Take the certificates that wait, if they are good where it can be told."""
        waiting.hurried = False
        new = self._credentials.holding(waiting.certificates)
        failure = await trial(self._etcd, self._endpoints, new, self._credentials)
        if failure:
            self._keep(waiting, failure)
        else:
            self._take(waiting.certificates)

    def _take(self, certificates: Certificates) -> None:
        self._credentials.certificates = certificates
        self._waiting = None
        self.troubles.pop("certificates", None)
        log.info("certificates taken", files=[str(path) for path in self._certificates.files.paths])
        self._renewed()

    def _keep(self, waiting: _Waiting, failure: Failure) -> None:
        self.troubles["certificates"] = failure.error
        waiting.in_vain = failure.in_vain
        pause = waiting.pauses.next()
        if not waiting.hurried or waiting.in_vain:
            waiting.again = self._clock() + pause
        event, say = ("certificates wait", log.warning)
        if failure.refused:
            event, say = ("certificates refused", log.error)
        if event not in waiting.told:
            waiting.told.add(event)
            error = str(failure.error)
            say(event, error=error, meaning=f"{STAYS}; the new ones are tried again, ever more rarely")

    async def _warn(self) -> None:
        """Tell of the files that are open to others, of each once."""
        exposed = await asyncio.to_thread(self._credentials.exposed)
        before, self.exposed = self.exposed, exposed
        for path, mode in self.exposed.items():
            if before.get(path) != mode:
                log.warning("file readable by others", file=str(path), mode=mode, cure=close_to_others(path))


async def _forever(look: Callable[[], Awaitable[None]]) -> NoReturn:
    while True:
        await asyncio.sleep(LOOK)
        await look()
