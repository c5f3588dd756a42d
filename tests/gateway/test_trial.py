"""When new certificates are tried, where, and what counts as good, on real servers."""

from __future__ import annotations

import asyncio
from asyncio import StreamReader, StreamWriter
from itertools import pairwise
from pathlib import Path
from shutil import copy
from typing import Any

import pytest

from syncd.config import TLS
from syncd.gateway import (
    CertificateRefused,
    CommonNameRefused,
    Untrusted,
    rotation,
    trial,
)
from syncd.keyrange import prefix_range
from tests.certificates import Authority
from tests.gateway.conftest import Connect, Lines
from tests.gateway.rotating import look_twice, rotating, said
from tests.proxy import Proxy
from tests.secure import demanding, secure
from tests.until import until

KEYS = prefix_range(b"/")


async def test_another_endpoint_tells_when_the_one_in_use_is_away(
    authority: Authority, tls: TLS, connect: Connect
) -> None:
    """So a rotation does not wait for a member that is down."""
    server = authority.issue("server")
    with (
        secure(None, server, *demanding(authority)) as one,
        secure(None, server, *demanding(authority)) as two,
    ):
        gateway = connect(one.endpoint, two.endpoint, tls=tls)
        in_use = next(each for each in (one, two) if each.endpoint == gateway.endpoints.current.url)
        in_use.stop()
        before = gateway.certificates
        authority.issue("client")
        await look_twice(gateway)
        assert gateway.certificates is not before
        assert not gateway.rotation.troubles


async def test_the_endpoint_in_use_decides_while_it_is_well(
    authority: Authority, successor: Authority, tls: TLS, connect: Connect
) -> None:
    """What another member would accept already must not take this one away."""
    assert tls.ca_file
    with (
        secure(None, successor.issue("ahead")) as ahead,
        secure(None, authority.issue("server")) as etcd,
    ):
        gateway = connect(ahead.endpoint, etcd.endpoint, tls=tls)
        with pytest.raises(Untrusted, match=ahead.endpoint):
            await gateway.revision(KEYS)
        await gateway.revision(KEYS)
        before = gateway.certificates
        copy(successor.file, tls.ca_file)
        await look_twice(gateway)
        assert gateway.rotation.troubles["certificates"].endpoint == etcd.endpoint
        assert gateway.certificates is before


async def test_certificates_that_wait_are_tried_when_those_in_use_fail(
    authority: Authority, successor: Authority, tls: TLS, connect: Connect
) -> None:
    """At the next look, however long the pause would have been."""
    assert tls.ca_file
    with secure(None, authority.issue("server")) as etcd:
        async with Proxy(etcd.port) as road:
            gateway = connect(f"https://127.0.0.1:{road.port}", tls=tls)
            before = gateway.certificates
            copy(successor.file, tls.ca_file)
            await look_twice(gateway)
            successor.issue("server")
            await gateway.rotation._look()
            assert gateway.certificates is before  # nobody has noticed
            with pytest.raises(Untrusted):
                await gateway.revision(KEYS)
            await gateway.rotation._look()
            assert gateway.certificates is not before


