"""Whether the keys agree with each other."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.config.conftest import Load, Mistakes
from tests.config.material import CERTIFICATE_PEM, EC, key_file

NO_EFFECT = "has no effect while every endpoint is http; use https endpoints or remove it"


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """Make the files that a configuration may name, beside the configuration itself."""
    for name in ("ca.pem", "cert.pem"):
        (tmp_path / name).write_bytes(CERTIFICATE_PEM)
    (tmp_path / "key.pem").write_bytes(key_file(EC))
    (tmp_path / "password").write_text("swordfish\n")
    return tmp_path


@pytest.mark.usefixtures("files")
@pytest.mark.parametrize(
    "text",
    [
        "etcd: {endpoints: ['https://a', 'https://a:2379', 'https://b']}",
        "etcd: {endpoints: ['https://a'], tls: {ca_file: ca.pem}}",
        "etcd: {endpoints: ['https://a'], tls: {cert_file: cert.pem, key_file: key.pem, server_name: etcd}}",
        "etcd: {user: syncd, password_file: password}",
        "etcd: {tls: {}, user: null}",
        "serve: {access: [], listen: null}",
    ],
)
def test_what_agrees(loaded: Load, text: str) -> None:
    """Keys that belong together are accepted together."""
    loaded(text)


@pytest.mark.usefixtures("files")
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("etcd: {endpoints: []}", ["1: etcd.endpoints: at least one endpoint is needed"]),
        (
            "etcd:\n  endpoints:\n  - http://a\n  - http://b\n  - http://A:80/",
            ["5: etcd.endpoints[2]: names the same host and port as etcd.endpoints[0] (line 3)"],
        ),
        (
            "etcd:\n  endpoints:\n  - http://a\n  - https://b",
            ["2: etcd.endpoints: mixes http and https; use one of them for all endpoints"],
        ),
        (
            "etcd: {tls: {ca_file: ca.pem, server_name: x}}",
            [
                f"1: etcd.tls.ca_file: {NO_EFFECT}",
                f"1: etcd.tls.server_name: {NO_EFFECT}",
            ],
        ),
        (
            "etcd: {endpoints: ['https://a'], tls: {cert_file: cert.pem}}",
            ["1: etcd.tls.cert_file: needs etcd.tls.key_file too"],
        ),
        (
            "etcd: {endpoints: ['https://a'], tls: {key_file: key.pem}}",
            ["1: etcd.tls.key_file: needs etcd.tls.cert_file too"],
        ),
        (
            "etcd: {user: syncd}",
            ["1: etcd.user: needs etcd.password_file too, or the credential etcd-password from systemd"],
        ),
        ("etcd: {password_file: password}", ["1: etcd.password_file: needs etcd.user too"]),
    ],
)
def test_what_does_not_agree(mistakes: Mistakes, text: str, expected: list[str]) -> None:
    """Keys that contradict each other are named with the reason."""
    assert mistakes(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "etcd: {endpoints: ['https://a'], tls: {cert_file: absent, key_file: absent}}",
        "etcd: {user: syncd, password_file: absent}",
        "etcd: {user: 5, password_file: absent}",
        "etcd: {endpoints: ['ftp://a'], tls: {server_name: x}}",
        "etcd: {tls: 5}",
    ],
)
def test_one_mistake_is_not_told_twice(mistakes: Mistakes, text: str) -> None:
    """A value that is mistaken itself is not said to contradict another, too."""
    assert not [line for line in mistakes(text) if "needs" in line or "no effect" in line]
