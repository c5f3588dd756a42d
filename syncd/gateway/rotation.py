"""Certificates and password that are renewed while running, without losing what works.

The files are looked at every LOOK seconds, and at once when told to. When one cannot be used, log and status
say so, and what is in use stays. A new password is taken as it is. New certificates are tried first, on a
connection of their own, for etcd may know nothing of them yet. Endpoint by endpoint, the one in use first:

    the new ones let syncd in      they are taken
    … do not, those in use do      those in use stay
    neither do                     the next endpoint is asked; after the last one, those in use stay

Those that are not taken are tried again, ever more rarely, and as soon as something has changed on the way to
etcd. So both sides may be renewed in any order. What was taken secures every connection made from then on;
whoever follows a stream opens it anew, once (`Gateway.outdated`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import structlog

from syncd.config import Etcd
from syncd.config.files import close_to_others
from syncd.gateway.credentials import Certificates, Credentials
from syncd.gateway.endpoints import Endpoint, Endpoints
from syncd.gateway.errors import EtcdError, FileUnusable, GatewayError, NoGateway, Unreachable
from syncd.gateway.transport import Transport, translated

LOOK = 2.0
"""Seconds between two looks at the files; a change counts when two looks agree."""

TRY_AGAIN_MOST = 60.0
"""Seconds between two trials of certificates that etcd refuses; the first pause is LOOK, then doubled."""

ANSWER_PATIENCE = 2.0
"""Seconds that a trial may take beyond those for the connection; any living member answers at once."""

STAYS = "what was in use stays in use"

log = structlog.get_logger("syncd.gateway")


@dataclass(slots=True)
class _Waiting:
    """Certificates that are not taken yet: when to try them again, and what the log was told of them."""

    certificates: Certificates
    again: float
    pause: float = 0.0
    in_vain: bool = False
    """Whether etcd was there, and let nobody in: neither with these nor with those in use."""
    told: set[str] = field(default_factory=set)


class Rotation:
    """Keeps `credentials` what the files hold, as far as that is good; calls `renewed` after each change."""

    def __init__(
        self,
        etcd: Etcd,
        credentials: Credentials,
        endpoints: Endpoints,
        clock: Callable[[], float],
        renewed: Callable[[], None],
    ) -> None:
        self._etcd = etcd
        self._credentials = credentials
        self._endpoints = endpoints
        self._clock = clock
        self._renewed = renewed
        self._waiting: _Waiting | None = None
        self._looking = asyncio.Lock()
        self.troubles: dict[str, GatewayError] = {}
        """Why the `certificates` or the `password` in use are not those of the files."""
        self.exposed: dict[Path, str] = {}
        """The files with a secret that others can read or write, and their modes."""

    async def run(self) -> None:
        """Look at the files until cancelled."""
        self._warn()
        while self._credentials.certificate_files.paths or self._credentials.password_files.paths:
            await asyncio.sleep(LOOK)
            await self._look()

    async def reload(self) -> None:
        """Read the files now, whether they have changed or not; `troubles` then tells what was not taken."""
        await self._look(at_once=True)

    def hurry(self) -> None:
        """Something has changed on the way to etcd: try at the next look what waits.

        Not while nothing helps: each call that fails would cost etcd two handshakes more.
        """
        if self._waiting and not self._waiting.in_vain:
            self._waiting.again = self._clock()

    async def _look(self, *, at_once: bool = False) -> None:
        async with self._looking:
            password = self._credentials.password_files.changed() or at_once
            certificates = self._credentials.certificate_files.changed() or at_once
            if password:
                self._read_password()
            if certificates:
                self._read_certificates()
            if password or certificates:
                self._warn()
            if self._waiting and (at_once or self._clock() >= self._waiting.again):
                await self._try(self._waiting)

    def _read_password(self) -> None:
        try:
            password = self._credentials.read_password()
        except FileUnusable as error:
            self._unusable("password", error)
            return
        self._usable("password")
        if password != self._credentials.password:
            self._credentials.password = password
            log.info("password taken")
            self._renewed()

    def _read_certificates(self) -> None:
        self._waiting = None
        try:
            certificates = self._credentials.read_certificates()
        except FileUnusable as error:
            self._unusable("certificates", error)
            return
        self._usable("certificates")
        if certificates and certificates != self._credentials.certificates:
            self._waiting = _Waiting(certificates, self._clock())

    def _unusable(self, what: str, error: FileUnusable) -> None:
        self.troubles[what] = error
        log.error("file unusable", code=error.code, error=error.message, cure=error.cure, meaning=STAYS)

    def _usable(self, what: str) -> None:
        if isinstance(self.troubles.pop(what, None), FileUnusable):
            log.info("files usable again", what=what)

    async def _try(self, waiting: _Waiting) -> None:
        """Take the certificates that wait, if they are good where it can be told."""
        new, in_use = self._credentials.holding(waiting.certificates), self._credentials
        refusals, in_use_are_good = [], False
        for endpoint in sorted(self._endpoints, key=lambda each: each is not self._endpoints.current):
            refusal = await self._refusal(endpoint, new)
            if refusal is None:
                self._take(waiting.certificates)
                return
            refusals.append(refusal)
            in_use_are_good = await self._refusal(endpoint, in_use) is None
            if in_use_are_good:
                break
        answers = [refusal for refusal in refusals if not isinstance(refusal, Unreachable)]
        waiting.in_vain = bool(answers) and not in_use_are_good
        self._keep(waiting, (answers or refusals)[-1], refused=in_use_are_good or bool(answers))

    async def _refusal(self, endpoint: Endpoint, credentials: Credentials) -> GatewayError | None:
        """Why a connection to `endpoint` with these credentials comes to nothing; None when it is good."""
        url = endpoint.url
        # Not /version, for it is the gateway that refuses a name. And not over the connections of the calls:
        # those that were made before etcd changed its mind prove nothing.
        path = f"{endpoint.prefix or '/v3'}/maintenance/status"
        transport = Transport(self._etcd, credentials)
        patience = self._etcd.timeouts.connect + ANSWER_PATIENCE
        try:
            with translated(url, f"{path}: no answer within {patience:g} s"):
                async with asyncio.timeout(patience):
                    await transport.call(url, path, b"{}", {})
        except (EtcdError, NoGateway):
            return None  # it may want a token, too, or know other paths: but it answers
        except GatewayError as error:
            return error
        finally:
            await transport.close()
        return None

    def _take(self, certificates: Certificates) -> None:
        self._credentials.certificates = certificates
        self._waiting = None
        self.troubles.pop("certificates", None)
        log.info(
            "certificates taken", files=[str(path) for path in self._credentials.certificate_files.paths]
        )
        self._renewed()

    def _keep(self, waiting: _Waiting, error: GatewayError, *, refused: bool) -> None:
        self.troubles["certificates"] = error
        waiting.pause = min(waiting.pause * 2 or LOOK, TRY_AGAIN_MOST)
        waiting.again = self._clock() + waiting.pause
        event, say = ("certificates refused", log.error) if refused else ("certificates wait", log.warning)
        if event not in waiting.told:
            waiting.told.add(event)
            say(event, error=str(error), meaning=f"{STAYS}; the new ones are tried again, ever more rarely")

    def _warn(self) -> None:
        self.exposed = self._credentials.exposed()
        for path, mode in self.exposed.items():
            log.warning("file readable by others", file=str(path), mode=mode, cure=close_to_others(path))
