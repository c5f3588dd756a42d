"""The certificates of a cluster with TLS: who has which, in which files, and from whom.

At each handshake etcd reads its certificate and key, and what is revoked; at its start, whom it trusts.
"""

from __future__ import annotations

import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from tests.certificates import Authority

CA, CERTIFICATE, KEY = NAMES = ("ca.pem", "cert.pem", "key.pem")
Contents = dict[str, bytes]
"""Of these files, by name."""

SINCE, UNTIL = timedelta(days=-2), timedelta(days=90)
"""When certificates are valid: whatever the clock of a daemon is shifted to, and without its warnings."""

PRIVATE = 0o600


class Files:
    """What one party is configured with: a CA, a certificate and a key.

    They are links into a directory which is itself one, `..data`, as in a volume of Kubernetes: so that all
    three can be replaced at once.
    """

    def __init__(self, directory: Path, contents: Contents) -> None:
        self._data = directory / "..data"
        self._swaps = 0
        directory.mkdir()
        self.ca, self.certificate, self.key = (directory / name for name in NAMES)
        self.swap(contents)
        for file in (self.ca, self.certificate, self.key):
            file.symlink_to(self._data / file.name)

    def contents(self) -> Contents:
        """What they hold."""
        return {name: (self._data / name).read_bytes() for name in NAMES}

    def write(self, name: str, data: bytes) -> None:
        """Overwrite one file, as `cp` does."""
        (self._data / name).write_bytes(data)

    def swap(self, contents: Contents) -> None:
        """Replace all files in one instant."""
        self._swaps += 1
        directory = self._data.with_name(f"..{self._swaps}")
        directory.mkdir()
        for name in NAMES:
            file = directory / name
            file.touch(PRIVATE)
            file.write_bytes(contents[name])
        link = self._data.with_name("..data_tmp")
        link.symlink_to(directory.name)
        link.replace(self._data)


class Keyring:
    """Authorities, one after the other, and what they have signed; all of it below `directory`.

    `etcd` and `daemon` are the files of those; `own` are those of the tests' calls, which use `context`.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory / "keyring"
        self._directory.mkdir()
        self._issued = 0
        self._revoked: list[int] = []
        self._authorities: list[Authority] = []
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self.add_authority()
        self.etcd, self.daemon, self.own = (
            Files(self._directory / name, self.renewed()) for name in ("etcd", "daemon", "own")
        )
        self._revocations = self._directory / "revoked.pem"
        self._write_revocations()
        self.context.load_cert_chain(self.own.certificate, self.own.key)

    @property
    def flags(self) -> tuple[str, ...]:
        """With which etcd demands a client's certificate."""
        return (
            f"--cert-file={self.etcd.certificate}",
            f"--key-file={self.etcd.key}",
            f"--trusted-ca-file={self.etcd.ca}",
            f"--client-crl-file={self._revocations}",
            "--client-cert-auth",
        )

    @property
    def environment(self) -> dict[str, str]:
        """For etcdctl."""
        own = self.own
        return {
            "ETCDCTL_CACERT": str(own.ca),
            "ETCDCTL_CERT": str(own.certificate),
            "ETCDCTL_KEY": str(own.key),
        }

    @property
    def settings(self) -> dict[str, str]:
        """What stands under `etcd.tls` in syncd's configuration."""
        files = self.daemon
        return {"ca_file": str(files.ca), "cert_file": str(files.certificate), "key_file": str(files.key)}

    def renewed(self) -> Contents:
        """A new certificate with its key, for anybody, and all authorities; contents for `Files`.

        It has no CommonName, which the gateway refuses.
        """
        return self._issue(self._authorities[-1])

    def stranger(self) -> Contents:
        """The same, but signed by an authority that nobody trusts."""
        return self._issue(self._authority())

    def add_authority(self) -> None:
        """Have another authority sign from now on; the tests' own calls trust it beside the others."""
        self._authorities.append(self._authority())
        self.context.load_verify_locations(self._authorities[-1].file)

    def drop_authorities(self) -> None:
        """Forget all authorities but the newest."""
        del self._authorities[:-1]

    @property
    def bundle(self) -> bytes:
        """The certificates of all authorities."""
        return b"".join(authority.file.read_bytes() for authority in self._authorities)

    def renew_own(self) -> None:
        """Have the tests' own calls show another certificate, on connections that are yet to come."""
        self.own.swap(self.renewed())
        self.context.load_cert_chain(self.own.certificate, self.own.key)

    def revoke(self, certificate: bytes) -> None:
        """Have etcd refuse a certificate, on connections that are yet to come."""
        self._revoked.append(x509.load_pem_x509_certificate(certificate).serial_number)
        self._write_revocations()

    def _authority(self) -> Authority:
        number, until = self._number()
        directory = self._directory / number
        directory.mkdir()
        return Authority(directory, f"authority{number}", since=SINCE, until=until + timedelta(days=1))

    def _issue(self, authority: Authority) -> Contents:
        number, until = self._number()
        issued = authority.issue(number, since=SINCE, until=until)
        return {CA: self.bundle, CERTIFICATE: issued.certificate.read_bytes(), KEY: issued.key.read_bytes()}

    def _number(self) -> tuple[str, timedelta]:
        """That of the next certificate, and when it ends: at another second than all before."""
        self._issued += 1
        return str(self._issued), UNTIL + timedelta(seconds=self._issued)

    def _write_revocations(self) -> None:
        now = datetime.now(UTC)
        # Anybody may have signed it: etcd doesn't look.
        revocations = x509.CertificateRevocationListBuilder(
            x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "tests")]), now + SINCE, now + UNTIL
        )
        for serial in self._revoked:
            revoked = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(now + SINCE)
            revocations = revocations.add_revoked_certificate(revoked.build())
        signed = revocations.sign(ec.generate_private_key(ec.SECP256R1()), SHA256())
        written = self._revocations.with_suffix(".tmp")
        written.write_bytes(signed.public_bytes(Encoding.PEM))
        written.replace(self._revocations)


End = tuple[str, datetime]
"""By its role, and the second when it ends, one knows a certificate in syncd's status."""


def ends(file: Path, role: str) -> set[End]:
    """Those of the certificates in `file`."""
    found = x509.load_pem_x509_certificates(file.read_bytes())
    return {(role, certificate.not_valid_after_utc) for certificate in found}


def known(status: dict[str, Any]) -> set[End]:
    """Those that the daemon knows."""
    certificates = status["etcd"]["certificates"]
    return {(each["role"], datetime.fromisoformat(each["not_after"])) for each in certificates}
