"""How certificates are told to people: whom they are for, whom they are from, for what and until when. Pure.

Whoever made a certificate chose the names in it; so they are told on one line.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from ipaddress import ip_address

from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from syncd.config.pem import extension

_USAGES = {
    ExtendedKeyUsageOID.SERVER_AUTH: "serverAuth",
    ExtendedKeyUsageOID.CLIENT_AUTH: "clientAuth",
    ExtendedKeyUsageOID.CODE_SIGNING: "codeSigning",
}
_FOR_CLIENTS = {ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE}

_NO_NAME = x509.Name([])


def is_for_clients(certificate: x509.Certificate) -> bool:
    """Whether a client may show it: without a list of usages, it may be used for anything."""
    usages = _usages(certificate)
    return not usages or bool(_FOR_CLIENTS & usages)


def usages(certificate: x509.Certificate) -> str:
    """For what it may be used, such as `serverAuth`."""
    return ", ".join(sorted(_USAGES.get(usage, usage.dotted_string) for usage in _usages(certificate)))


def alternatives(certificate: x509.Certificate) -> list[str]:
    """The names that it is for, as openssl writes them: `DNS:etcd-1`, `IP:10.0.0.1`."""
    names = extension(certificate, x509.SubjectAlternativeName)
    if names is None:
        return []
    dns = [f"DNS:{_line(name)}" for name in names.get_values_for_type(x509.DNSName)]
    return [*dns, *(f"IP:{address}" for address in names.get_values_for_type(x509.IPAddress))]


def subject_name(certificate: x509.Certificate) -> x509.Name:
    """Whose it is; an empty name where that is not encoded as names are."""
    try:
        return certificate.subject
    except ValueError:
        return _NO_NAME


def issuer_name(certificate: x509.Certificate) -> x509.Name:
    """Who signed it; an empty name where that is not encoded as names are."""
    try:
        return certificate.issuer
    except ValueError:
        return _NO_NAME


def issuer(certificate: x509.Certificate) -> str:
    """Who signed it, for people."""
    return _name(issuer_name(certificate))


def some(names: Sequence[x509.Name]) -> str:
    """The first few of them."""
    told = ", ".join(_name(name) for name in names[:3])
    return told + (f" and {len(names) - 3} others" if len(names) > 3 else "")


def day(moment: datetime) -> str:
    """In UTC."""
    return f"{moment:%Y-%m-%d}"


def second(moment: datetime) -> str:
    """In UTC."""
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC"


def is_address(name: str) -> bool:
    """Whether `name` is an IP address."""
    try:
        ip_address(name)
    except ValueError:
        return False
    return True


def _usages(certificate: x509.Certificate) -> set[x509.ObjectIdentifier]:
    return set(extension(certificate, x509.ExtendedKeyUsage) or ())


def _name(name: x509.Name) -> str:
    return _line(name.rfc4514_string()) or "a CA without a name"


def _line(text: str) -> str:
    return "".join(character if character.isprintable() else "?" for character in text)
