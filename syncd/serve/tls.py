"""TLS on the second listener: what it shows, and whose certificates it demands.

Import this only where it is configured: `cryptography` costs 8 MB and 60 ms.
"""

from __future__ import annotations

import ssl
from pathlib import Path

from syncd.config.openssl import show, trust
from syncd.config.pem import check_pair, read_certificates


def demanding(certificate: Path, key: Path, client_ca: Path) -> ssl.SSLContext:
    """A server's context that lets in only whom `client_ca` has signed; Unusable when a file is no good."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.verify_mode = ssl.CERT_REQUIRED
    # From what was checked, not from the file again, which may be another one by now.
    trust(context, read_certificates(client_ca))
    check_pair(certificate, key)
    show(context, certificate, key)
    return context
