"""Faults of authentication. Tokens are short-lived on this stage."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from signal import SIGCONT, SIGHUP, SIGSTOP

from tests.reliability.guarded import TOKEN_SECONDS
from tests.reliability.kinds import Faults, MissedError, Part, kind
from tests.reliability.stage import NotRecoveredError, Stage

EXPIRED = (TOKEN_SECONDS + 1.5, TOKEN_SECONDS + 3.0)
"""Seconds after which etcd has forgotten a token: it looks once a second."""

REPLACED_SECONDS = 5.0
"""For the daemon to show its token, to be refused, and to ask for another one."""


@asynccontextmanager
async def password_changed(stage: Stage, draw: random.Random) -> AsyncIterator[None]:
    """Another password, which the daemon is told only a while later; meanwhile it has to connect again."""
    await stage.users.change_password()
    for proxy in stage.road:
        proxy.cut()
    yield
    stage.tell_password()
    stage.daemon.signal(SIGHUP)


@asynccontextmanager
async def role_revoked(stage: Stage, draw: random.Random) -> AsyncIterator[None]:
    """The daemon may read nothing for a while, and has to connect again meanwhile."""
    await stage.users.revoke()
    for proxy in stage.road:
        proxy.cut()
    yield
    await stage.users.grant()


@asynccontextmanager
async def auth_token_expired(stage: Stage, draw: random.Random) -> AsyncIterator[None]:
    """The daemon stands still for longer than its tokens live, goes on with one, and has to replace it.

    A closed road will not do: of a member that is silent the daemon forgets the token by itself.
    """
    before = _replaced(stage)

    async def replaced() -> bool:
        return _replaced(stage) > before

    stage.daemon.signal(SIGSTOP)
    yield
    stage.daemon.signal(SIGCONT)
    try:
        await stage.until(replaced, REPLACED_SECONDS)
    except NotRecoveredError as error:
        raise MissedError("no token of the daemon's was refused and replaced") from error


def _replaced(stage: Stage) -> int:
    """Tokens that etcd refused to the daemon, and the daemon replaced."""
    return sum(road.replaced for road in stage.road)


USERS: Faults = {
    kind("password changed", Part.USERS, Part.DAEMON, Part.ROAD): password_changed,
    kind("role revoked", Part.USERS, Part.ROAD): role_revoked,
}
TOKENS: Faults = {
    # Whether it hits is read on the road, so not with TLS.
    kind("auth token expired", Part.USERS, Part.DAEMON, Part.ROAD, hold=EXPIRED): auth_token_expired,
}
