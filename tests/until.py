"""Waiting for what other tasks bring about."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

PATIENCE = 30.0
"""Seconds that anything may take: far more than it does, as these machines are shared."""


async def until(condition: Callable[[], object]) -> None:
    """Return when `condition` holds; TimeoutError when it does not come to that."""
    async with asyncio.timeout(PATIENCE):
        while True:
            if condition():
                return
            await asyncio.sleep(0.005)
