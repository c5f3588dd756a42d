"""Throw-away certificates, good ones and bad ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

SERVER, CLIENT = ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH

HOUR = timedelta(hours=1)


@dataclass
class Issued:
    """The files of a certificate and its key."""

    certificate: Path
    key: Path


class Authority:
    """A certificate authority that writes into `directory`; `file` is its own certificate.

    Certificates count from `since` to `until`, measured from now: an hour each way unless told otherwise.
    """

    def __init__(
        self, directory: Path, name: str = "authority", *, since: timedelta = -HOUR, until: timedelta = HOUR
    ) -> None:
        self._directory = directory
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        own = (
            _builder(self._name, self._name, self._key.public_key(), since, until)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .sign(self._key, hashes.SHA256())
        )
        self.file = directory / f"{name}.pem"
        self.file.write_bytes(own.public_bytes(serialization.Encoding.PEM))

    def issue(
        self,
        file: str,
        *,
        names: Sequence[str] = ("127.0.0.1",),
        usages: Sequence[x509.ObjectIdentifier] = (SERVER, CLIENT),
        common_name: str = "",
        passphrase: bytes | None = None,
        since: timedelta = -HOUR,
        until: timedelta = HOUR,
        by_itself: bool = False,
    ) -> Issued:
        """Sign a certificate for `names` (addresses or host names); no `usages` leave it without a list.

        `by_itself`: it is self-signed.
        """
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name(
            [x509.NameAttribute(NameOID.COMMON_NAME, common_name)]
            if common_name
            else [x509.NameAttribute(NameOID.ORGANIZATION_NAME, "tests")]
        )
        issuer = subject if by_itself else self._name
        builder = _builder(subject, issuer, key.public_key(), since, until).add_extension(
            x509.SubjectAlternativeName([_name(name) for name in names]), critical=False
        )
        if usages:
            builder = builder.add_extension(x509.ExtendedKeyUsage(list(usages)), critical=False)
        certificate = builder.sign(key if by_itself else self._key, hashes.SHA256())
        issued = Issued(self._directory / f"{file}.pem", self._directory / f"{file}.key")
        issued.certificate.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        issued.key.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.BestAvailableEncryption(passphrase)
                if passphrase
                else serialization.NoEncryption(),
            )
        )
        issued.key.chmod(0o600)
        return issued


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, since: timedelta, until: timedelta
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder(issuer, subject, key, x509.random_serial_number())
        .not_valid_before(now + since)
        .not_valid_after(now + until)
    )


def _name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(name))
    except ValueError:
        return x509.DNSName(name)
