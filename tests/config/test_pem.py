"""Certificates and keys: all that openssl writes, and whatever else a file may hold instead."""

from __future__ import annotations

import shutil
import ssl
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PrivateFormat

from syncd.config.files import Unusable
from syncd.config.pem import TITLE_CHARACTERS, check_pair, read_certificates, read_key, title
from syncd.diagnosis.catalogue import CATALOGUE
from tests.config.material import (
    BROKEN,
    BROKEN_KEY,
    CERTIFICATE,
    CERTIFICATE_DER,
    CERTIFICATE_PEM,
    CUT,
    EC,
    KEYS,
    NO_DER,
    PARAMETERS,
    PASSPHRASE,
    PKCS7_PEM,
    PKCS8,
    PKCS12,
    PUBLIC_PEM,
    REQUEST_PEM,
    RSA,
    TRADITIONAL,
    TRUSTED_PEM,
    X25519_PEM,
    certificate,
    encrypted,
    key_file,
)

CERTIFICATES = "a file with one or more certificates in PEM"
ONE_KEY = "a file with one private key in PEM, not encrypted"


def refused(read: Callable[[Path], object], path: Path) -> Unusable:
    """Return the error with which the file is refused, on whose line nothing is that the file holds."""
    with pytest.raises(Unusable) as caught:
        read(path)
    assert caught.value.path == path
    assert caught.value.code in CATALOGUE
    told = f"{caught.value}; {caught.value.cure}"
    assert told.isprintable()
    lines = path.read_bytes().decode("latin-1").splitlines()
    assert not any(line in told for line in lines if len(line) > 20 and not line.startswith("-----"))
    return caught.value


@pytest.mark.parametrize(
    ("data", "count"),
    [
        (CERTIFICATE_PEM, 1),
        (CERTIFICATE_PEM * 3, 3),
        (CERTIFICATE_PEM.rstrip(), 1),
        (CERTIFICATE_PEM.replace(b"\n", b"\r\n"), 1),
        (b"\xef\xbb\xbf" + CERTIFICATE_PEM, 1),
        (CERTIFICATE_PEM.replace(b" CERTIFICATE", b" X509 CERTIFICATE"), 1),
        (
            b"Certificate:\n    Data:\n        Version: 3\n"
            + CERTIFICATE_PEM
            + b"\n# next\n"
            + CERTIFICATE_PEM,
            2,
        ),
        (key_file(EC) + CERTIFICATE_PEM, 1),
        (encrypted(TRADITIONAL) + CERTIFICATE_PEM + REQUEST_PEM, 1),
    ],
)
def test_certificates(tmp_path: Path, data: bytes, count: int) -> None:
    """All that a file has are read, whatever stands around them; OpenSSL takes the file, too."""
    path = tmp_path / "cert.pem"
    path.write_bytes(data)
    assert read_certificates(path) == (CERTIFICATE,) * count
    assert ssl.create_default_context(cafile=path).cert_store_stats()["x509"] == 1


@pytest.mark.parametrize(
    ("data", "code", "found"),
    [
        (key_file(EC), "file.wrong_kind", "holds a private key"),
        (key_file(RSA, TRADITIONAL), "file.wrong_kind", "holds a private key"),
        (encrypted(), "file.wrong_kind", "holds an encrypted private key"),
        (encrypted(TRADITIONAL), "file.wrong_kind", "holds an encrypted private key"),
        (PARAMETERS + key_file(EC), "file.wrong_kind", "holds parameters of a key and a private key"),
        (REQUEST_PEM, "file.wrong_kind", "holds a request for a certificate"),
        (PUBLIC_PEM, "file.wrong_kind", "holds a public key"),
        (TRUSTED_PEM, "file.wrong_kind", "holds a certificate in OpenSSL's own format"),
        (PKCS7_PEM, "file.wrong_kind", "holds a PKCS #7 bundle"),
        (CERTIFICATE_PEM.replace(b"CERTIFICATE", b"NOVELTY"), "file.wrong_kind", 'holds a block "NOVELTY"'),
        (CERTIFICATE_DER, "file.not_pem", "holds a certificate, in DER"),
        (PKCS12, "file.not_pem", "holds a PKCS #12 bundle, in DER"),
        (key_file(EC, encoding=Encoding.DER), "file.not_pem", "holds a private key, in DER"),
        (b"0", "file.not_pem", 'has no line "-----BEGIN …-----"'),
        (b"ca_file: ca.pem\n", "file.not_pem", 'has no line "-----BEGIN …-----"'),
        (CERTIFICATE_PEM.replace(b"\n", b"\r"), "file.not_pem", 'has no line "-----BEGIN …-----"'),
        (b"x\n" + CUT, "file.not_pem", "holds a certificate (line 2) that is cut off"),
        (CUT + b"\n" + CERTIFICATE_PEM, "file.not_pem", "holds a certificate (line 1) that is cut off"),
        (BROKEN, "file.not_pem", "holds a certificate (line 1) that cannot be understood"),
        (
            b"\n" + CERTIFICATE_PEM + NO_DER,
            "file.not_pem",
            f"(line {2 + CERTIFICATE_PEM.count(10)}) that cannot",
        ),
        (b"", "file.empty", "is empty"),
    ],
)
def test_what_is_no_certificate(tmp_path: Path, data: bytes, code: str, found: str) -> None:
    """It is called by its name, and what is expected is said; OpenSSL takes only its own format."""
    path = tmp_path / "cert.pem"
    path.write_bytes(data)
    error = refused(read_certificates, path)
    assert error.code == code
    assert str(error).startswith(f"{path} ")
    assert found in str(error)
    assert str(error).endswith(f"; it should be {CERTIFICATES}")
    assert str(path) in error.cure
    if data != TRUSTED_PEM:
        with pytest.raises(ssl.SSLError):
            ssl.create_default_context(cafile=path)


