"""Finds out why etcd cannot be had: says it once in the log, and in the status for as long as it lasts."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import NoReturn

import structlog

from syncd.config import Etcd
from syncd.diagnosis.explain import explain
from syncd.diagnosis.why import why
from syncd.errors import SyncdError
from syncd.findings import Finding
from syncd.gateway import GatewayError
from syncd.keyrange import KeyRange

GRACE = 1.0
"""Seconds: what is over by then, such as the restart of one member of three, needs no diagnosis."""

SAY_AGAIN = 600.0
"""Seconds until the log may tell the same once more; it may come and go."""

_LASTING = ("auth.", "config.", "file.", "tls.")
"""What does not end before somebody mends it; other outages may."""

log = structlog.get_logger("syncd.diagnosis")


class Doctor:
    """Told of the ranges' troubles, it looks for the causes, each once per outage.

    An outage lasts until every range is proved current again.
    """

    def __init__(self, etcd: Etcd, clock: Callable[[], float]) -> None:
        self._etcd = etcd
        self._clock = clock
        self._ill: dict[KeyRange, GatewayError] = {}
        self._seen: set[tuple[str, str]] = set()
        self._causes: dict[tuple[str, str], Finding] = {}
        self._said: dict[tuple[str, str], float] = {}
        self._called = asyncio.Event()

    @property
    def findings(self) -> tuple[Finding, ...]:
        """The causes of the present outage, as far as they are known."""
        return tuple(self._causes.values())

    def trouble(self, keys: KeyRange, error: SyncdError | None) -> None:
        """`keys` cannot be mirrored because of `error`; None: it can again."""
        if isinstance(error, GatewayError):
            self._ill[keys] = error
            self._called.set()
        elif error is None:
            self._ill.pop(keys, None)
            if not self._ill:
                self._seen.clear()
                self._causes.clear()

    async def run(self) -> NoReturn:
        """Until cancelled."""
        while True:
            await self._called.wait()
            self._called.clear()
            await asyncio.sleep(GRACE)
            for keys, error in list(self._ill.items()):
                await self._examine(keys, error)

    async def _examine(self, keys: KeyRange, error: GatewayError) -> None:
        said = explain(error, self._etcd, keys)
        symptom = (said.code, said.subject)
        if symptom in self._seen:
            return
        findings = await why(error, self._etcd, keys)
        if keys not in self._ill:
            return  # it is well again; whatever was found is of the past
        self._seen.add(symptom)
        for finding in findings:
            self._found(finding)

    def _found(self, finding: Finding) -> None:
        cause, now = (finding.code, finding.subject), self._clock()
        self._causes[cause] = finding
        if now - self._said.get(cause, -SAY_AGAIN) < SAY_AGAIN:
            return
        self._said[cause] = now
        say = log.error if finding.code.startswith(_LASTING) else log.warning
        say(
            "etcd cannot be had",
            code=finding.code,
            subject=finding.subject,
            seen=finding.seen,
            means=finding.means,
            cure=finding.cure,
        )
