"""When certificates end, as findings. Pure."""

from __future__ import annotations

import shlex
from datetime import datetime
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

import msgspec

from syncd.config.files import in_shell
from syncd.diagnosis.catalogue import found
from syncd.findings import Finding
from syncd.status import CertificateRole

DAY = 86400.0

SOON = 30 * DAY
"""A certificate that has less than that left is worth a finding."""


class Certificate(NamedTuple):
    """What matters here of a certificate (see `CertificateStatus`); `not_after` is in UTC."""

    role: CertificateRole
    source: str
    subject: str
    not_after: datetime
    fingerprint: bytes


_EXPIRES = {
    "ca": "tls.ca_expires",
    "client": "tls.client_cert_expires",
    "server": "tls.server_cert_expires",
}
_EXPIRED = {
    "ca": "tls.ca_expired",
    "client": "tls.client_cert_expired",
    "server": "tls.server_cert_expired",
}


def end_finding(certificate: Certificate, left: float) -> Finding:
    """What to say of a certificate that has `left` seconds, less than none once it has ended.

    No more than a warning: whether it is in the way, connections tell.
    """
    end = f"in {span(left)}" if left >= 0 else f"{span(-left)} ago"
    verb = "expires" if left >= 0 else "expired"
    finding = found(
        (_EXPIRES if left >= 0 else _EXPIRED)[certificate.role],
        certificate.source,
        f"the certificate of {certificate.subject} {verb} {end}, at {moment(certificate)}",
        _cure(certificate),
    )
    return msgspec.structs.replace(finding, level="warning")


def _cure(certificate: Certificate) -> str:
    source = certificate.source
    match certificate.role:
        case "ca":
            return (
                "add the CA's next certificate to the file (syncd takes it over by itself), then have etcd's "
                "certificates issued by that CA, then take the old one out; what the file holds:\n"
                f"  openssl storeutl -noout -text -certs {in_shell(Path(source))}"
            )
        case "client":
            return (
                "have the next one issued by a CA in etcd's --trusted-ca-file, and put it and its key into "
                "the files of etcd.tls.cert_file and key_file (syncd takes them over by itself); what is "
                "there:\n"
                f"  openssl x509 -noout -subject -enddate -in {in_shell(Path(source))}"
            )
        case "server":
            parts = urlsplit(source)
            member = parts.netloc if parts.port else f"{parts.netloc}:443"
            return (
                "have the next one issued, and put it and its key into the files of that etcd's --cert-file "
                "and --key-file (etcd reads them at each handshake); what it shows:\n"
                f"  openssl s_client -connect {shlex.quote(member)} </dev/null | openssl x509 -noout -enddate"
            )


def moment(certificate: Certificate) -> str:
    """When it ends, as RFC 3339 writes it."""
    return certificate.not_after.isoformat().replace("+00:00", "Z")


def span(seconds: float) -> str:
    """A time span, in the largest unit of which there are two."""
    for name, length in (("days", DAY), ("hours", 3600.0), ("minutes", 60.0)):
        if seconds >= 2 * length:
            return f"{int(seconds // length)} {name}"
    return f"{int(seconds)} seconds"
