"""The certificates on the way to etcd: those in use here, and those that its endpoints showed.

Import this only where there is TLS: it needs `cryptography`, which costs 8 MB.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path

import structlog
from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256

from syncd.config import TLS
from syncd.config.pem import title
from syncd.daemon.expiry import Certificate
from syncd.gateway import Gateway
from syncd.status import CertificateRole

BUNDLE = 20
"""A file of more authorities holds not the operator's CA, but all public ones: nobody minds their ends."""

SHOWN_KEPT = 100
"""Certificates of endpoints that are kept decoded."""

log = structlog.get_logger("syncd")


def on_the_way(tls: TLS, gateway: Gateway) -> Iterator[Certificate]:
    """All that are known now; of an endpoint, the one that it showed last."""
    if used := gateway.certificates:
        if len(used.authorities) <= BUNDLE:
            yield from _of("ca", tls.ca_file, used.authorities)
        yield from _of("client", tls.cert_file, used.own)
    for url, der in gateway.shown.items():
        if shown := _decoded(url, der):
            yield _certificate("server", url, shown)


def _of(
    role: CertificateRole, file: Path | None, certificates: Iterable[x509.Certificate]
) -> Iterator[Certificate]:
    return (_certificate(role, str(file), each) for each in certificates)


def _certificate(role: CertificateRole, source: str, certificate: x509.Certificate) -> Certificate:
    fingerprint = certificate.fingerprint(SHA256())
    return Certificate(role, source, title(certificate), certificate.not_valid_after_utc, fingerprint)


@lru_cache(SHOWN_KEPT)
def _decoded(url: str, der: bytes) -> x509.Certificate | None:
    try:
        return x509.load_der_x509_certificate(der)
    except ValueError as error:  # stricter than OpenSSL, which took it
        log.warning(
            "etcd's certificate cannot be read, so its end is not known", endpoint=url, error=str(error)
        )
        return None