@pytest.mark.parametrize(
    "around", [(b"", b""), (PARAMETERS, b""), (CERTIFICATE_PEM, b"\n"), (b"text\n", PKCS7_PEM)]
)
@pytest.mark.parametrize("kind", KEYS)
@pytest.mark.parametrize("form", [PKCS8, TRADITIONAL])
def test_keys(tmp_path: Path, kind: str, form: PrivateFormat, around: tuple[bytes, bytes]) -> None:
    """Every kind that signs for TLS, in every form; with its certificate it is a pair, for OpenSSL too."""
    key: Any = KEYS[kind]
    if form == TRADITIONAL and kind.startswith("Ed"):
        form = PKCS8  # they have no other
    cert, path = tmp_path / "cert.pem", tmp_path / "key.pem"
    cert.write_bytes(certificate(key).public_bytes(Encoding.PEM))
    path.write_bytes(around[0] + key_file(key, form) + around[1])
    assert read_key(path).public_key() == key.public_key()
    check_pair(cert, path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.set_ciphers("DEFAULT:@SECLEVEL=0")  # the RSA key is too small for practice
    context.load_cert_chain(cert, path)


@pytest.mark.parametrize(
    ("data", "code", "found"),
    [
        (encrypted(), "tls.key_encrypted", "holds an encrypted private key"),
        (encrypted(TRADITIONAL), "tls.key_encrypted", "holds an encrypted private key"),
        (
            CERTIFICATE_PEM + encrypted() + key_file(RSA),
            "tls.key_encrypted",
            "holds an encrypted private key",
        ),
        (CERTIFICATE_PEM, "file.wrong_kind", "holds a certificate"),
        (REQUEST_PEM, "file.wrong_kind", "holds a request for a certificate"),
        (PUBLIC_PEM, "file.wrong_kind", "holds a public key"),
        (
            X25519_PEM,
            "file.wrong_kind",
            "holds a private key of a kind that TLS cannot use (X25519PrivateKey)",
        ),
        (key_file(EC, encoding=Encoding.DER), "file.not_pem", "holds a private key, in DER"),
        (encrypted(encoding=Encoding.DER), "file.not_pem", "holds an encrypted private key, in DER"),
        (PKCS12, "file.not_pem", "holds a PKCS #12 bundle, in DER"),
        (CERTIFICATE_DER, "file.not_pem", "holds a certificate, in DER"),
        (key_file(EC)[:-30], "file.not_pem", "holds a private key (line 1) that is cut off"),
        (b"x\n" + BROKEN_KEY, "file.not_pem", "holds a private key (line 2) that cannot be understood"),
        (b"swordfish" * 9, "file.not_pem", 'has no line "-----BEGIN …-----"'),
        (b"", "file.empty", "is empty"),
    ],
)
def test_what_is_no_key(tmp_path: Path, data: bytes, code: str, found: str) -> None:
    """It is called by its name, and what is expected is said, and nothing that the file holds."""
    path = tmp_path / "key.pem"
    path.write_bytes(data)
    error = refused(read_key, path)
    assert error.code == code
    assert str(error) == f"{path} {found}; it should be {ONE_KEY}"
    assert str(path) in error.cure


@pytest.mark.parametrize(
    ("read", "data", "command"),
    [
        (read_certificates, CERTIFICATE_DER, "openssl x509 -inform der"),
        (read_certificates, TRUSTED_PEM, "openssl x509"),
        (read_certificates, PKCS7_PEM, "openssl pkcs7 -print_certs"),
        (read_certificates, PKCS12, "openssl pkcs12"),
        (read_key, PKCS12, "openssl pkcs12"),
        (read_key, key_file(EC, encoding=Encoding.DER), "openssl pkey -inform der"),
        (read_key, encrypted(encoding=Encoding.DER), "openssl pkey -inform der"),
        (read_key, encrypted(), "openssl pkey"),
        (read_key, encrypted(TRADITIONAL), "openssl pkey"),
    ],
)
def test_the_cure_is_a_command_that_mends(
    tmp_path: Path, read: Callable[[Path], Any], data: bytes, command: str
) -> None:
    """What the cure says makes a good file of the bad one, which stays as it was."""
    if shutil.which("openssl") is None:
        pytest.skip("NOT TESTED that the cures help: this machine has no openssl command")
    path = tmp_path / "bad file"
    path.write_bytes(data)
    cure = refused(read, path).cure
    assert cure.partition(": ")[2].startswith(f"{command} -in '{path}'")
    subprocess.run(
        ["bash", "-c", cure.partition(": ")[2]],
        input=PASSPHRASE + b"\n",
        start_new_session=True,  # without a terminal, openssl takes the passphrase from its input
        capture_output=True,
        check=True,
    )
    made = read(tmp_path / "bad file.new")
    assert made == (CERTIFICATE,) if read is read_certificates else made.public_key() == EC.public_key()
    assert path.read_bytes() == data


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path]:
    """Make a good certificate with its key."""
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    cert.write_bytes(CERTIFICATE_PEM)
    key.write_bytes(key_file(EC))
    return cert, key


