"""A gateway client as the daemon makes it, closed after the test; certificates for it; and what is logged."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Iterator, MutableMapping
from contextlib import AsyncExitStack
from pathlib import Path
from shutil import copy
from typing import Any

import pytest
from structlog.testing import capture_logs

from syncd.config import TLS, Etcd, Timeouts
from syncd.gateway import Gateway
from tests.certificates import Authority

Lines = list[MutableMapping[str, Any]]
"""What structlog captures."""

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


@pytest.fixture
def successor(tmp_path: Path) -> Authority:
    """Make another one, which issues into the same directory: its `issue` replaces the other's files."""
    return Authority(tmp_path, "successor")


@pytest.fixture
def tls(tmp_path: Path, authority: Authority) -> TLS:
    """Write what a client needs into files of its own: what is trusted, a certificate and its key."""
    issued = authority.issue("client")
    ca_file = tmp_path / "ca.pem"
    copy(authority.file, ca_file)
    return TLS(ca_file=ca_file, cert_file=issued.certificate, key_file=issued.key)


@pytest.fixture
def lines() -> Iterator[Lines]:
    """What is logged."""
    with capture_logs() as lines:
        yield lines
