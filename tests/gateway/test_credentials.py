"""TLS against real servers, and files that cannot be used."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from syncd.config import TLS
from syncd.config import Etcd as EtcdConfig
from syncd.gateway import (
    CredentialsUnusable,
    GatewayError,
    MalformedAnswer,
    Unavailable,
    Unreachable,
)
from syncd.gateway.credentials import Credentials
from syncd.keyrange import prefix_range
from tests.certificates import SERVER, Authority, Issued
from tests.etcd import Etcd
from tests.gateway.conftest import Connect

KEYS = prefix_range(b"/")
SECRET = "correct horse battery staple"  # what must not be in any message


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    """Make a certificate authority of its own for each test."""
    return Authority(tmp_path)


def secure(version: str | None, authority: Authority, issued: Issued, *flags: str) -> Etcd:
    """An etcd with this certificate; the tests' own calls show it as theirs."""
    context = ssl.create_default_context(cafile=authority.file)
    context.load_cert_chain(issued.certificate, issued.key)
    own = (f"--cert-file={issued.certificate}", f"--key-file={issued.key}")
    return Etcd(version, [*own, *flags], tls=context)


def demanding(authority: Authority) -> tuple[str, str]:
    """The flags with which etcd demands a client's certificate from this authority."""
    return "--client-cert-auth", f"--trusted-ca-file={authority.file}"


async def test_calls_and_duplex_watches_work_with_tls(
    etcd_version: str, authority: Authority, connect: Connect
) -> None:
    """Also with client certificates, on every version."""
    issued = authority.issue("server")
    with secure(etcd_version, authority, issued, *demanding(authority)) as etcd:
        tls = TLS(ca_file=authority.file, cert_file=issued.certificate, key_file=issued.key)
        gateway = connect(etcd.endpoint, tls=tls)
        etcd.put("/a", "1")
        assert (await gateway.range_page(KEYS, limit=1, revision=0)).records()[0].key == b"/a"
        async with gateway.watch(KEYS, 3) as stream, asyncio.timeout(5):
            assert stream.duplex
            assert (await anext(stream)).created
            etcd.put("elsewhere", "x")
            stream.request_progress()
            assert (await anext(stream)).is_progress
        with pytest.raises((Unreachable, CredentialsUnusable), match=etcd.endpoint):
            await connect(etcd.endpoint, tls=TLS(ca_file=authority.file)).revision(KEYS)


async def test_a_certificate_that_is_not_for_clients_breaks_etcds_gateway(
    etcd_version: str, authority: Authority, connect: Connect
) -> None:
    """The problem this project began with: etcd's gateway shows etcd's own certificate to etcd."""
    issued = authority.issue("server", usages=[SERVER])
    client = authority.issue("client")
    with ExitStack() as stack:
        etcd = secure(etcd_version, authority, issued, *demanding(authority))
        etcd.tls = ssl.create_default_context(cafile=authority.file)
        etcd.tls.load_cert_chain(client.certificate, client.key)
        stack.enter_context(etcd)
        tls = TLS(ca_file=authority.file, cert_file=client.certificate, key_file=client.key)
        with pytest.raises(Unavailable, match=etcd.endpoint) as caught:
            await connect(etcd.endpoint, tls=tls).revision(KEYS)
        # The text differs even from one run to the next: 3.5.30 also says "write: broken pipe".
        assert caught.value.code == 14


@pytest.fixture
def named(authority: Authority) -> Iterator[Etcd]:
    """Run an etcd whose certificate is for two names, and not for the address it is reached by."""
    issued = authority.issue("server", names=["etcd.example", "127.0.0.1"])
    with secure(None, authority, issued) as etcd:
        yield etcd


async def test_another_name_may_be_expected(named: Etcd, authority: Authority, connect: Connect) -> None:
    """One that the certificate has; any other is refused, with both names in the message."""
    good = connect(named.endpoint, tls=TLS(ca_file=authority.file, server_name="etcd.example"))
    assert (await good.revision(KEYS)).revision == 1
    bad = connect(named.endpoint, tls=TLS(ca_file=authority.file, server_name="other.example"))
    with pytest.raises(CredentialsUnusable, match=r"other\.example") as caught:
        await bad.revision(KEYS)
    assert named.endpoint in str(caught.value)
    assert bad.endpoints.current.failures == 1


async def test_a_certificate_of_somebody_else_is_refused(
    named: Etcd, tmp_path: Path, connect: Connect
) -> None:
    """By calls and by watches; an authority of the same name is another one."""
    other = tmp_path / "other"
    other.mkdir()
    gateway = connect(named.endpoint, tls=TLS(ca_file=Authority(other).file))
    with pytest.raises(CredentialsUnusable, match="certificate is not trusted"):
        await gateway.revision(KEYS)
    with pytest.raises(CredentialsUnusable, match="certificate is not trusted"):
        await gateway.watch(KEYS, 1).__aenter__()


