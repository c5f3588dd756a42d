"""The certificates of a cluster with TLS: who has which, in which files, and from whom.

At each handshake etcd reads its certificate and key, and what is revoked; at its start, whom it trusts.
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from tests.certificates import Authority

CA, CERTIFICATE, KEY = NAMES = ("ca.pem", "cert.pem", "key.pem")

SINCE, UNTIL = timedelta(days=-2), timedelta(days=90)
"""When certificates are valid: whatever the clock of a daemon is shifted to, and without its warnings."""

PRIVATE = 0o600


class Files:
    """What one party is configured with: a CA, a certificate and a key.

    They are links into a directory which is itself one, `..data`, as in a volume of Kubernetes: so that all
    three can be replaced at once.
    """

    def __init__(self, directory: Path, contents: Mapping[str, bytes]) -> None:
        self._data = directory / "..data"
        self._swaps = 0
        directory.mkdir()
        self.ca, self.certificate, self.key = (directory / name for name in NAMES)
        self.swap(contents)
        for file in (self.ca, self.certificate, self.key):
            file.symlink_to(self._data / file.name)

    def contents(self) -> dict[str, bytes]:
        """What the files hold, by name."""
        return {name: (self._data / name).read_bytes() for name in NAMES}

    def swap(self, contents: Mapping[str, bytes]) -> None:
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

    def renewed(self) -> dict[str, bytes]:
        """A new certificate with its key, for anybody, and all authorities; contents for `Files`.

        It has no CommonName, which the gateway refuses, and ends at another second than those before.
        """
        self._issued += 1
        issued = self._authorities[-1].issue(
            f"{self._issued}", since=SINCE, until=UNTIL + timedelta(seconds=self._issued)
        )
        return {CA: self.bundle, CERTIFICATE: issued.certificate.read_bytes(), KEY: issued.key.read_bytes()}

    def add_authority(self) -> None:
        """Have another authority sign from now on; the tests' own calls trust it beside the others."""
        number = self._issued + 1
        directory = self._directory / f"authority{number}"
        directory.mkdir()
        authority = Authority(directory, since=SINCE, until=UNTIL + timedelta(days=1, seconds=number))
        self._authorities.append(authority)
        self.context.load_verify_locations(authority.file)

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
