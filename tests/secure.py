"""Etcd servers with TLS."""

from __future__ import annotations

import ssl

from tests.certificates import Authority, Issued
from tests.etcd import Etcd


def secure(version: str | None, shown: Issued, *flags: str, own: Issued | None = None) -> Etcd:
    """An etcd that shows the certificate `shown`.

    The tests' own calls trust whatever it shows, and show `own`, or the same one.
    """
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    own = own or shown
    context.load_cert_chain(own.certificate, own.key)
    files = (f"--cert-file={shown.certificate}", f"--key-file={shown.key}")
    return Etcd(version, [*files, *flags], tls=context)


def demanding(authority: Authority) -> tuple[str, str]:
    """The flags with which etcd demands a client's certificate from this authority."""
    return "--client-cert-auth", f"--trusted-ca-file={authority.file}"
