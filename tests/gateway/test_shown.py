"""Which certificate each endpoint showed last."""

from __future__ import annotations

import shutil
import ssl
from pathlib import Path

from syncd.config import TLS
from syncd.keyrange import prefix_range
from tests.certificates import Authority, Issued
from tests.etcd import Etcd
from tests.gateway.conftest import Connect

KEYS = prefix_range(b"/")


def der(issued: Issued) -> bytes:
    """The certificate as it goes over the wire."""
    return ssl.PEM_cert_to_DER_cert(issued.certificate.read_text())


def showing(authority: Authority, issued: Issued) -> Etcd:
    """An etcd with this certificate."""
    return Etcd(
        flags=(f"--cert-file={issued.certificate}", f"--key-file={issued.key}"),
        tls=ssl.create_default_context(cafile=authority.file),
    )


def replace(old: Issued, new: Issued) -> None:
    """Put the new certificate and key where the old ones are; etcd reads them at each handshake."""
    shutil.copy(new.key, old.key)
    shutil.copy(new.certificate, old.certificate)


async def test_what_each_endpoint_showed(tmp_path: Path, connect: Connect) -> None:
    """Nothing before the first connection; then each endpoint's own, byte for byte."""
    authority = Authority(tmp_path)
    one, two = authority.issue("one"), authority.issue("two")
    with showing(authority, one) as first, showing(authority, two) as second:
        gateway = connect(first.endpoint, second.endpoint, tls=TLS(ca_file=authority.file))
        assert gateway.shown == {}
        await gateway.revision(KEYS, first.endpoint)
        assert gateway.shown == {first.endpoint: der(one)}
        await gateway.revision(KEYS, second.endpoint)
        assert gateway.shown == {first.endpoint: der(one), second.endpoint: der(two)}


async def test_a_renewed_certificate_is_seen_on_a_new_connection(tmp_path: Path, connect: Connect) -> None:
    """A connection that is kept tells nothing new, and nothing old again once there was a newer one."""
    authority = Authority(tmp_path)
    old = authority.issue("old")
    before, new = der(old), authority.issue("new")
    with showing(authority, old) as etcd:
        gateway = connect(etcd.endpoint, tls=TLS(ca_file=authority.file))
        await gateway.revision(KEYS)
        replace(old, new)
        await gateway.revision(KEYS)
        assert gateway.shown == {etcd.endpoint: before}
        await gateway.look_again(etcd.endpoint)
        assert gateway.shown == {etcd.endpoint: der(new)}
        await gateway.revision(KEYS)
        assert gateway.shown == {etcd.endpoint: der(new)}


async def test_an_endpoint_is_called_as_it_is_configured(tmp_path: Path, connect: Connect) -> None:
    """However else its URL could be written."""
    authority = Authority(tmp_path)
    issued = authority.issue("server", names=("localhost", "127.0.0.1"))
    with showing(authority, issued) as etcd:
        url = etcd.endpoint.replace("127.0.0.1", "LocalHost")
        gateway = connect(url, tls=TLS(ca_file=authority.file))
        await gateway.revision(KEYS)
        assert gateway.shown == {url: der(issued)}


async def test_without_tls_nothing_is_shown(new_etcd: Etcd, connect: Connect) -> None:
    """Plain HTTP has no certificates."""
    gateway = connect(new_etcd.endpoint)
    await gateway.revision(KEYS)
    assert gateway.shown == {}
