"""From certificates to what matters of them here: who they are, where they come from, when they end. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256

from syncd.config import TLS
from syncd.config.pem import title
from syncd.diagnosis.ends import Certificate
from syncd.status import CertificateRole

BUNDLE = 20
"""A file of more authorities holds not the operator's CA, but all public ones: nobody minds their ends."""


def in_files(
    tls: TLS, authorities: Sequence[x509.Certificate], own: Sequence[x509.Certificate]
) -> Iterator[Certificate]:
    """Those that were read from `ca_file` and `cert_file`."""
    if len(authorities) <= BUNDLE:
        yield from (_in_file("ca", tls.ca_file, each) for each in authorities)
    yield from (_in_file("client", tls.cert_file, each) for each in own)


def shown_by(url: str, certificate: x509.Certificate) -> Certificate:
    """The one that the endpoint at `url` showed."""
    return _certificate("server", url, certificate)


def _in_file(role: CertificateRole, file: Path | None, certificate: x509.Certificate) -> Certificate:
    return _certificate(role, str(file), certificate)


def _certificate(role: CertificateRole, source: str, certificate: x509.Certificate) -> Certificate:
    fingerprint = certificate.fingerprint(SHA256())
    return Certificate(role, source, title(certificate), certificate.not_valid_after_utc, fingerprint)
