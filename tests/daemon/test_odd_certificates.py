"""Certificates that are damaged, or odd: the daemon lives with them, or says what it cannot use."""

from __future__ import annotations

from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtensionOID
from structlog.testing import capture_logs

from syncd.config import pem
from syncd.daemon.certificates import _decoded
from tests.certificates import HOUR, Authority, Issued, _builder
from tests.config.test_damaged import UNREADABLE, VERSION, damaged, pem_file
from tests.daemon import hasty
from tests.daemon.process import Daemon
from tests.secure import secure

ODD_NAMES = bytes.fromhex("300e 8704 7f000001 a506 a1040c024142")
"""A subjectAltName (RFC 5280, 4.2.1.6): 127.0.0.1, and an ediPartyName, which `cryptography` knows not."""


def trusting(endpoint: str, ca_file: Path) -> Daemon:
    """A daemon without a certificate of its own."""
    daemon = Daemon(endpoint, module=hasty.MODULE)
    daemon.settings["etcd"]["tls"] = {"ca_file": str(ca_file)}
    daemon.write()
    return daemon


def test_a_damaged_authority(authority: Authority, tmp_path: Path) -> None:
    """While it runs, the old one stays in use; a start is refused, with the line of the configuration."""
    ca_file = tmp_path / "ca.pem"
    good = authority.file.read_bytes()
    ca_file.write_bytes(good)
    with secure(None, authority.issue("server")) as etcd, trusting(etcd.endpoint, ca_file) as daemon:
        daemon.wait_for("live")
        for count, bad in enumerate((UNREADABLE, damaged(VERSION, 49)), 1):
            ca_file.write_bytes(good + pem_file(bad))
            line = daemon.wait_for_log("file unusable", count)[-1]
            assert line["code"] == "file.not_pem"
            assert f"holds a certificate (line {1 + good.count(10)}) that" in line["error"]
        daemon.wait_for_revision(etcd.put("/a", "1")).wait_for("live")
        daemon.assert_no_traceback()
        daemon.stop()
        daemon.launch()
        assert daemon.wait() == 2
        assert f"config.yaml:1: etcd.tls.ca_file: {ca_file} holds a certificate" in daemon.log_text()


def test_etcd_shows_an_odd_certificate(authority: Authority, tmp_path: Path) -> None:
    """One that etcd and OpenSSL take, with a kind of name that is not known here, and no CommonName."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.ORGANIZATION_NAME, "tests")])
    builder = _builder(subject, authority._name, key.public_key(), -HOUR, HOUR)
    odd = x509.UnrecognizedExtension(ExtensionOID.SUBJECT_ALTERNATIVE_NAME, ODD_NAMES)
    certificate = builder.add_extension(odd, critical=False).sign(authority._key, hashes.SHA256())
    shown = Issued(tmp_path / "odd.pem", tmp_path / "odd.key")
    shown.certificate.write_bytes(certificate.public_bytes(Encoding.PEM))
    shown.key.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    assert pem.extension(pem.read_certificates(shown.certificate)[0], x509.SubjectAlternativeName) is None
    with secure(None, shown) as etcd, trusting(etcd.endpoint, authority.file) as daemon:
        daemon.wait_for("live")
        daemon.wait_for_log("certificate expires", 2)  # the authority's, and this one
        known = {each["role"]: each["subject"] for each in daemon.status()["etcd"]["certificates"]}
        assert known["server"] == f"serial number {certificate.serial_number:X}"
        assert daemon.ask("/metrics").status == 200
        daemon.assert_no_traceback()


def test_what_cannot_be_read_of_what_etcd_shows() -> None:
    """Its end is not known then, which is said once."""
    der = damaged(VERSION, 49)
    with capture_logs() as lines:
        for _ in range(2):
            assert _decoded("https://etcd.example", der) is None
    [line] = lines
    assert "cannot be read" in line["event"]
