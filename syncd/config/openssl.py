"""What OpenSSL makes of certificates and keys: it secures the connections, so it has the last word.

It refuses some that `cryptography` takes, which reads most of a certificate only when it is asked for it.
"""

from __future__ import annotations

import ssl
from collections.abc import Sequence
from pathlib import Path

from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import Certificate

from syncd.config.errors import shown
from syncd.config.files import Unusable, in_shell, unreadable


def trust(context: ssl.SSLContext, authorities: Sequence[Certificate]) -> int | None:
    """Have the context trust them; None, or the index of the first one that OpenSSL cannot read."""
    # One by one: of several at once, it passes over in silence what comes after some kinds of damage; and
    # they would hold up all other threads together.
    for index, certificate in enumerate(authorities):
        encoded = certificate.public_bytes(Encoding.DER)
        if not (_trusts(context, encoded) or _trusts(context, encoded)):
            return index
    return None


def show(context: ssl.SSLContext, certificate: Path, key: Path) -> None:
    """Have the context show the certificate, which `key` belongs to; Unusable when OpenSSL refuses them."""
    expected = f"a certificate that can be used together with {shown(key)}"
    try:
        context.load_cert_chain(certificate, key, password=_no_passphrase)
    except (ssl.SSLError, ValueError) as error:
        # Weaker than OpenSSL allows, damaged where nobody else looked, or replaced a moment ago.
        raise Unusable(
            "file.wrong_kind",
            certificate,
            f"is refused by OpenSSL: {error}",
            expected=expected,
            cure=f"see how it was made: openssl x509 -noout -text -in {in_shell(certificate)}",
        ) from error
    except OSError as error:
        raise unreadable(certificate, error, expected) from error


def _trusts(context: ssl.SSLContext, encoded: bytes) -> bool:
    """Whether OpenSSL reads it. A failure may be another's, so it takes two of them to be believed.

    Python takes for its own what an earlier connection of this thread left in OpenSSL's queue of errors (such
    as the alert with which etcd refused it). Telling of that clears the queue.
    """
    try:
        context.load_verify_locations(cadata=encoded)
    except ssl.SSLError:
        return False
    return True


def _no_passphrase() -> str:
    """Without this, OpenSSL would ask for one on the terminal."""
    raise ValueError("the key is encrypted")
