"""The certificates on the way to etcd: those in use here, and those that its endpoints showed.

Import this only where there is TLS: it needs `cryptography`, which costs 8 MB.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

import structlog
from cryptography import x509

from syncd.config import TLS
from syncd.diagnosis.certificates import in_files, shown_by
from syncd.diagnosis.ends import Certificate
from syncd.gateway import Gateway

SHOWN_KEPT = 100
"""Certificates of endpoints that are kept decoded."""

log = structlog.get_logger("syncd")


def on_the_way(tls: TLS, gateway: Gateway) -> Iterator[Certificate]:
    """All that are known now; of an endpoint, the one that it showed last."""
    if used := gateway.certificates:
        yield from in_files(tls, used.authorities, used.own)
    for url, der in gateway.shown.items():
        if shown := _decoded(url, der):
            yield shown_by(url, shown)


@lru_cache(SHOWN_KEPT)
def _decoded(url: str, der: bytes) -> x509.Certificate | None:
    try:
        return x509.load_der_x509_certificate(der)
    except (ValueError, x509.InvalidVersion) as error:  # stricter than OpenSSL, which took it
        log.warning(
            "etcd's certificate cannot be read, so its end is not known", endpoint=url, error=str(error)
        )
        return None