async def test_a_member_whose_certificate_is_not_trusted_is_left(
    named: Etcd, tmp_path: Path, connect: Connect, authority: Authority
) -> None:
    """Such as one that has expired, on one member of three: the others serve."""
    other = tmp_path / "other"
    other.mkdir()
    strange = Authority(other)
    with secure(None, strange, strange.issue("server")) as bad:
        gateway = connect(bad.endpoint, named.endpoint, tls=TLS(ca_file=authority.file))
        assert gateway.endpoints.current.url == bad.endpoint
        with pytest.raises(CredentialsUnusable, match=bad.endpoint):
            await gateway.revision(KEYS)
        assert (await gateway.range_page(KEYS, limit=1, revision=0)).url == named.endpoint


async def test_the_wrong_scheme_is_no_mystery(named: Etcd, new_etcd: Etcd, connect: Connect) -> None:
    """HTTP to HTTPS, and the other way round, fail at once with a GatewayError."""
    async with asyncio.timeout(5):
        with pytest.raises((MalformedAnswer, Unreachable)):
            await connect(named.endpoint.replace("https:", "http:")).revision(KEYS)
        with pytest.raises((MalformedAnswer, Unreachable)):
            await connect(new_etcd.endpoint.replace("http:", "https:")).revision(KEYS)


async def test_certificates_are_read_again_when_told_to(
    named: Etcd, authority: Authority, tmp_path: Path, connect: Connect
) -> None:
    """A bad file is refused and the old ones stay in use; a good one is used for the next connection."""
    ca_file = tmp_path / "ca.pem"
    ca_file.write_bytes(authority.file.read_bytes())
    gateway = connect(named.endpoint, tls=TLS(ca_file=ca_file))
    await gateway.revision(KEYS)
    ca_file.write_text("nonsense")
    with pytest.raises(CredentialsUnusable, match=r"etcd\.tls\.ca_file .*ca\.pem"):
        gateway.reload()
    assert (await gateway.revision(KEYS)).revision == 1
    other = tmp_path / "other"
    other.mkdir()
    ca_file.write_bytes(Authority(other).file.read_bytes())
    gateway.reload()
    with pytest.raises(CredentialsUnusable, match="not trusted"):
        async with gateway.watch(KEYS, 1):
            pass


def test_an_encrypted_key_is_refused_without_a_question(
    authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """OpenSSL would ask for the passphrase on the terminal."""
    issued = authority.issue("client", passphrase=SECRET.encode())
    with pytest.raises(CredentialsUnusable, match="encrypted"):
        load(TLS(ca_file=authority.file, cert_file=issued.certificate, key_file=issued.key))


def load(tls: TLS) -> Credentials:
    """Read the credentials of a configuration with this `tls`."""
    return Credentials(EtcdConfig(endpoints=("https://etcd.example:2379",), tls=tls))


def test_unusable_files_are_named(authority: Authority, tmp_path: Path) -> None:
    """Missing, empty, not for each other: the key of the configuration and the file are told."""
    one, other = authority.issue("one"), authority.issue("other")
    empty, missing = tmp_path / "empty", tmp_path / "missing"
    empty.touch()
    ca = authority.file
    for tls, words in (
        (TLS(ca_file=missing), f"etcd.tls.ca_file {missing}"),
        (TLS(ca_file=empty), f"etcd.tls.ca_file {empty}"),
        (TLS(ca_file=ca, cert_file=missing, key_file=one.key), f"etcd.tls.cert_file {missing}"),
        (TLS(ca_file=ca, cert_file=empty, key_file=one.key), f"etcd.tls.cert_file {empty}"),
        (TLS(ca_file=ca, cert_file=one.certificate, key_file=missing), f"key_file {missing}"),
        (TLS(ca_file=ca, cert_file=one.certificate, key_file=other.key), f"key_file {other.key}"),
        (TLS(ca_file=ca, cert_file=one.certificate, key_file=empty), f"key_file {empty}"),
    ):
        with pytest.raises(CredentialsUnusable) as caught:
            load(tls)
        assert words in str(caught.value)
        assert caught.value.endpoint == "https://etcd.example:2379"


def test_the_password_is_the_files_first_line_end_and_all(tmp_path: Path) -> None:
    """Spaces count, the newline that editors add does not; an unreadable file keeps the old password."""
    file = tmp_path / "password"
    file.write_text(f" {SECRET} \n")
    held = Credentials(EtcdConfig(user="me", password_file=file))
    assert held.password == f" {SECRET} "
    assert held.context is None
    file.write_bytes(SECRET.encode() + b"\xff")
    with pytest.raises(CredentialsUnusable, match=f"the password file {file}") as caught:
        held.reload()
    assert SECRET not in str(caught.value)
    file.unlink()
    with pytest.raises(CredentialsUnusable, match=f"the password file {file}"):
        held.reload()
    assert held.password == f" {SECRET} "


def test_all_errors_are_gateway_errors() -> None:
    """Also those about files, so that one `except` has them all."""
    assert issubclass(CredentialsUnusable, GatewayError)
