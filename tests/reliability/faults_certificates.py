"""Faults of certificates, for a stage with TLS: renewed in several ways, by another authority, unusable.

Nobody tells the daemon. That it has taken over what its files hold is read in its status; and then what it
had before is worth nothing any more, and its connections are cut. So it comes back only if it told the truth.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial

from tests.reliability.keyring import CA, CERTIFICATE, KEY, Contents, Files, Keyring, ends, known
from tests.reliability.kinds import Faults, MissedError, Part, kind
from tests.reliability.stage import NotRecoveredError, Stage

WRITE_PAUSE = (0.0, 1.0)
"""Seconds between a certificate and its key, as one is copied after the other."""

TAKEN_SECONDS = 20.0
"""For the daemon to take over new files, or to complain about them: it looks every two seconds, and twice.
Other faults may keep it from trying them meanwhile."""


@asynccontextmanager
async def client_renewed(stage: Stage, draw: random.Random) -> AsyncIterator[None]:
    """The daemon's certificate is renewed, and then its key."""
    keyring = stage.keyring
    async with _retiring(stage):
        await _write(keyring.daemon, keyring.renewed(), draw)
        yield


@asynccontextmanager
async def client_swapped(stage: Stage, draw: random.Random) -> AsyncIterator[None]:
    """The daemon's files are renewed in one instant, by a link to another directory, as Kubernetes does."""
    keyring = stage.keyring
    async with _retiring(stage):
        keyring.daemon.swap(keyring.renewed())
        yield


@asynccontextmanager
async def client_spoiled(stage: Stage, draw: random.Random) -> AsyncIterator[None]:
    """The daemon's new files cannot be used, or etcd does not know who signed them; then good ones come.

    Until then it has to go on with what it had, also on new connections.
    """
    keyring = stage.keyring
    async with _retiring(stage):
        await _write(keyring.daemon, draw.choice((*UNUSABLE, Keyring.stranger))(keyring), draw)
        yield
        try:
            await _soon(stage, partial(complains, stage), "the daemon did not complain")
            cut(stage)
        finally:
            await _write(keyring.daemon, keyring.renewed(), draw)


@asynccontextmanager
async def server_renewed(stage: Stage, draw: random.Random) -> AsyncIterator[None]:
    """etcd's certificate is renewed, and then its key; and the daemon has to connect again."""
    keyring = stage.keyring
    await _write(keyring.etcd, keyring.renewed(), draw)
    cut(stage)
    yield
    await _soon(stage, partial(_sees_etcds, stage), "the daemon was not shown etcd's certificate")


@asynccontextmanager
async def server_spoiled(stage: Stage, draw: random.Random) -> AsyncIterator[None]:
    """etcd's files cannot be used for a while, so no new connection is made; and the old ones are cut."""
    keyring = stage.keyring
    await _write(keyring.etcd, draw.choice(UNUSABLE)(keyring), draw)
    cut(stage)
    yield
    status = await stage.status()
    await _write(keyring.etcd, keyring.renewed(), draw)
    if status is None or status["ranges"][0]["endpoint"]:
        raise MissedError("the daemon is down, or watches on")


@asynccontextmanager
async def authority_replaced(stage: Stage, draw: random.Random) -> AsyncIterator[None]:
    """Both sides trust a second authority, get certificates from it, and then trust it alone."""
    keyring = stage.keyring
    sides = [keyring.daemon, keyring.etcd]
    keyring.add_authority()
    await _trust(stage, sides)
    yield
    for side in draw.sample(sides, 2):
        await _write(side, keyring.renewed(), draw)
    keyring.renew_own()
    await _taken(stage)
    keyring.drop_authorities()
    await _trust(stage, sides)


async def _trust(stage: Stage, sides: list[Files]) -> None:
    """Have both sides trust the authorities of now."""
    for side in sides:
        side.write(CA, stage.keyring.bundle)
    await _taken(stage)
    for member in stage.cluster.members:
        # Not `stop`: with TLS, 3.5 takes ten seconds to end while there are streams.
        member.kill()
        member.launch()
        await asyncio.to_thread(member.wait_until_ready)


@asynccontextmanager
async def _retiring(stage: Stage) -> AsyncIterator[None]:
    """Afterwards the daemon must use what its files hold, and etcd refuses what they held before."""
    before = stage.keyring.daemon.certificate.read_bytes()
    yield
    await _taken(stage)
    stage.keyring.revoke(before)
    cut(stage)


async def _write(files: Files, contents: Contents, draw: random.Random) -> None:
    """Overwrite certificate and key, one after the other."""
    files.write(CERTIFICATE, contents[CERTIFICATE])
    await asyncio.sleep(draw.uniform(*WRITE_PAUSE))
    files.write(KEY, contents[KEY])


async def _taken(stage: Stage) -> None:
    """The daemon has taken over what its files hold."""
    await _soon(stage, stage.is_up_to_date, "the daemon did not take over the new files")


async def _soon(stage: Stage, condition: Callable[[], Awaitable[bool]], otherwise: str) -> None:
    try:
        await stage.until(condition, TAKEN_SECONDS)
    except NotRecoveredError as error:
        raise MissedError(f"{otherwise} within {TAKEN_SECONDS:g} s") from error


async def complains(stage: Stage) -> bool:
    """Whether the daemon says that it does not take what its files hold."""
    status, files = await stage.status(), stage.keyring.daemon
    about = {str(file) for file in (files.ca, files.certificate, files.key)}
    return status is not None and any(
        finding["code"] == "tls.renewal_refused" or finding["subject"] in about
        for finding in status["etcd"]["findings"]
    )


async def _sees_etcds(stage: Stage) -> bool:
    """Whether the daemon was shown what etcd's files hold."""
    status = await stage.status()
    return bool(status and ends(stage.keyring.etcd.certificate, "server") <= known(status))


def cut(stage: Stage) -> None:
    """End all connections of the daemon's; it is welcome to make others."""
    for proxy in stage.road:
        proxy.cut()


def mismatched(keyring: Keyring) -> Contents:
    """A key that is not the certificate's."""
    return keyring.renewed() | {KEY: keyring.renewed()[KEY]}


def garbled(keyring: Keyring) -> Contents:
    """A certificate that is none."""
    return keyring.renewed() | {CERTIFICATE: b"-----BEGIN CERTIFICATE-----\nnone\n"}


def emptied(keyring: Keyring) -> Contents:
    """A key file with nothing in it."""
    return keyring.renewed() | {KEY: b""}


UNUSABLE = (mismatched, garbled, emptied)

CERTIFICATES: Faults = {
    kind("client certificate renewed", Part.CERTIFICATES, Part.DAEMON): client_renewed,
    kind("client certificate swapped", Part.CERTIFICATES, Part.DAEMON): client_swapped,
    kind("client certificate spoiled", Part.CERTIFICATES, Part.DAEMON): client_spoiled,
    # Not while members are started: etcd would not start with half of its files.
    kind("etcd's certificate renewed", Part.CERTIFICATES, Part.MEMBERS): server_renewed,
    kind("etcd's certificate spoiled", Part.CERTIFICATES, Part.MEMBERS, Part.ROAD): server_spoiled,
    kind("authority replaced", hold=(0.0, 0.5)): authority_replaced,
}
