"""A gateway client as the daemon makes it, closed after the test."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest

from syncd.config import Etcd, Timeouts
from syncd.gateway import Gateway

Connect = Callable[..., Gateway]
"""`connect(*endpoints, connect=…, request=…, **etcd)`: a Gateway of these endpoints, timeouts, settings."""


@pytest.fixture
async def connect() -> AsyncIterator[Connect]:
    """Make gateway clients."""
    async with AsyncExitStack() as stack:

        def make(*endpoints: str, connect: float = 2.0, request: float = 10.0, **settings: Any) -> Gateway:
            timeouts = Timeouts(connect=connect, request=request)
            etcd = Etcd(endpoints=endpoints, timeouts=timeouts, **settings)
            clock = asyncio.get_running_loop().time
            gateway = Gateway(etcd, draw=random.Random(1), clock=clock)
            stack.push_async_exit(gateway)
            return gateway

        yield make
