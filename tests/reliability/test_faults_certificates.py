"""Each fault of certificates does what its name says, and the daemon goes on with what it should."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path

import pytest

from tests.etcd import Etcd, reason_missing
from tests.reliability.conftest import staged
from tests.reliability.faults import faults_for
from tests.reliability.faults_certificates import CERTIFICATES, complains, cut
from tests.reliability.faults_processes import UPGRADED
from tests.reliability.faults_users import TOKENS
from tests.reliability.keyring import Files, ends, known
from tests.reliability.stage import Stage
from tests.reliability.test_faults import happening, is_stale, soon, state

STRANGER = 0
"""A seed with which the daemon's new certificate is signed by a stranger."""


@pytest.fixture
def version() -> str:
    """One: all read their files in the same way."""
    if reason := reason_missing(UPGRADED):
        pytest.skip(f"NOT TESTED with etcd {UPGRADED}: {reason}")
    return UPGRADED


def reconnects(stage: Stage) -> dict[str, int]:
    """Why the daemon opened its watch anew, and how often."""
    counted: dict[str, int] = stage.daemon.range_status()["counters"]["watch_reconnects"]
    return counted


def shown(etcd: Etcd) -> str:
    """The certificate that etcd shows."""
    return ssl.get_server_certificate(("127.0.0.1", etcd.port))


class Bearer:
    """Somebody who has what the daemon's files hold now, and keeps it."""

    def __init__(self, stage: Stage, directory: Path) -> None:
        self._stage = stage
        self._files = Files(directory, stage.keyring.daemon.contents())

    async def gets_in(self) -> bool:
        """Whether etcd lets them in, on a new connection."""
        context = ssl.create_default_context(cafile=self._stage.keyring.own.ca)
        context.load_cert_chain(self._files.certificate, self._files.key)
        try:
            reader, writer = await asyncio.open_connection(
                "127.0.0.1", self._stage.cluster.members[0].port, ssl=context
            )
            try:
                writer.write(b"GET /version HTTP/1.0\r\n\r\n")
                return b"200 OK" in await reader.read()
            finally:
                writer.transport.abort()
        except OSError:
            return False


async def test_the_daemons_files(version: str, tmp_path: Path) -> None:
    """What is good is taken over with one new stream, and needed from then on; what is not is left alone."""
    async with staged(version, tls=True) as (stage, _):
        for reopened, name in enumerate(("renewed", "swapped"), start=1):
            before, old = reconnects(stage), Bearer(stage, tmp_path / name)
            async with happening(stage, f"client certificate {name}"):
                await soon(lambda: _counts(stage, "reopened", reopened))  # noqa: B023 - at once
                assert await stage.is_up_to_date()
                assert reconnects(stage) == {**before, "reopened": reopened}
                assert await state(stage) == "live"
                assert await old.gets_in()
            assert not await old.gets_in()
            await stage.recovered()
        async with happening(stage, "client certificate spoiled", STRANGER):
            assert not await Bearer(stage, tmp_path / "spoiled").gets_in()
            await soon(lambda: complains(stage))
            cut(stage)
            head = await stage.members.revision()
            await soon(lambda: stage.is_live_at(head))
            assert not await stage.is_up_to_date()
        await stage.recovered()
        assert stage.lives.total("full_reads") == {"initial": 1}


async def test_etcds_files(version: str, tmp_path: Path) -> None:
    """The daemon sees what is new; nobody gets in while etcd has nothing; an old authority is forgotten."""
    async with staged(version, tls=True) as (stage, _):
        old = Bearer(stage, tmp_path / "old")
        before = {shown(member) for member in stage.cluster.members}
        async with happening(stage, "etcd's certificate renewed"):
            assert not {shown(member) for member in stage.cluster.members} & before
        await stage.recovered()
        async with happening(stage, "etcd's certificate spoiled"):
            assert not await old.gets_in()
            await soon(lambda: is_stale(stage))
        assert await old.gets_in()
        await stage.recovered()
        authority = ends(stage.keyring.daemon.ca, "ca")
        async with happening(stage, "authority replaced"):
            assert known(stage.daemon.status()) > authority
            assert await old.gets_in()
        assert not await old.gets_in()
        await stage.recovered()
        assert not known(stage.daemon.status()) & authority
        assert stage.lives.total("full_reads") == {"initial": 1}


def test_certificates_fail_with_tls_alone() -> None:
    """Without it nobody has any; with it, what is said of tokens cannot be read on the road."""
    assert set(faults_for(UPGRADED)) - set(faults_for(UPGRADED, tls=True)) == set(TOKENS)
    assert set(faults_for(UPGRADED, tls=True)) - set(faults_for(UPGRADED)) == set(CERTIFICATES)


async def _counts(stage: Stage, reason: str, number: int) -> bool:
    return reconnects(stage).get(reason) == number
