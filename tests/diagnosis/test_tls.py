"""What the certificates mean that etcd shows, in tables of made-up handshakes."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from syncd.config import TLS
from syncd.config.notation import HostName
from syncd.diagnosis.sight import NO_ANSWER, Fault, Handshake
from syncd.diagnosis.tls import Own, tls_findings
from syncd.findings import Finding
from tests.certificates import CLIENT, Authority
from tests.diagnosis.handshakes import NOW, URL, by_code, certificate
from tests.diagnosis.shell import commands

NOT_YET, EXPIRED, UNKNOWN_ISSUER, PURPOSE = 9, 10, 20, 26
CA = TLS(ca_file=Path("/ca.pem"))
YESTERDAY = timedelta(days=-1)


def judged(
    handshake: Handshake, tls: TLS = CA, *authorities: Authority, url: str = URL, plain: bool = False
) -> dict[str, Finding]:
    """What is found, by code."""
    own = Own(tls, tuple(certificate(each) for each in authorities))
    return by_code(tls_findings(url, handshake, plain, own, NOW))


def shown(
    *chain: x509.Certificate, faults: tuple[tuple[int, int], ...] = (), wrong_name: bool = False
) -> Handshake:
    """One that came to its end; `faults` have a number and a depth."""
    noted = tuple(Fault(number, depth, chain[min(depth, len(chain) - 1)]) for number, depth in faults)
    return Handshake("TLSv1.3", chain, noted, wrong_name, answer=b"HTTP/1.1 200 OK")


def test_all_is_well(authority: Authority) -> None:
    """Who it is, from whom, and until when."""
    told = judged(shown(certificate(authority.issue("server"))), CA, authority)
    assert list(told) == ["tls.ok"]
    assert "127.0.0.1, issued by CN=authority, is valid until" in told["tls.ok"].seen


@pytest.mark.parametrize(
    ("handshake", "plain", "code", "cure"),
    [
        (
            Handshake(failed=NO_ANSWER),
            False,
            "gateway.timeout",
            f"--endpoints={URL} --cacert=/ca.pem endpoint",
        ),
        (Handshake(failed="wrong version number"), True, "tls.server_speaks_plaintext", "write http"),
        (Handshake(alert="protocol version"), False, "tls.version_too_old", "TLS 1.2"),
        (Handshake(failed="it was cut"), False, "tls.handshake_failed", "s_client -connect etcd-1:2379"),
    ],
)
def test_where_there_is_no_handshake(handshake: Handshake, plain: bool, code: str, cure: str) -> None:
    """What there is instead."""
    told = judged(handshake, plain=plain)
    assert list(told) == [code]
    assert cure in told[code].cure


def test_each_fault_is_told_for_itself(stranger: Authority) -> None:
    """A certificate may have several, and mending one would not do."""
    server = certificate(stranger.issue("server", names=["other.example"], usages=[CLIENT]))
    faults = ((EXPIRED, 0), (PURPOSE, 0), (UNKNOWN_ISSUER, 0), (21, 0))
    assert list(judged(shown(server, faults=faults, wrong_name=True))) == [
        "tls.server_cert_expired",
        "tls.server_cert_no_server_auth",
        "tls.server_cert_untrusted",
        "tls.server_cert_wrong_name",
    ]


def test_a_certificate_that_is_not_for_servers(authority: Authority) -> None:
    """Its CA is good; it has to be issued again, for the names that it has."""
    server = certificate(authority.issue("server", names=["etcd-1"], usages=[CLIENT]))
    finding = judged(shown(server, faults=((PURPOSE, 0),)), CA, authority)["tls.server_cert_no_server_auth"]
    assert "CA" not in finding.seen + finding.means
    request, sign = commands(finding.cure)
    assert "-addext extendedKeyUsage=serverAuth,clientAuth -addext subjectAltName=DNS:etcd-1" in request
    assert "-copy_extensions copy" in sign


def test_a_stranger(authority: Authority, stranger: Authority) -> None:
    """What is trusted is told, and the file that it is in."""
    faults = ((UNKNOWN_ISSUER, 0),)
    server = certificate(stranger.issue("server"))
    finding = judged(shown(server, faults=faults), CA, authority)["tls.server_cert_untrusted"]
    assert "is issued by CN=stranger; /ca.pem holds CN=authority" in finding.seen
    assert "put the certificate of the CA that issued it into /ca.pem; or, if that CA is one" in finding.cure


def test_a_stranger_where_no_authority_is_configured(stranger: Authority) -> None:
    """Nothing is said of a file that there is not; one is to be set."""
    server = certificate(stranger.issue("server"))
    finding = judged(shown(server, faults=((UNKNOWN_ISSUER, 0),)), TLS())["tls.server_cert_untrusted"]
    assert finding.seen.endswith(
        "CN=stranger; etcd.tls.ca_file is not set, so the authorities count that this machine trusts"
    )
    assert finding.cure.startswith(
        "set etcd.tls.ca_file to a file with the certificate of the CA that issued it"
    )
    assert "configured" not in finding.means


def test_a_namesake(authority: Authority, tmp_path: Path) -> None:
    """A CA that was made anew is another one."""
    (tmp_path / "new").mkdir()
    new = Authority(tmp_path / "new", "authority")
    server = certificate(new.issue("server"))
    finding = judged(shown(server, faults=((UNKNOWN_ISSUER, 0),)), CA, authority)["tls.server_cert_untrusted"]
    assert finding.seen.endswith("holds CN=authority, which has the same name but another key")


@pytest.mark.parametrize("sent", [True, False])
@pytest.mark.parametrize("tls", [CA, TLS()])
def test_a_ca_that_is_expired(authority: Authority, tmp_path: Path, sent: bool, tls: TLS) -> None:
    """Its next certificate belongs where the old one lies: one that etcd sends is in etcd's own file."""
    old = Authority(tmp_path, "old", since=2 * YESTERDAY, until=YESTERDAY)
    leaf, ca = certificate(old.issue("server")), certificate(old)
    chain = (leaf, ca) if sent else (leaf,)
    handshake = Handshake("TLSv1.3", chain, (Fault(EXPIRED, 1, ca),), answer=b"HTTP/1.1 200 OK")
    finding = judged(handshake, tls, authority if sent else old)["tls.ca_expired"]
    assert "the certificate of old expired at" in finding.seen
    place = "etcd's --cert-file names" if sent else "/ca.pem" if tls.ca_file else "this machine keeps"
    assert place in finding.cure
    assert ("/ca.pem" in finding.cure) == (place == "/ca.pem")