async def test_what_changes_during_a_trial_counts(
    authority: Authority, successor: Authority, tls: TLS, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may have come too late for that one; so there is another one at the next look."""
    with secure(None, authority.issue("server"), *demanding(authority)) as etcd:
        gateway = connect(etcd.endpoint, tls=tls)
        trials = 0

        async def while_all_changes(*arguments: Any) -> trial.Failure | None:
            nonlocal trials
            trials += 1
            gateway.rotation.hurry()
            return await trial.trial(*arguments)

        monkeypatch.setattr(rotation, "trial", while_all_changes)
        successor.issue("client")
        await look_twice(gateway)
        assert trials == 1
        monkeypatch.undo()
        before = gateway.rotation.troubles["certificates"]
        await gateway.rotation._look()
        assert gateway.rotation.troubles["certificates"] is not before
        before = gateway.rotation.troubles["certificates"]
        await gateway.rotation._look()  # too early: nothing has changed any more
        assert gateway.rotation.troubles["certificates"] is before


async def test_a_password_does_not_wait_for_a_trial(
    authority: Authority,
    tls: TLS,
    connect: Connect,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    lines: Lines,
) -> None:
    """Of certificates, at an endpoint that does not answer."""
    password = tmp_path / "password"
    password.write_text("secret")

    async def silent(_: StreamReader, writer: StreamWriter) -> None:
        connected.set()
        await ended.wait()
        writer.close()

    connected, ended = asyncio.Event(), asyncio.Event()
    async with await asyncio.start_server(silent, "127.0.0.1") as server:
        url = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        gateway = connect(url, tls=tls, user="reader", password_file=password)
        async with rotating(gateway, monkeypatch):
            authority.issue("client")
            await connected.wait()
            password.write_text("another secret")
            await until(lambda: said(lines, "password taken"))
            assert not gateway.rotation.troubles  # so the trial has not ended yet
        ended.set()


async def test_nothing_is_taken_that_does_not_help(
    authority: Authority, successor: Authority, tls: TLS, connect: Connect
) -> None:
    """Where those in use are refused, too: a stream of theirs may still live. What helps wakes who waits."""
    successor.issue("client")
    with secure(None, authority.issue("server"), *demanding(authority)) as etcd:
        async with Proxy(etcd.port) as road:
            gateway = connect(f"https://127.0.0.1:{road.port}", tls=tls)
            before = gateway.certificates
            successor.issue("client")
            await look_twice(gateway)
            assert isinstance(gateway.rotation.troubles["certificates"], CertificateRefused)
            assert gateway.certificates is before
            with pytest.raises(CertificateRefused):
                await gateway.revision(KEYS)
            connections = road.connections
            await gateway.rotation._look()
            assert road.connections == connections  # the call that was refused has changed nothing
            authority.issue("client")
            waiting = asyncio.get_running_loop().create_task(gateway.pause(60), name="pause")
            await look_twice(gateway)
            assert gateway.certificates is not before
            async with asyncio.timeout(5):
                await waiting
            assert (await gateway.revision(KEYS)).revision == 1


async def test_a_name_that_the_gateway_refuses_is_not_taken(
    etcd_version: str, authority: Authority, tls: TLS, connect: Connect, tmp_path: Path
) -> None:
    """TLS lets a CommonName in, but with authentication on, the gateway does not, from 3.4 on."""
    password = tmp_path / "password"
    password.write_text("secret")
    with secure(etcd_version, authority.issue("server"), *demanding(authority)) as etcd:
        etcd.guard("reader", "secret", "/")
        gateway = connect(etcd.endpoint, tls=tls, user="reader", password_file=password)
        await gateway.revision(KEYS)
        before = gateway.certificates
        authority.issue("client", common_name="reader")
        await look_twice(gateway)
        if not etcd_version.startswith("3.3."):
            assert isinstance(gateway.rotation.troubles["certificates"], CommonNameRefused)
            assert gateway.certificates is before
            authority.issue("client")
            await look_twice(gateway)
        assert not gateway.rotation.troubles
        assert gateway.certificates is not before
        assert (await gateway.revision(KEYS)).revision == 1


async def test_trials_become_rare(
    authority: Authority, successor: Authority, tls: TLS, connect: Connect, lines: Lines
) -> None:
    """After up to 2, 4, 8, … 60 s, drawn; at once when something changes on the way. One line tells it."""
    now = 1000.0
    with secure(None, authority.issue("server"), *demanding(authority)) as etcd:
        async with Proxy(etcd.port) as road:
            gateway = connect(f"https://127.0.0.1:{road.port}", tls=tls)
            gateway.rotation._clock = lambda: now

            async def trials() -> int:
                before = road.connections
                await gateway.rotation._look()
                return (road.connections - before) // 2  # one with the new ones, one with those in use

            successor.issue("client")
            assert [await trials(), await trials()] == [0, 1]
            tried = []
            for second in range(1, 250):
                now = 1000.0 + second
                if await trials():
                    tried.append(second)
            pauses = [after - before for before, after in pairwise([0, *tried])]
            limits = [2, 4, 8, 16, 32, *[60] * (len(pauses) - 5)]
            assert len(pauses) > 8
            assert all(limit / 2 <= pause <= limit for pause, limit in zip(pauses, limits, strict=True))
            assert sum(pauses) < sum(limits)
            gateway.rotation.hurry()
            assert [await trials(), await trials()] == [1, 0]
            assert len(said(lines, "certificates refused")) == 1
