"""Faults of authentication. Tokens also expire all the time: they are short-lived on this stage."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from signal import SIGHUP

from tests.reliability.kinds import Faults, Part, kind
from tests.reliability.stage import Stage


@asynccontextmanager
async def password_changed(stage: Stage, draw: random.Random) -> AsyncIterator[None]:
    """Another password, which the daemon is told only a while later; meanwhile it has to connect again."""
    await stage.change_password()
    for proxy in stage.road:
        proxy.cut()
    yield
    stage.tell_password()
    stage.daemon.signal(SIGHUP)


@asynccontextmanager
async def role_revoked(stage: Stage, draw: random.Random) -> AsyncIterator[None]:
    """The daemon may read nothing for a while, and has to connect again meanwhile."""
    await stage.revoke()
    for proxy in stage.road:
        proxy.cut()
    yield
    await stage.grant()


USERS: Faults = {
    kind("password changed", Part.USERS, Part.DAEMON): password_changed,
    kind("role revoked", Part.USERS): role_revoked,
}
