"""When certificates end: who is told, and when; time and chance are passed in."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterable
from math import floor, inf

import structlog

from syncd.diagnosis.ends import DAY, SOON, Certificate, end_finding, moment
from syncd.findings import Finding
from syncd.gateway import Gateway, GatewayError
from syncd.status import CertificateStatus

WARN_DAYS = (30, 7, 1)
"""The log warns of a certificate when it has less than that left."""

WARN_SECONDS = 2.0
"""Between two looks at what is known: new files and new connections bring new certificates."""

REMEMBERED = 1000
"""Certificates of which is remembered what the log was told."""

LOOK_AGAIN_SECONDS = 60.0, 3600.0
"""Between connections that are made to see etcd's certificate of now, as others may last for months: at least
and at most; in between, half of the time that those seen have left."""

log = structlog.get_logger("syncd")


class Expiry:
    """Tells of the ends of certificates; `known` are those there are now, `clock` is seconds since 1970."""

    def __init__(self, known: Callable[[], Iterable[Certificate]], clock: Callable[[], float]) -> None:
        self._known = known
        self._clock = clock
        self._said: dict[tuple[str, bytes], float] = {}
        """The days that a certificate was last warned to have left."""

    def certificates(self) -> tuple[CertificateStatus, ...]:
        """For the status and the metrics."""
        return tuple(
            CertificateStatus(each.role, each.source, each.subject, moment(each), floor(self._left(each)))
            for each in self._known()
        )

    def findings(self) -> tuple[Finding, ...]:
        """Those that end soon, or have ended."""
        return tuple(end_finding(each, left) for each in self._known() if (left := self._left(each)) < SOON)

    def warn(self) -> None:
        """Log what ends soon: each certificate once for each of WARN_DAYS, and once when it has ended."""
        for each in self._known():
            left = self._left(each)
            days = min((days for days in (*WARN_DAYS, 0) if left < days * DAY), default=inf)
            key = each.source, each.fingerprint
            before = self._said.pop(key, inf)
            if days < before:
                _log(each, left)
            self._said[key] = min(days, before)
        # Not only those of now: behind one URL there may be several members, which show theirs in turn.
        for forgotten in list(self._said)[:-REMEMBERED]:
            del self._said[forgotten]

    def _left(self, certificate: Certificate) -> float:
        return certificate.not_after.timestamp() - self._clock()


async def look_after(expiry: Expiry, gateway: Gateway, draw: random.Random) -> None:
    """Have `expiry` warn in time, and see which certificates etcd has renewed, until cancelled."""
    if gateway.certificates is None:
        return  # http
    async with asyncio.TaskGroup() as group:
        group.create_task(_warn(expiry), name="warnings of certificates that end")
        group.create_task(_look_again(expiry, gateway, draw), name="looks at etcd's certificates")


async def _warn(expiry: Expiry) -> None:
    while True:
        expiry.warn()
        await asyncio.sleep(WARN_SECONDS)


async def _look_again(expiry: Expiry, gateway: Gateway, draw: random.Random) -> None:
    least, most = LOOK_AGAIN_SECONDS
    while True:
        left = [each.expires_in_seconds for each in expiry.certificates() if each.role == "server"]
        soon = min((seconds for seconds in left if seconds > 0), default=most) / 2
        # Daemons that were started together must not come together for ever.
        await asyncio.sleep(min(max(soon, least), most) * draw.uniform(0.5, 1.5))
        for endpoint in gateway.endpoints:
            # One that is not well is connected to by its probes.
            if endpoint.url in gateway.shown and endpoint.well:
                try:
                    await gateway.look_again(endpoint.url)
                except GatewayError as error:
                    log.warning(
                        "a new connection failed",
                        endpoint=endpoint.url,
                        error=error.message,
                        meaning="it was to show etcd's certificate of now; what is connected already goes on",
                    )


def _log(certificate: Certificate, left: float) -> None:
    finding = end_finding(certificate, left)
    tell, event = (
        (log.warning, "certificate expires") if left >= 0 else (log.error, "certificate has expired")
    )
    tell(
        event,
        code=finding.code,
        role=certificate.role,
        source=certificate.source,
        subject=certificate.subject,
        not_after=moment(certificate),
        days_left=round(left / DAY, 2),
        meaning=finding.means,
        cure=finding.cure,
    )
