"""Renewed certificates are taken over once etcd lets syncd in with them, on real servers."""

from __future__ import annotations

from pathlib import Path
from shutil import copy

import pytest

from syncd.config import TLS
from syncd.gateway import (
    CertificateRefused,
    Gateway,
    Unreachable,
    Untrusted,
)
from syncd.keyrange import prefix_range
from tests.certificates import Authority
from tests.gateway.conftest import Connect, Lines
from tests.gateway.rotating import look_twice, rotating, said
from tests.proxy import Proxy
from tests.secure import demanding, secure
from tests.until import until

KEYS = prefix_range(b"/")


def issuer(gateway: Gateway) -> str:
    """Who signed the certificate that is shown to etcd now."""
    assert gateway.certificates
    return gateway.certificates.own[0].issuer.rfc4514_string()


async def test_renewed_certificates_are_used_by_all_that_comes(
    etcd_version: str, authority: Authority, tls: TLS, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Calls leave the old connections at once; a stream goes on until it is opened anew, and only once."""
    server = authority.issue("server")
    with secure(etcd_version, server, *demanding(authority)) as etcd:
        async with Proxy(etcd.port) as road:
            gateway = connect(f"https://127.0.0.1:{road.port}", tls=tls)
            await gateway.revision(KEYS)
            async with gateway.watch(KEYS, 1) as stream, rotating(gateway, monkeypatch):
                assert (await anext(stream)).created
                before = gateway.certificates
                authority.issue("client")  # first the certificate, then the key
                await until(lambda: gateway.certificates is not before)
                assert gateway.outdated(stream)
                etcd.put("/a", "1")
                assert (await anext(stream)).events[0].kv.key == b"/a"
                connections = road.connections
                for _ in range(2):
                    assert (await gateway.revision(KEYS)).revision == 2
                assert road.connections == connections + 1
                async with gateway.watch(KEYS, 2) as renewed:
                    assert (await anext(renewed)).created
                    assert not gateway.outdated(renewed)
                assert not gateway.rotation.troubles


async def test_certificates_that_etcd_refuses_wait(
    etcd_version: str,
    authority: Authority,
    successor: Authority,
    tls: TLS,
    connect: Connect,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    lines: Lines,
) -> None:
    """A client's new authority that etcd does not know yet: those in use stay, until etcd knows it."""
    trusted = tmp_path / "trusted.pem"
    copy(authority.file, trusted)
    flags = ("--client-cert-auth", f"--trusted-ca-file={trusted}")
    with secure(etcd_version, authority.issue("server"), *flags) as etcd:
        gateway = connect(etcd.endpoint, tls=tls)
        await gateway.revision(KEYS)
        async with rotating(gateway, monkeypatch):
            successor.issue("client")
            await until(lambda: isinstance(gateway.rotation.troubles.get("certificates"), CertificateRefused))
            assert issuer(gateway) == "CN=authority"
            await gateway.look_again(etcd.endpoint)
            trusted.write_bytes(authority.file.read_bytes() + successor.file.read_bytes())
            etcd.stop()
            etcd.start()
            await until(lambda: issuer(gateway) == "CN=successor")
            assert not gateway.rotation.troubles
        await gateway.look_again(etcd.endpoint)
        assert (await gateway.revision(KEYS)).revision == 1
    [line] = said(lines, "certificates refused")
    assert (line["log_level"], etcd.endpoint in line["error"]) == ("error", True)
    assert len(said(lines, "certificates taken")) == 1


@pytest.mark.parametrize("order", ["both at first", "etcd first", "syncd first"])
async def test_etcds_authority_changes(
    order: str,
    authority: Authority,
    successor: Authority,
    tls: TLS,
    connect: Connect,
    monkeypatch: pytest.MonkeyPatch,
    lines: Lines,
) -> None:
    """In whatever order: syncd trusts etcd in the end, and never trusts it less than it could."""
    assert tls.ca_file
    with secure(None, authority.issue("server")) as etcd:
        gateway = connect(etcd.endpoint, tls=tls)
        await gateway.revision(KEYS)
        before = gateway.certificates
        async with rotating(gateway, monkeypatch):
            if order == "both at first":
                tls.ca_file.write_bytes(authority.file.read_bytes() + successor.file.read_bytes())
                await until(lambda: gateway.certificates is not before)
                before = gateway.certificates
                await gateway.look_again(etcd.endpoint)
            if order == "syncd first":
                copy(successor.file, tls.ca_file)
                await until(lambda: gateway.rotation.troubles)
                assert isinstance(gateway.rotation.troubles["certificates"], Untrusted)
                await gateway.look_again(etcd.endpoint)
            successor.issue("server")  # etcd reads its files at each handshake
            if order == "etcd first":
                with pytest.raises(Untrusted):
                    await gateway.look_again(etcd.endpoint)
            if order != "syncd first":
                copy(successor.file, tls.ca_file)
            await until(lambda: gateway.certificates is not before)
            await gateway.look_again(etcd.endpoint)
            assert not gateway.rotation.troubles
            await gateway.revision(KEYS)
    assert len(said(lines, "certificates refused")) == (order == "syncd first")


async def test_certificates_wait_for_an_etcd_that_is_away(
    authority: Authority, tls: TLS, connect: Connect
) -> None:
    """Nobody knows what they are worth. As soon as a call has reached etcd again, they are tried."""
    with secure(None, authority.issue("server"), *demanding(authority)) as etcd:
        gateway = connect(etcd.endpoint, tls=tls)
        await gateway.revision(KEYS)
        etcd.stop()
        before = gateway.certificates
        with pytest.raises(Unreachable):
            await gateway.revision(KEYS)
        authority.issue("client")
        await look_twice(gateway)
        assert isinstance(gateway.rotation.troubles["certificates"], Unreachable)
        assert gateway.certificates is before
        etcd.start()
        await gateway.rotation._look()  # too early for another trial
        assert gateway.certificates is before
        await gateway.revision(KEYS)
        await gateway.rotation._look()
        assert gateway.certificates is not before
        assert not gateway.rotation.troubles
