"""Endpoints in quarantine are probed, when its time is over, until they are found well."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from syncd.gateway.endpoints import Endpoint, Endpoints


class Prober:
    """Knows when to probe which endpoint."""

    def __init__(self, endpoints: Endpoints, clock: Callable[[], float]) -> None:
        self._endpoints = endpoints
        self._clock = clock
        self._left = {endpoint.url: asyncio.Event() for endpoint in endpoints}

    def left(self, endpoint: Endpoint) -> None:
        """`endpoint` went into quarantine."""
        self._left[endpoint.url].set()

    async def run(self, ask: Callable[[Endpoint], Awaitable[None]]) -> None:
        """Call `ask` for each endpoint that is due; it tells `endpoints` what it found. Until cancelled."""
        if len(self._endpoints) == 1:
            return  # there is nothing to choose: every call goes there anyway
        async with asyncio.TaskGroup() as group:
            for endpoint in self._endpoints:
                group.create_task(self._look_after(endpoint, ask), name=f"probe of {endpoint.url}")

    async def _look_after(self, endpoint: Endpoint, ask: Callable[[Endpoint], Awaitable[None]]) -> None:
        left = self._left[endpoint.url]
        while True:
            left.clear()
            # Looked at again after each sleep: calls there may have made its time longer, or ended it.
            while (until := endpoint.quarantined_until) is not None:
                pause = until - self._clock()
                if pause > 0:
                    await asyncio.sleep(pause)
                else:
                    await ask(endpoint)
            await left.wait()
