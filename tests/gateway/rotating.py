"""What tests of renewed certificates and passwords need."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest

from syncd.gateway import Gateway, rotation
from tests.gateway.conftest import Lines


@asynccontextmanager
async def rotating(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[None]:
    """Have the files looked at as the daemon does, but in haste."""
    monkeypatch.setattr(rotation, "LOOK", 0.02)
    # No TaskGroup: it would wrap a failed assertion in an ExceptionGroup.
    running = asyncio.get_running_loop().create_task(gateway.rotation.run(), name="rotation")
    try:
        yield
        assert not running.done()
    finally:
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running


async def look_twice(gateway: Gateway) -> None:
    """So many looks a change takes to be believed."""
    for _ in range(2):
        await gateway.rotation._look()


def said(lines: Lines, event: str) -> Lines:
    """The lines of this kind."""
    return [line for line in lines if line["event"] == event]
