"""Which endpoint is asked, as its answers and failures tell; those that failed are looked after."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from math import inf

import structlog

from syncd.gateway.endpoints import Endpoint, Endpoints
from syncd.gateway.errors import (
    CertificateRefused,
    GatewayError,
    MalformedAnswer,
    NoGateway,
    Unavailable,
    Unreachable,
    Untrusted,
)
from syncd.gateway.probe import Prober

FAULTS = (Unreachable, Untrusted, CertificateRefused, NoGateway, Unavailable, MalformedAnswer)
"""What is the endpoint's fault, so that another one may do better. All other errors are etcd's answer."""

log = structlog.get_logger("syncd.gateway")


class Health:
    """Told how each call and stream went, and when it `began`; `answers` is called when one answers again."""

    def __init__(self, endpoints: Endpoints, clock: Callable[[], float], answers: Callable[[], None]) -> None:
        self._endpoints = endpoints
        self._clock = clock
        self._answers = answers
        self._prober = Prober(endpoints, clock)
        self._woken = asyncio.Event()

    def current(self) -> Endpoint:
        """The endpoint to ask now."""
        return self._endpoints.choose(self._clock())

    def elsewhere(self, url: str) -> bool:
        """Whether another endpoint than the one at `url` is well, for all that is known."""
        return any(endpoint.well for endpoint in self._endpoints if endpoint.url != url)

    def avoid(self, url: str, reason: str) -> None:
        """Go on with another endpoint than the one at `url`, if there is one; `reason` is for the status."""
        endpoint = self._endpoints.at(url)
        # Whoever comes later, after another one already moved on, tells nothing new.
        self.failed(endpoint, reason, self._clock() if endpoint is self._endpoints.current else -inf)

    def failed(self, endpoint: Endpoint, error: str, began: float) -> None:
        """A call or stream failed, and that is the endpoint's fault."""
        if self._endpoints.failed(endpoint, error, self._clock(), began):
            self._prober.left(endpoint)
            if len(self._endpoints) > 1:  # a single one is not left; who asked tells what that means
                log.warning("endpoint left", endpoint=endpoint.url, error=error)

    def succeeded(self, endpoint: Endpoint, began: float) -> None:
        """A call or stream was answered."""
        if self._endpoints.succeeded(endpoint, self._clock(), began):
            self._answers()
            if len(self._endpoints) > 1:
                log.info("endpoint well again", endpoint=endpoint.url, by="a call")

    async def pause(self, seconds: float) -> None:
        """Wait so long, or until something has changed for the better: then another try is worth it."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._woken.wait()

    def wake(self) -> None:
        """Something has."""
        self._woken.set()
        self._woken.clear()

    async def run(self, unfit: Callable[[Endpoint], Awaitable[str | None]]) -> None:
        """Probe endpoints that failed, until cancelled; `unfit` asks one why it should not be used, if so."""

        async def probe(endpoint: Endpoint) -> None:
            began = self._clock()
            try:
                reason = await unfit(endpoint)
            except FAULTS as error:
                reason = error.message
            except GatewayError:
                reason = None  # it answers; and what it refuses, the others refuse, too
            if reason is None:
                self._passed(endpoint, began)
            else:
                self.failed(endpoint, reason, began)

        await self._prober.run(probe)

    def _passed(self, endpoint: Endpoint, began: float) -> None:
        if self._endpoints.passed(endpoint, self._clock(), began):
            log.info("endpoint well again", endpoint=endpoint.url, by="a probe")
            self.wake()
