"""Faults of authentication. Tokens are short-lived on this stage."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from signal import SIGCONT, SIGHUP, SIGSTOP

from tests.reliability.kinds import Faults, MissedError, Part, kind
from tests.reliability.stage import TOKEN_SECONDS, NotRecoveredError, Stage

EXPIRED = (TOKEN_SECONDS + 1.5, TOKEN_SECONDS + 3.0)
"""Seconds after which etcd has forgotten a token: it looks once a second."""

REFUSED_SECONDS = 5.0
"""For the daemon to show its token, and etcd to log that."""

REFUSED = b"invalid auth token"
"""What etcd logs then; the writer's own token is in use, so it is not that one."""


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


@asynccontextmanager
async def auth_token_expired(stage: Stage, draw: random.Random) -> AsyncIterator[None]:
    """The daemon stands still for longer than its tokens live, and goes on with one that etcd refuses.

    A closed road will not do: of a member that is silent the daemon forgets the token by itself.
    """
    logs = [member.log for member in stage.cluster.members]
    stage.daemon.signal(SIGSTOP)
    yield
    ends = [log.stat().st_size for log in logs]

    async def refused() -> bool:
        return any(REFUSED in log.read_bytes()[end:] for log, end in zip(logs, ends, strict=True))

    stage.daemon.signal(SIGCONT)
    try:
        await stage.until(refused, REFUSED_SECONDS)
    except NotRecoveredError as error:
        raise MissedError("etcd refused no token after that") from error


USERS: Faults = {
    kind("password changed", Part.USERS, Part.DAEMON, Part.ROAD): password_changed,
    kind("role revoked", Part.USERS, Part.ROAD): role_revoked,
    kind("auth token expired", Part.USERS, Part.DAEMON, Part.ROAD, hold=EXPIRED): auth_token_expired,
}
