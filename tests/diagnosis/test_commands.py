"""Commands of cures, pasted into a shell: they do what they say, and nothing else."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from syncd.config import TLS
from syncd.config import Etcd as EtcdConfig
from syncd.config.pem import read_certificates
from syncd.diagnosis.commands import certificates_shown, etcdctl, issued_again
from tests.certificates import Authority
from tests.diagnosis.shell import commands, paste
from tests.etcd import Etcd
from tests.secure import demanding, secure

needs_openssl = pytest.mark.skipif(
    shutil.which("openssl") is None, reason="NOT TESTED that cures help: this machine has no openssl command"
)

URLS = ("https://etcd-1:2379", "https://[::1]:2379")


@pytest.mark.parametrize(
    ("etcd", "urls", "command"),
    [
        (EtcdConfig(), (), "ETCDCTL_API=3 etcdctl --endpoints=http://127.0.0.1:2379"),
        (EtcdConfig(endpoints=URLS), URLS[:1], "ETCDCTL_API=3 etcdctl --endpoints=https://etcd-1:2379"),
        (EtcdConfig(endpoints=URLS), (), f"ETCDCTL_API=3 etcdctl --endpoints='{','.join(URLS)}'"),
        (
            EtcdConfig(user="me", tls=TLS(ca_file=Path("/my ca.pem"))),
            ("http://a:1", "http://b:2"),
            "ETCDCTL_API=3 etcdctl --endpoints=http://a:1,http://b:2 --cacert='/my ca.pem' --user=root",
        ),
    ],
)
def test_the_beginning_of_an_etcdctl_command(etcd: EtcdConfig, urls: tuple[str, ...], command: str) -> None:
    """All that is configured, and no more."""
    assert etcdctl(etcd, *urls) == command


def test_etcdctl_gets_in(etcd_version: str, authority: Authority, tmp_path: Path) -> None:
    """On every version, plain, with a client's certificate, and as root."""
    own = authority.issue("it's syncd's own")
    tls = TLS(ca_file=authority.file, cert_file=own.certificate, key_file=own.key)
    with secure(etcd_version, own, *demanding(authority)) as etcd:
        settings = EtcdConfig(endpoints=(etcd.endpoint,), tls=tls)
        assert etcd_version in paste(f"{etcdctl(settings)} endpoint status", tmp_path, etcd_version)
    with Etcd(etcd_version, [] if etcd_version == "3.3.25" else ["--bcrypt-cost=4"]) as etcd:
        settings = EtcdConfig(endpoints=(etcd.endpoint,))
        assert etcd_version in paste(f"{etcdctl(settings)} endpoint status", tmp_path, etcd_version)
        etcd.guard("reader", "sesame", "/")
        # It would ask a terminal for the password.
        command = etcdctl(settings, root=True).replace("--user=root", "--user=root:sesame")
        assert "reader" in paste(f"{command} user list", tmp_path, etcd_version)


@needs_openssl
def test_a_certificate_that_is_issued_again_keeps_usages_and_names(tmp_path: Path) -> None:
    """Through the hands of whoever signs it; and a name is a name, whatever a shell might make of it."""
    paste("openssl ecparam -name prime256v1 -genkey -noout -out 'my key'", tmp_path)
    paste("openssl ecparam -name prime256v1 -genkey -noout -out CA.key", tmp_path)
    paste("openssl req -new -x509 -key CA.key -subj /CN=ca -out CA.pem", tmp_path)
    names = "DNS:etcd.example,DNS:*.etcd.example,IP:10.0.0.1"
    for command in commands(issued_again("'my key'", "etcd", "serverAuth,clientAuth", names)):
        paste(command, tmp_path)
    [made] = read_certificates(tmp_path / "etcd.pem")
    assert set(made.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value) == {
        ExtendedKeyUsageOID.SERVER_AUTH,
        ExtendedKeyUsageOID.CLIENT_AUTH,
    }
    kept = made.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert kept.get_values_for_type(x509.DNSName) == ["etcd.example", "*.etcd.example"]
    assert made.subject.rfc4514_string() == "O=etcd"
    assert made.issuer.rfc4514_string() == "CN=ca"


@needs_openssl
def test_what_a_certificate_says_is_no_command(tmp_path: Path) -> None:
    """Whoever made etcd's certificate chose the names in it."""
    matching = tmp_path / "1:1"  # as a shell understands [::1]:1
    matching.touch()
    lines = issued_again("SERVER.key", "etcd", "serverAuth", "DNS:a$(touch made).example,DNS:`touch made`'")
    request, _ = commands(lines)
    paste(f"{request} || true", tmp_path)
    shown = certificates_shown("https://[::1]:1", "a$(touch made)").replace("openssl", "echo", 1)
    assert paste(shown, tmp_path) == "s_client -connect [::1]:1 -servername a$(touch made) -showcerts\n"
    assert [file.name for file in tmp_path.iterdir()] == [matching.name]
