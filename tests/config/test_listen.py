"""`serve.listen` and `serve.tls`: where may be listened, and with what."""

from __future__ import annotations

from pathlib import Path

import pytest

from syncd.config.notation import Address, ListenAddress
from tests.config.conftest import Load, Mistakes, refusal
from tests.config.material import CERTIFICATE_PEM, EC, key_file

TLS = "tls: {cert_file: cert.pem, key_file: key.pem, client_ca_file: cert.pem}"


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """The files that a configuration may name."""
    (tmp_path / "cert.pem").write_bytes(CERTIFICATE_PEM)
    (tmp_path / "key.pem").write_bytes(key_file(EC))
    return tmp_path


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("127.0.0.1:9379", "127.0.0.1", 9379),
        ("127.9.8.7:1", "127.9.8.7", 1),
        ("[::1]:9379", "::1", 9379),
        ("[0:0:0:0:0:0:0:1]:65535", "::1", 65535),
        ("localhost:9379", "127.0.0.1", 9379),
        ("[127.0.0.1]:9379", "127.0.0.1", 9379),
        ("0.0.0.0:9379", "0.0.0.0", 9379),
    ],
)
def test_addresses(text: str, host: str, port: int) -> None:
    """An address is read into its one canonical form."""
    assert ListenAddress().read(text) == Address(host, port)


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("", "is no address and port"),
        ("9379", "is no address and port"),
        (":9379", "is no address and port"),
        ("127.0.0.1", "is no address and port"),
        ("127.0.0.1:http", "is no address and port"),
        ("::1:9379", "is no address and port"),
        ("http://127.0.0.1:9379", "is no address and port"),
        ("127.0.0.1:0", "no possible port"),
        ("127.0.0.1:65536", "no possible port"),
        ("example.org:9379", "only localhost may stand there by name"),
        ("127.1:9379", "is no IP address"),
        ("[localhost]:9379", "is no address and port"),
    ],
)
def test_what_is_no_address(text: str, hint: str) -> None:
    """What is no address is refused with what is wrong about it."""
    assert hint in refusal(ListenAddress().read, text)


@pytest.mark.usefixtures("files")
@pytest.mark.parametrize("listen", ["localhost:1", "127.0.0.9:1", "[::1]:1"])
@pytest.mark.parametrize("tls", ["", ", " + TLS])
def test_loopback(loaded: Load, listen: str, tls: str) -> None:
    """On loopback, TLS is possible, but not needed."""
    serve = loaded(f"serve: {{listen: '{listen}'{tls}}}").serve
    assert serve.listen
    assert (serve.tls.client_ca_file is not None) == bool(tls)


@pytest.mark.usefixtures("files")
@pytest.mark.parametrize("listen", ["0.0.0.0:1", "[::]:1", "192.0.2.1:1", "[::ffff:127.0.0.1]:1"])
def test_elsewhere(loaded: Load, mistakes: Mistakes, listen: str) -> None:
    """Where others can connect, it takes TLS."""
    [mistake] = mistakes(f"serve: {{listen: '{listen}'}}")
    assert mistake.startswith("1: serve.listen: ")
    assert "can be reached from other machines" in mistake
    assert loaded(f"serve: {{listen: '{listen}', {TLS}}}").serve.listen


@pytest.mark.usefixtures("files")
def test_a_part_of_tls(mistakes: Mistakes) -> None:
    """What else it needs is named, and that there is no listener for it."""
    missing = "missing, as serve.tls.cert_file (line 1) is there; TLS needs all three"
    assert mistakes("serve: {tls: {cert_file: cert.pem}}") == [
        "1: serve.tls: has no effect without serve.listen",
        f"1: serve.tls.client_ca_file: {missing}",
        f"1: serve.tls.key_file: {missing}",
    ]


def test_files_of_no_use(files: Path, mistakes: Mistakes) -> None:
    """The files are looked into as those for etcd are."""
    (files / "key.pem").write_bytes(key_file(EC) + b"-----BEGIN")
    [mistake] = mistakes(f"serve: {{listen: 'localhost:1', {TLS.replace('cert.pem', 'key.pem', 1)}}}")
    assert mistake.startswith(f"1: serve.tls.cert_file: {files}/key.pem holds a private key")
