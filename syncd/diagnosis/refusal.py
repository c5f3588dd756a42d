"""Which certificate etcd refuses, and why: syncd's, or the one that its own gateway shows it. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime

from cryptography import x509

from syncd.config import TLS
from syncd.config.files import in_shell
from syncd.config.pem import title
from syncd.diagnosis.catalogue import found
from syncd.diagnosis.commands import issued_again
from syncd.diagnosis.explain import SET_CERTIFICATE
from syncd.diagnosis.names import alternatives, is_for_clients, issuer, issuer_name, second, some, usages
from syncd.diagnosis.sight import Handshake
from syncd.findings import Finding

OWN_FOR_THE_GATEWAY = "  etcd … --client-cert-file=CLIENT.pem --client-key-file=CLIENT.key"
"""The flags are there since 3.5.0."""


def refusals(
    url: str, handshake: Handshake, tls: TLS, chain: Sequence[x509.Certificate], now: datetime
) -> Iterator[Finding]:
    """Why etcd does not take our certificate, the first one of `chain`, if it does not: all that is sure."""
    if handshake.answer or not (handshake.alert or handshake.authorities):
        return
    wanted = f"; etcd wants one from {some(handshake.authorities)}" if handshake.authorities else ""
    said = f"etcd ends the connection: {handshake.alert or handshake.failed}"
    if not chain:
        yield found("tls.client_cert_missing", url, said + wanted, SET_CERTIFICATE)
        return
    certificate, file = chain[0], in_shell(tls.cert_file) if tls.cert_file else "FILE"
    key = in_shell(tls.key_file) if tls.key_file else "FILE"
    who = f"the certificate of {title(certificate)} in {file}"
    sure = [
        *_out_of_time(url, certificate, who, now),
        *_not_for_clients(url, certificate, who, key),
        *_of_a_stranger(url, handshake, chain, f"{who} is issued by {issuer(certificate)}{wanted}", file),
    ]
    yield from sure
    if not sure:
        yield found(
            "tls.client_cert_refused",
            url,
            f"{said}; {who} is issued by {issuer(certificate)}{wanted}",
            "etcd's log says why (rejected connection). It may demand a certain name "
            "(--client-cert-allowed-hostname), or have revoked it (--client-crl-file). Look at it:\n"
            f"  openssl x509 -in {file} -noout -subject -issuer -dates -ext subjectAltName,extendedKeyUsage",
        )


def behind_the_gateway(url: str, handshake: Handshake, said: str) -> Finding | None:
    """Why etcd's gateway may be unable to reach etcd itself, which it then `said`.

    None where etcd asks no client for a certificate.

    The gateway is a client of etcd, and shows etcd's own certificate (unless --client-cert-file is set). Why
    that is refused, etcd says from 3.5.16 on; of what it does not say, what it shows us is proof.
    """
    if "expired certificate" in said:
        return found(
            "tls.gateway_cert_expired",
            url,
            f"etcd's gateway says: {said}",
            "renew the certificate that etcd's --client-cert-file names (the gateway reads it anew). "
            "Where that is valid, or etcd has no such flag, look at the clock of etcd's host (date -u), and "
            "at the CA in --trusted-ca-file:\n"
            "  openssl x509 -in CLIENT.pem -noout -subject -dates",
        )
    if not (handshake.chain and handshake.authorities):
        return None
    leaf = handshake.chain[0]
    stranger = not _from(handshake.chain, handshake.authorities)
    if "unknown certificate authority" not in said and not is_for_clients(leaf):
        return found(
            "tls.server_cert_no_client_auth",
            url,
            f"the extended key usage of etcd's certificate ({title(leaf)}) is {usages(leaf)}, without "
            f"clientAuth; etcd asks for client certificates; and its gateway says: {said}",
            "one of two:\n"
            "1. have etcd's certificate issued again for both usages (etcd reads it anew by itself):\n"
            f"{again_for_both(leaf)}\n"
            "2. with etcd 3.5.0 or later, give the gateway a certificate of its own, which is for clients; "
            "where it has one, see whether that is still valid:\n"
            f"{OWN_FOR_THE_GATEWAY}",
        )
    if stranger or "unknown certificate authority" in said:
        return found(
            "tls.server_cert_untrusted_by_etcd",
            url,
            f"etcd's certificate is issued by {issuer(leaf)}; etcd asks for client certificates from "
            f"{some(handshake.authorities)}; and its gateway says: {said}",
            "one of two:\n"
            "1. add the CA of the certificate that etcd's --client-cert-file names, or else the CA "
            f"{issuer(leaf)}, to the file that etcd's --trusted-ca-file names, and restart etcd\n"
            "2. with etcd 3.5.0 or later, give the gateway a certificate from a CA that etcd trusts:\n"
            f"{OWN_FOR_THE_GATEWAY}",
        )
    return found(
        "gateway.unavailable",
        url,
        said,
        "etcd's own log tells why. Where it says `rejected connection`, it refuses its gateway's "
        "certificate: look at the one that --client-cert-file names, or else at etcd's own:\n"
        "  openssl x509 -in CLIENT.pem -noout -subject -issuer -dates -ext extendedKeyUsage",
    )


def again_for_both(leaf: x509.Certificate) -> str:
    """The lines that make etcd's certificate anew, for its names, as a server's and a client's."""
    return issued_again("SERVER.key", "etcd", "serverAuth,clientAuth", ",".join(alternatives(leaf)))


def _out_of_time(url: str, certificate: x509.Certificate, who: str, now: datetime) -> Iterator[Finding]:
    if now >= certificate.not_valid_after_utc:
        seen = f"{who} expired at {second(certificate.not_valid_after_utc)}"
        yield found("tls.client_cert_expired", url, seen, f"renew it; {_ANEW}")
    elif now < certificate.not_valid_before_utc:
        seen = f"{who} is valid from {second(certificate.not_valid_before_utc)} on"
        yield found("tls.client_cert_not_yet_valid", url, seen, "compare the clocks of both hosts: date -u")


def _not_for_clients(url: str, certificate: x509.Certificate, who: str, key: str) -> Iterator[Finding]:
    if not is_for_clients(certificate):
        yield found(
            "tls.client_cert_no_client_auth",
            url,
            f"{who} has an extended key usage without clientAuth",
            f"have it issued again with clientAuth; {_ANEW}. Its request is made by\n"
            f"{issued_again(key, 'syncd', 'clientAuth', ','.join(alternatives(certificate)))}",
        )


def _of_a_stranger(
    url: str, handshake: Handshake, chain: Sequence[x509.Certificate], seen: str, file: str
) -> Iterator[Finding]:
    if handshake.alert == "unknown ca" or (handshake.authorities and not _from(chain, handshake.authorities)):
        yield found(
            "tls.client_cert_untrusted",
            url,
            seen,
            f"have one issued by a CA that etcd trusts ({_ANEW}); or add the CA {issuer(chain[0])} to the "
            "file that etcd's --trusted-ca-file names, and restart etcd; or, if that CA is one between, and "
            "etcd trusts the CA above it, append its certificate to ours:\n"
            f"  cat BETWEEN.pem >> {file}",
        )


_ANEW = "syncd reads its own files anew by itself when they change"


def _from(chain: Sequence[x509.Certificate], authorities: Sequence[x509.Name]) -> bool:
    return any(issuer_name(certificate) in authorities for certificate in chain)
