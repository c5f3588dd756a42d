"""Finds out why etcd cannot be had: says it once in the log, and in the status for as long as it lasts."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from math import inf
from typing import NoReturn

import structlog

from syncd.config import Etcd
from syncd.diagnosis.explain import explain
from syncd.diagnosis.why import why
from syncd.errors import SyncdError
from syncd.findings import Finding
from syncd.gateway import Compacted, FutureRevision, GatewayError
from syncd.keyrange import KeyRange

GRACE = 1.0
"""Seconds: what is over by then, such as the restart of one member of three, needs no diagnosis."""

LOOK_AGAIN = 60.0
"""Seconds until the same symptom is looked into once more: one cause may have come in place of another."""

SAY_AGAIN = 600.0
"""Seconds until the log may tell the same once more; it may come and go."""

BY_ITSELF = (Compacted, FutureRevision)
"""What a mirror needs no help with: it reads the range again."""

Symptom = tuple[str, str]
"""The code of a finding, and what it is about."""

log = structlog.get_logger("syncd.diagnosis")


@dataclass(frozen=True, slots=True)
class _Looked:
    """What a look into a symptom found, and when that was."""

    causes: tuple[Finding, ...]
    at: float


class Doctor:
    """Told of the ranges' troubles, it looks for their causes.

    Of each range, the last trouble at each endpoint counts, until the range is proved current again.
    """

    def __init__(self, etcd: Etcd, clock: Callable[[], float]) -> None:
        self._etcd = etcd
        self._clock = clock
        self._ill: dict[KeyRange, dict[str, GatewayError]] = {}
        self._looked: dict[Symptom, _Looked] = {}
        self._said: dict[Symptom, float] = {}
        self._called = asyncio.Event()

    @property
    def findings(self) -> tuple[Finding, ...]:
        """The causes of the present troubles, as far as they are known."""
        causes = (cause for symptom in self._symptoms() for cause in self._causes(symptom))
        return tuple({(cause.code, cause.subject): cause for cause in causes}.values())

    def trouble(self, keys: KeyRange, error: SyncdError | None) -> None:
        """`keys` cannot be mirrored because of `error`; None: it can again."""
        if isinstance(error, BY_ITSELF):
            return
        if isinstance(error, GatewayError):
            self._ill.setdefault(keys, {})[error.endpoint] = error.with_traceback(None)
            self._called.set()
        elif error is None:
            self._ill.pop(keys, None)
            symptoms = self._symptoms()
            self._looked = {symptom: self._looked[symptom] for symptom in self._looked if symptom in symptoms}

    async def run(self) -> NoReturn:
        """Until cancelled."""
        while True:
            await self._called.wait()
            await asyncio.sleep(GRACE)
            self._called.clear()
            for symptom, (error, keys) in self._symptoms().items():
                looked = self._looked.get(symptom)
                if looked is None or self._clock() - looked.at >= LOOK_AGAIN:
                    causes = await self._why(error, keys)
                    if symptom in self._symptoms():  # else it is over, and so is what was found
                        self._looked[symptom] = _Looked(tuple(causes), self._clock())
                        self._say(causes)

    async def _why(self, error: GatewayError, keys: KeyRange) -> list[Finding]:
        try:
            return await why(error, self._etcd, keys)
        except Exception:
            # Without a cause, the daemon still does its work.
            log.exception("the diagnosis failed", error=str(error), meaning="this is a fault of syncd")
            return [explain(error, self._etcd, keys)]

    def _symptoms(self) -> dict[Symptom, tuple[GatewayError, KeyRange]]:
        """Those of now, each with an error that shows it."""
        symptoms = {}
        for keys, errors in self._ill.items():
            for error in errors.values():
                said = explain(error, self._etcd, keys)
                symptoms[said.code, said.subject] = error, keys
        return symptoms

    def _causes(self, symptom: Symptom) -> tuple[Finding, ...]:
        looked = self._looked.get(symptom)
        return looked.causes if looked else ()

    def _say(self, causes: list[Finding]) -> None:
        now = self._clock()
        self._said = {cause: at for cause, at in self._said.items() if now - at < SAY_AGAIN}
        for cause in causes:
            if now - self._said.setdefault((cause.code, cause.subject), -inf) < SAY_AGAIN:
                continue
            self._said[cause.code, cause.subject] = now
            (log.error if cause.level == "error" else log.warning)(
                "etcd cannot be had",
                code=cause.code,
                subject=cause.subject,
                seen=cause.seen,
                means=cause.means,
                cure=cause.cure,
            )
