"""Certificates and keys with a byte that is not as it was: a file is unusable, or OpenSSL takes it, too."""

from __future__ import annotations

import base64
import shutil
import ssl
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given, settings
from hypothesis import strategies as st

from syncd.config import ConfigError, load
from syncd.config.files import Unusable
from syncd.config.openssl import show, trust
from syncd.config.pem import check_pair, extension, read_certificates, title
from syncd.diagnosis.certificates import shown_by
from tests.config.material import EC, RSA, certificate, key_file

NAMED = certificate(EC, "somebody", "etcd.example", "127.0.0.1").public_bytes(Encoding.DER)
NAMELESS = certificate(EC, "", "etcd.example", "127.0.0.1").public_bytes(Encoding.DER)
KEY = key_file(EC, encoding=Encoding.DER)
GOOD = certificate(EC).public_bytes(Encoding.PEM)

VERSION = NAMED.index(b"\xa0\x03\x02\x01\x02") + 4
"""Where the version of the certificate stands (RFC 5280, 4.1)."""

UNREADABLE = NAMED.replace(b"somebody", b"some\xffody")
"""A name that is not UTF-8."""

CHANGES = st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), min_size=1, max_size=2)
"""Where in the file, as a share of its length, another byte is put."""

unhurried = settings(deadline=None, max_examples=100)


def pem_file(der: bytes, label: str = "CERTIFICATE") -> bytes:
    """The file of it."""
    return f"-----BEGIN {label}-----\n{base64.encodebytes(der).decode()}-----END {label}-----\n".encode()


def changed(data: bytes, changes: list[tuple[float, int]]) -> bytes:
    """The same with other bytes here and there."""
    damaged = bytearray(data)
    for place, byte in changes:
        damaged[int(place * len(data))] = byte
    return bytes(damaged)


@pytest.fixture(scope="module")
def directory() -> Iterator[Path]:
    """Make one for all examples."""
    with tempfile.TemporaryDirectory() as directory:
        yield Path(directory)


def use(path: Path) -> tuple[x509.Certificate, ...]:
    """Do with a file of authorities what the daemon does, and tell what is in it."""
    certificates = read_certificates(path)
    assert trust(ssl.create_default_context(), certificates) is None
    for each in certificates:
        assert shown_by("https://etcd.example", each).subject == title(each)
        extension(each, x509.ExtendedKeyUsage)
    return certificates


@unhurried
@given(st.sampled_from([NAMED, NAMELESS]), CHANGES)
def test_damage_inside(directory: Path, der: bytes, changes: list[tuple[float, int]]) -> None:
    """The PEM is good, what it holds is not: the file is refused by its name, or can be used for all."""
    path = directory / "ca.pem"
    path.write_bytes(GOOD + pem_file(changed(der, changes)))
    with suppress(Unusable):
        assert len(use(path)) == 2


@unhurried
@given(CHANGES)
def test_damage_outside(directory: Path, changes: list[tuple[float, int]]) -> None:
    """The same, where the PEM itself is damaged."""
    path = directory / "ca.pem"
    path.write_bytes(changed(pem_file(NAMED), changes))
    with suppress(Unusable):
        use(path)


@unhurried
@given(st.sampled_from([NAMED, NAMELESS]), CHANGES, st.booleans())
def test_a_damaged_pair(directory: Path, der: bytes, changes: list[tuple[float, int]], of_key: bool) -> None:
    """A certificate or its key: they are refused, or OpenSSL shows them."""
    own, key = directory / "own.pem", directory / "own.key"
    own.write_bytes(pem_file(der if of_key else changed(der, changes)))
    key.write_bytes(pem_file(changed(KEY, changes) if of_key else KEY, "PRIVATE KEY"))
    with suppress(Unusable):
        check_pair(own, key)
        show(ssl.create_default_context(), own, key)


def test_what_openssl_refuses(tmp_path: Path) -> None:
    """A pair that is well in itself, with a key too weak for TLS: so it is told at the start."""
    own, key, config = tmp_path / "own.pem", tmp_path / "own.key", tmp_path / "config.yaml"
    own.write_bytes(certificate(RSA).public_bytes(Encoding.PEM))
    key.write_bytes(key_file(RSA))
    config.write_text(
        f'etcd: {{endpoints: ["https://etcd.example"], tls: {{cert_file: {own}, key_file: {key}}}}}\n'
        "ranges: [{prefix: /a/}]\n"
    )
    with pytest.raises(ConfigError, match="is refused by OpenSSL") as caught:
        load(config)
    [mistake] = caught.value.mistakes
    assert (mistake.path, mistake.code) == ("etcd.tls.key_file", "file.wrong_kind")


def damaged(place: int, byte: int) -> bytes:
    """NAMED with that byte."""
    return NAMED[:place] + bytes([byte]) + NAMED[place + 1 :]


@pytest.mark.parametrize(
    ("der", "how"),
    [
        (damaged(VERSION, 49), "cannot be understood"),
        (UNREADABLE, "OpenSSL cannot read"),
    ],
)
def test_what_only_one_library_takes(tmp_path: Path, der: bytes, how: str) -> None:
    """It is a mistake of the configuration like any other, with the line in the file."""
    ca, config = tmp_path / "ca.pem", tmp_path / "config.yaml"
    ca.write_bytes(GOOD + pem_file(der))
    config.write_text(
        f'etcd: {{endpoints: ["https://etcd.example"], tls: {{ca_file: {ca}}}}}\nranges: [{{prefix: /a/}}]\n'
    )
    with pytest.raises(ConfigError) as caught:
        load(config)
    [mistake] = caught.value.mistakes
    assert (mistake.path, mistake.code, mistake.line) == ("etcd.tls.ca_file", "file.not_pem", 1)
    assert f"holds a certificate (line {1 + GOOD.count(10)}) that {how}" in mistake.message
    if "OpenSSL" in how and shutil.which("openssl"):
        command = ["bash", "-c", mistake.cure.rpartition(": ")[2]]
        told = subprocess.run(command, capture_output=True, check=False)
        assert b"certificate" in told.stderr
        assert told.returncode
