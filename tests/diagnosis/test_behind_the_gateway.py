"""Faults of the certificate that etcd's gateway shows to etcd, made for real on each version."""

from __future__ import annotations

from datetime import timedelta

import pytest
from cryptography.x509 import ObjectIdentifier

from syncd.config import TLS
from syncd.config import Etcd as EtcdConfig
from syncd.diagnosis.why import why
from syncd.gateway import Unavailable
from tests.calls import RefusedError
from tests.certificates import CLIENT, SERVER, Authority
from tests.diagnosis.both_ways import tls, told
from tests.etcd import Etcd, reason_missing
from tests.secure import demanding, secure
from tests.serve.local import wait_until

YESTERDAY = timedelta(days=-1)


async def test_etcds_certificate_is_for_servers_alone(etcd_version: str, authority: Authority) -> None:
    """The gateway fails, though etcdctl works; either cure helps, the first without a restart."""
    issued, client = authority.issue("server", usages=[SERVER]), authority.issue("client")
    settings = tls(authority, client)
    with secure(etcd_version, issued, *demanding(authority), own=client) as etcd:
        etcd.etcdctl(
            f"--cacert={authority.file}",
            f"--cert={client.certificate}",
            f"--key={client.key}",
            "get",
            "/nothing",
        )
        found = await told(EtcdConfig(endpoints=(etcd.endpoint,), tls=settings))
        assert list(found) == ["tls.server_cert_no_client_auth"]
        finding = found["tls.server_cert_no_client_auth"]
        assert "is serverAuth, without clientAuth" in finding.seen
        assert "extendedKeyUsage=serverAuth,clientAuth" in finding.cure
        assert "subjectAltName=IP:127.0.0.1" in finding.cure
        authority.issue("server")
        wait_until(lambda: works(etcd), "the gateway tries again, a second later")
        assert await told(EtcdConfig(endpoints=(etcd.endpoint,), tls=settings)) == {}
    if etcd_version.startswith("3.5."):
        issued = authority.issue("server", usages=[SERVER])
        own = (f"--client-cert-file={client.certificate}", f"--client-key-file={client.key}")
        with secure(etcd_version, issued, *demanding(authority), *own, own=client) as etcd:
            assert await told(EtcdConfig(endpoints=(etcd.endpoint,), tls=settings)) == {}


@pytest.mark.parametrize(("version", "usages"), [("3.5.16", [SERVER, CLIENT]), ("3.5.30", [SERVER])])
async def test_the_gateways_own_certificate_has_expired(
    authority: Authority, version: str, usages: list[ObjectIdentifier]
) -> None:
    """Renewing that helps at once; nothing is wrong with etcd's own. Older versions do not say so."""
    if reason := reason_missing(version):
        pytest.skip(f"NOT TESTED with etcd {version}: {reason}")
    issued, client = authority.issue("server", usages=usages), authority.issue("client")
    shown = authority.issue("shown", usages=[CLIENT], since=2 * YESTERDAY, until=YESTERDAY)
    own = (f"--client-cert-file={shown.certificate}", f"--client-key-file={shown.key}")
    with secure(version, issued, *demanding(authority), *own, own=client) as etcd:
        error = Unavailable(etcd.endpoint, 14, refused_for(etcd, "expired certificate"))
        settings = EtcdConfig(endpoints=(etcd.endpoint,), tls=tls(authority, client))
        assert [finding.code for finding in await why(error, settings)] == ["tls.gateway_cert_expired"]
        authority.issue("shown", usages=[CLIENT])
        wait_until(lambda: works(etcd), "the gateway tries again, a second later")


async def test_etcd_does_not_trust_its_own_certificate(
    etcd_version: str, authority: Authority, stranger: Authority
) -> None:
    """The gateway fails as well when clients and servers have different CAs."""
    issued, client = authority.issue("server"), stranger.issue("client")
    with secure(etcd_version, issued, *demanding(stranger), own=client) as etcd:
        settings = TLS(ca_file=authority.file, cert_file=client.certificate, key_file=client.key)
        found = await told(EtcdConfig(endpoints=(etcd.endpoint,), tls=settings))
    assert list(found) == ["tls.server_cert_untrusted_by_etcd"]


def works(etcd: Etcd) -> bool:
    """Whether etcd's gateway reaches etcd."""
    return not refusal(etcd)


def refusal(etcd: Etcd) -> str:
    """What etcd's gateway says, if it does not."""
    try:
        etcd.revision()
    except RefusedError as error:
        return str(error)
    return ""


def refused_for(etcd: Etcd, reason: str) -> str:
    """What the gateway says once it has heard that; one time in five, etcd first hangs up without a word."""
    said = ""

    def heard() -> bool:
        nonlocal said
        said = refusal(etcd)
        return reason in said

    wait_until(heard, reason)
    return said