@pytest.mark.parametrize(
    ("names", "cure"),
    [
        (["etcd.example", "10.0.0.1"], "set etcd.tls.server_name: etcd.example"),
        (["*.etcd.example", "etcd.example"], "set etcd.tls.server_name: etcd.example"),
        (["*.etcd.example", "10.0.0.1"], "set etcd.tls.server_name: 10.0.0.1"),
        (["*.etcd.example"], "use a name that *.etcd.example stands for, or set etcd.tls.server_name to one"),
        ([], "have it issued again with subjectAltName=DNS:etcd-1"),
    ],
)
def test_another_name(authority: Authority, names: list[str], cure: str) -> None:
    """The cure is one that the configuration takes: a name with a star is none."""
    server = certificate(authority.issue("server", names=names))
    finding = judged(shown(server, wrong_name=True), CA, authority)["tls.server_cert_wrong_name"]
    assert finding.cure.endswith(cure)
    _, sets, name = finding.cure.partition("server_name: ")
    assert not sets or HostName().read(name) == name


def test_names_that_nobody_can_read(tmp_path: Path) -> None:
    """A CA that encodes its name wrongly is told as one without a name, and stops no diagnosis."""
    ca = Authority(tmp_path, "unreadable")
    broken = certificate(ca.issue("server")).public_bytes(Encoding.DER).replace(b"unread", b"unr\xff\xfed")
    server = x509.load_der_x509_certificate(broken)
    finding = judged(shown(server, faults=((UNKNOWN_ISSUER, 0),)), CA, ca)["tls.server_cert_untrusted"]
    assert "is issued by a CA without a name; /ca.pem holds CN=unreadable" in finding.seen


def test_names_that_are_made_to_deceive(authority: Authority) -> None:
    """Nothing that stands in a certificate makes a line of its own, or a command."""
    server = certificate(authority.issue("server", names=["a\n  rm -rf $(x).example"], usages=[CLIENT]))
    told = judged(shown(server, faults=((PURPOSE, 0),), wrong_name=True), CA, authority)
    assert "DNS:a?  rm -rf $(x).example" in told["tls.server_cert_wrong_name"].seen
    lines = [line for finding in told.values() for line in commands(finding.cure)]
    assert [line.split()[0] for line in lines] == ["openssl", "openssl"]
    assert "'subjectAltName=DNS:a?  rm -rf $(x).example'" in lines[0]