def test_a_key_of_another_certificate(pair: tuple[Path, Path]) -> None:
    """The key's file is named, and the commands that show the difference, and nothing else of the key."""
    cert, key = pair
    check_pair(cert, key)
    key.write_bytes(key_file(RSA))
    error = refused(lambda path: check_pair(cert, path), key)
    assert error.code == "tls.key_mismatch"
    assert str(error) == f"{key} holds another key; it should be the key of the certificate in {cert}"
    assert error.cure.endswith(f": openssl x509 -noout -pubkey -in {cert}; openssl pkey -pubout -in {key}")


def test_a_chain_in_the_wrong_order(pair: tuple[Path, Path]) -> None:
    """The first certificate is the one that counts, and it is said which one the key belongs to."""
    cert, key = pair
    authority = certificate(RSA).public_bytes(Encoding.PEM)
    cert.write_bytes(CERTIFICATE_PEM + authority)
    check_pair(cert, key)
    cert.write_bytes(authority + CERTIFICATE_PEM)
    error = refused(lambda path: check_pair(cert, path), key)
    assert error.code == "tls.key_mismatch"
    assert "is the key of certificate 2, not of the first one" in str(error)
    assert str(cert) in error.cure


def test_the_files_of_a_pair_exchanged(pair: tuple[Path, Path]) -> None:
    """The mistake that is made most: it is asked whether it is that."""
    cert, key = pair
    for read, path in ((read_certificates, key), (read_key, cert)):
        error = refused(read, path)
        assert error.code == "file.wrong_kind"
        assert "are those of certificate and key exchanged?" in error.cure
    assert refused(lambda path: check_pair(path, cert), key).code == "file.wrong_kind"


@pytest.mark.parametrize(
    ("common_name", "names", "called"),
    [
        ("etcd 1", ["etcd1.example"], "etcd 1"),
        ("", ["etcd1.example", "127.0.0.1", "etcd2.example"], "etcd1.example, etcd2.example, 127.0.0.1"),
        ("", ["127.0.0.1"], "127.0.0.1"),
        ("", [], "serial number BEEF"),
        ("two\nlines\x1b[2J", [], "two?lines?[2J"),
        ("", [f"member{number}.example" for number in range(20)], None),
    ],
)
def test_what_a_certificate_is_called(common_name: str, names: list[str], called: str | None) -> None:
    """As people would; a long name is cut, and nothing in it can harm a terminal."""
    text = title(certificate(EC, common_name, *names))
    assert text == called or (called is None and len(text) == TITLE_CHARACTERS and text.endswith("…"))


def test_what_machines_trust_is_read_without_a_warning() -> None:
    """The authorities of this machine, of which some are odd, can be configured as they are."""
    path = ssl.get_default_verify_paths().cafile
    if path is None:
        pytest.skip("NOT TESTED with this machine's authorities: it has no file with them")
    certificates = read_certificates(Path(path))
    assert all(title(certificate) for certificate in certificates)
