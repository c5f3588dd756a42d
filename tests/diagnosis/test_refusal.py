"""Which certificate etcd refuses, and why, in tables of made-up handshakes."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509

from syncd.config import TLS
from syncd.diagnosis.refusal import behind_the_gateway, refusals
from syncd.diagnosis.sight import Handshake
from syncd.findings import Finding
from tests.certificates import CLIENT, SERVER, Authority
from tests.diagnosis.handshakes import NOW, URL, by_code, certificate

OURS = TLS(ca_file=Path("/ca.pem"), cert_file=Path("/my own.pem"), key_file=Path("/my.key"))
YESTERDAY, TOMORROW = timedelta(days=-1), timedelta(days=1)


def demanding(authority: Authority, alert: str = "bad certificate") -> Handshake:
    """A handshake that etcd ended, wanting a certificate of `authority`."""
    server, ca = certificate(authority.issue("server")), certificate(authority)
    return Handshake("TLSv1.3", (server,), authorities=(ca.subject,), alert=alert)


def refused(handshake: Handshake, *chain: x509.Certificate) -> dict[str, Finding]:
    """Why ours is refused, by code."""
    return by_code(list(refusals(URL, handshake, OURS, chain, NOW)))


def test_whoever_is_answered_is_not_refused(authority: Authority) -> None:
    """Nor is it when etcd asks for nothing."""
    wanted = (certificate(authority).subject,)
    assert refused(Handshake(authorities=wanted, answer=b"HTTP/1.1 200 OK")) == {}
    assert refused(Handshake(failed="it was cut")) == {}


def test_each_fault_that_is_sure_is_told(authority: Authority, stranger: Authority) -> None:
    """Mending one of them would not do; and what is sure needs no guess beside it."""
    ours = certificate(stranger.issue("ours", usages=[SERVER], since=2 * YESTERDAY, until=YESTERDAY))
    told = refused(demanding(authority), ours)
    assert list(told) == [
        "tls.client_cert_expired",
        "tls.client_cert_no_client_auth",
        "tls.client_cert_untrusted",
    ]
    assert "issued by CN=stranger; etcd wants one from CN=authority" in told["tls.client_cert_untrusted"].seen


def test_one_that_is_not_valid_yet(authority: Authority) -> None:
    """As the clock here says."""
    ours = certificate(authority.issue("ours", since=TOMORROW, until=2 * TOMORROW))
    assert list(refused(demanding(authority), ours)) == ["tls.client_cert_not_yet_valid"]


def test_one_that_is_for_servers_alone(authority: Authority) -> None:
    """The commands make the next one of the same key, for the same names."""
    ours = certificate(authority.issue("ours", names=["host-1"], usages=[SERVER]))
    cure = refused(demanding(authority), ours)["tls.client_cert_no_client_auth"].cure
    assert "-key /my.key " in cure
    assert "-addext extendedKeyUsage=clientAuth -addext subjectAltName=DNS:host-1" in cure


@pytest.mark.parametrize("alert", ["bad certificate", "unknown ca"])
def test_one_from_an_authority_in_between(authority: Authority, tmp_path: Path, alert: str) -> None:
    """What is missing may be only the certificate above it, which can be sent along."""
    between = Authority(tmp_path, "between")
    finding = refused(demanding(authority, alert), certificate(between.issue("ours")))
    cure = finding["tls.client_cert_untrusted"].cure
    assert "if that CA is one between, and etcd trusts the CA above it" in cure
    assert cure.endswith("\n  cat BETWEEN.pem >> '/my own.pem'")
    assert "syncd reads its own files anew" in cure


def test_what_cannot_be_known_is_not_said(authority: Authority) -> None:
    """etcd's log knows."""
    told = refused(demanding(authority), certificate(authority.issue("ours")))
    assert list(told) == ["tls.client_cert_refused"]
    assert "bad certificate" in told["tls.client_cert_refused"].seen


EXPIRED = 'connection error: desc = "error reading server preface: remote error: tls: expired certificate"'
UNKNOWN = EXPIRED.replace("expired certificate", "unknown certificate authority")
BAD = EXPIRED.replace("expired", "bad")


@pytest.mark.parametrize(
    ("trusted", "usages", "said", "code"),
    [
        (True, [SERVER], BAD, "tls.server_cert_no_client_auth"),
        (True, [SERVER], "connection closed", "tls.server_cert_no_client_auth"),
        (False, [SERVER, CLIENT], BAD, "tls.server_cert_untrusted_by_etcd"),
        (True, [SERVER, CLIENT], BAD, "gateway.unavailable"),
        (True, [], "connection closed", "gateway.unavailable"),
        # What etcd says itself counts more: its gateway may have a certificate of its own.
        (True, [SERVER], EXPIRED, "tls.gateway_cert_expired"),
        (True, [SERVER, CLIENT], EXPIRED, "tls.gateway_cert_expired"),
        (True, [SERVER], UNKNOWN, "tls.server_cert_untrusted_by_etcd"),
        (True, [SERVER, CLIENT], UNKNOWN, "tls.server_cert_untrusted_by_etcd"),
    ],
)
def test_what_the_gateway_shows(
    authority: Authority,
    stranger: Authority,
    trusted: bool,
    usages: list[x509.ObjectIdentifier],
    said: str,
    code: str,
) -> None:
    """What the gateway was told by etcd, and what etcd's certificate proves."""
    issued = (authority if trusted else stranger).issue("server", usages=usages)
    wanted = (certificate(authority).subject,)
    handshake = Handshake("TLSv1.3", (certificate(issued),), authorities=wanted, answer=b"HTTP/1.1 200 OK")
    finding = behind_the_gateway(URL, handshake, said)
    assert finding
    assert finding.code == code
    assert said in finding.seen
    assert "--client-cert-file" in finding.cure


def test_an_etcd_that_demands_no_certificate_refuses_none(authority: Authority) -> None:
    """Its gateway fails for another reason."""
    server = certificate(authority.issue("server", usages=[SERVER]))
    assert behind_the_gateway(URL, Handshake("TLSv1.3", (server,)), "connection closed") is None
