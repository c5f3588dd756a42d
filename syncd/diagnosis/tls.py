"""What a handshake that went wrong means: which certificate is at fault, why, and what helps. Pure.

Here it is the one that etcd shows; which one etcd refuses is in refusal.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import urlsplit

from cryptography import x509

from syncd.config import TLS, Etcd
from syncd.config.pem import title
from syncd.diagnosis.catalogue import found
from syncd.diagnosis.commands import certificates_shown
from syncd.diagnosis.explain import see_etcd
from syncd.diagnosis.names import (
    alternatives,
    day,
    is_address,
    issuer,
    issuer_name,
    second,
    some,
    subject_name,
)
from syncd.diagnosis.refusal import again_for_both, refusals
from syncd.diagnosis.sight import NO_ANSWER, Fault, Handshake
from syncd.findings import Finding

_NOT_YET, _EXPIRED, _PURPOSE = 9, 10, 26
"""OpenSSL's X509_V_ERR_CERT_NOT_YET_VALID, …_CERT_HAS_EXPIRED, …_INVALID_PURPOSE."""


@dataclass(frozen=True, slots=True)
class Own:
    """What syncd itself has: the CAs of `etcd.tls.ca_file`, and its certificate with its chain."""

    tls: TLS
    authorities: tuple[x509.Certificate, ...] = ()
    chain: tuple[x509.Certificate, ...] = ()


def tls_findings(url: str, handshake: Handshake, plain: bool, own: Own, now: datetime) -> list[Finding]:
    """What `handshake` with `url` shows; `plain`: whether HTTP without TLS is answered there."""
    if handshake.failed == NO_ANSWER and not plain:
        said = "it takes connections, and answers neither with TLS nor without"
        return [found("gateway.timeout", url, said, see_etcd(Etcd(endpoints=(url,), tls=own.tls)))]
    if not url.startswith("https:"):
        return list(_unexpected(url, handshake))
    if not handshake.chain:
        return [_no_handshake(url, handshake, plain)]
    findings = [*_shown(url, handshake, own), *refusals(url, handshake, own.tls, own.chain, now)]
    if findings:
        return findings
    leaf = handshake.chain[0]
    seen = (
        f"{handshake.protocol}; the certificate of {title(leaf)}, issued by {issuer(leaf)}, "
        f"is valid until {day(leaf.not_valid_after_utc)}"
    )
    asked = "; etcd asks for a client's, and takes ours" if handshake.authorities and own.chain else ""
    return [found("tls.ok", url, seen + asked)]


def _unexpected(url: str, handshake: Handshake) -> Iterator[Finding]:
    if handshake.chain:
        leaf = handshake.chain[0]
        yield found(
            "tls.server_demands_tls",
            url,
            f"it takes a TLS handshake, and shows the certificate of {title(leaf)}",
            f"write https in etcd.endpoints, and set etcd.tls.ca_file to the CA {issuer(leaf)}",
        )


def _no_handshake(url: str, handshake: Handshake, plain: bool) -> Finding:
    said = handshake.alert or handshake.failed
    if plain:
        return found(
            "tls.server_speaks_plaintext",
            url,
            f"no TLS ({said}), but it answers in plain HTTP",
            "give etcd a certificate (--cert-file, --key-file, and https in --listen-client-urls); or, in a "
            "network that nobody listens to, write http in etcd.endpoints",
        )
    if "protocol" in said:
        cure = "let what answers there speak TLS 1.2 or 1.3; etcd itself does"
        return found("tls.version_too_old", url, said, cure)
    return found("tls.handshake_failed", url, said, f"see what answers there:\n  {certificates_shown(url)}")


def _shown(url: str, handshake: Handshake, own: Own) -> Iterator[Finding]:
    """What is wrong with the certificates that etcd shows."""
    leaf = handshake.chain[0]
    strange = []
    for fault in handshake.faults:
        if fault.number == _NOT_YET:
            yield _not_yet(url, fault.certificate)
        elif fault.number == _EXPIRED:
            yield _expired(url, fault, handshake, own)
        elif fault.number == _PURPOSE and fault.depth == 0:
            yield found(
                "tls.server_cert_no_server_auth",
                url,
                f"the extended key usage of the certificate of {title(leaf)} lacks serverAuth",
                f"have it issued again (etcd reads it anew by itself):\n{again_for_both(leaf)}",
            )
        else:
            strange.append(fault)
    if strange:
        yield _untrusted(url, leaf, own)
    if handshake.wrong_name:
        yield _wrong_name(url, leaf, own)


def _not_yet(url: str, certificate: x509.Certificate) -> Finding:
    begins = second(certificate.not_valid_before_utc)
    seen = f"the certificate of {title(certificate)} is valid from {begins} on"
    cure = "compare the clocks of both hosts (date -u); if both are right, wait, or have it issued again"
    return found("tls.server_cert_not_yet_valid", url, seen, cure)


def _expired(url: str, fault: Fault, handshake: Handshake, own: Own) -> Finding:
    certificate = fault.certificate
    seen = f"the certificate of {title(certificate)} expired at {second(certificate.not_valid_after_utc)}"
    if fault.depth == 0:
        cure = (
            "renew it and put it where etcd's --cert-file and --key-file lie; etcd reads them anew by itself"
        )
        return found("tls.server_cert_expired", url, seen, cure)
    cure = "have the CA's certificate renewed, and put the new one "
    if certificate in handshake.chain and certificate not in own.authorities:
        cure += "into the file that etcd's --cert-file names, after etcd's own; etcd reads it anew by itself"
    elif own.tls.ca_file:
        cure += f"into {own.tls.ca_file} and into etcd's files"
    else:
        cure += "where this machine keeps the authorities that it trusts, and into etcd's files"
    return found("tls.ca_expired", url, seen, cure)


def _untrusted(url: str, leaf: x509.Certificate, own: Own) -> Finding:
    signer = issuer_name(leaf)
    by_itself = signer == subject_name(leaf)
    seen = f"the certificate of {title(leaf)} is issued by {'itself' if by_itself else issuer(leaf)}; "
    held = [subject_name(each) for each in own.authorities]
    which = "that certificate" if by_itself else "the certificate of the CA that issued it"
    if own.tls.ca_file:
        seen += f"{own.tls.ca_file} holds {some(held)}"
        cure = f"put {which} into {own.tls.ca_file}"
    else:
        seen += "etcd.tls.ca_file is not set, so the authorities count that this machine trusts"
        cure = f"set etcd.tls.ca_file to a file with {which}"
    if signer in held:
        seen += ", which has the same name but another key"
    elif not by_itself:
        cure += "; or, if that CA is one between, add its certificate to etcd's --cert-file"
    show = certificates_shown(url, own.tls.server_name or "")
    return found("tls.server_cert_untrusted", url, seen, f"{cure}. What etcd shows is told by\n  {show}")


def _wrong_name(url: str, leaf: x509.Certificate, own: Own) -> Finding:
    wanted = own.tls.server_name or urlsplit(url).hostname or ""
    names = alternatives(leaf)
    cure = f"have it issued again with subjectAltName={'IP' if is_address(wanted) else 'DNS'}:{wanted}"
    hosts = [name.partition(":")[2] for name in names]
    if single := next((host for host in hosts if "*" not in host), None):
        cure += f"; or use one of its names, or set etcd.tls.server_name: {single}"
    elif hosts:
        cure += f"; or use a name that {hosts[0]} stands for, or set etcd.tls.server_name to one"
    seen = f"{wanted} is expected, and the certificate is for {','.join(names) or 'no name at all'}"
    return found("tls.server_cert_wrong_name", url, seen, cure)
