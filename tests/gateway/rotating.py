"""What tests of renewed certificates and passwords need."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, MutableMapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from shutil import copy
from typing import Any

import pytest

from syncd.config import TLS
from syncd.gateway import Gateway, rotation
from tests.certificates import Authority

Lines = list[MutableMapping[str, Any]]


def client_files(directory: Path, authority: Authority) -> TLS:
    """Write what a client needs into files of its own: what is trusted, a certificate and its key."""
    issued = authority.issue("client")
    ca_file = directory / "ca.pem"
    copy(authority.file, ca_file)
    return TLS(ca_file=ca_file, cert_file=issued.certificate, key_file=issued.key)


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
