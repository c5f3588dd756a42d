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
from syncd.gateway.credentials import Credentials, Files
from syncd.gateway.errors import FileUnusable
from syncd.keyrange import prefix_range
from tests.certificates import SERVER, Authority
from tests.etcd import Etcd
from tests.gateway.conftest import Connect
from tests.secure import demanding, secure

KEYS = prefix_range(b"/")
SECRET = "correct horse battery staple"  # what must not be in any message


async def test_calls_and_duplex_watches_work_with_tls(
    etcd_version: str, authority: Authority, connect: Connect
) -> None:
    """Also with client certificates, on every version."""
    issued = authority.issue("server")
    with secure(etcd_version, issued, *demanding(authority)) as etcd:
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
        etcd = secure(etcd_version, issued, *demanding(authority))
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
    with secure(None, issued) as etcd:
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
    with secure(None, strange.issue("server")) as bad:
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


def load(tls: TLS) -> Credentials:
    """Read the credentials of a configuration with this `tls`."""
    return Credentials(EtcdConfig(endpoints=("https://etcd.example:2379",), tls=tls))


def test_unusable_files_are_named(authority: Authority, tmp_path: Path) -> None:
    """Missing, empty, not for each other: the configuration's key, the file, code and cure are told."""
    one, other = authority.issue("one"), authority.issue("other")
    locked = authority.issue("locked", passphrase=SECRET.encode())
    empty, missing = tmp_path / "empty", tmp_path / "missing"
    empty.touch()
    ca = authority.file
    for tls, key, file, code in (
        (TLS(ca_file=missing), "ca_file", missing, "file.missing"),
        (TLS(ca_file=empty), "ca_file", empty, "file.empty"),
        (TLS(ca_file=one.key), "ca_file", one.key, "file.wrong_kind"),
        (TLS(ca_file=ca, cert_file=missing, key_file=one.key), "cert_file", missing, "file.missing"),
        (TLS(ca_file=ca, cert_file=empty, key_file=one.key), "cert_file", empty, "file.empty"),
        (TLS(ca_file=ca, cert_file=one.certificate, key_file=missing), "key_file", missing, "file.missing"),
        (TLS(cert_file=one.certificate, key_file=other.key), "key_file", other.key, "tls.key_mismatch"),
        (TLS(cert_file=locked.certificate, key_file=locked.key), "key_file", locked.key, "tls.key_encrypted"),
    ):
        with pytest.raises(FileUnusable, match=rf"etcd\.tls\.{key}: ") as caught:
            load(tls)
        error = caught.value
        assert (error.code, error.path, error.endpoint) == (code, file, "https://etcd.example:2379")
        assert str(file) in error.message
        assert error.cure


def test_the_password_is_the_files_line_without_its_end(tmp_path: Path) -> None:
    """Spaces count, the newline that editors add does not; no error repeats anything of it."""
    file = tmp_path / "password"
    file.write_text(f" {SECRET} \n")
    held = Credentials(EtcdConfig(user="me", password_file=file))
    assert held.password == f" {SECRET} "
    assert held.certificates is None
    file.write_bytes(SECRET.encode() + b"\xff")
    with pytest.raises(FileUnusable, match=rf"etcd\.password_file: .*{file}") as caught:
        held.read_password()
    assert SECRET not in str(caught.value)
    assert SECRET not in repr(held)
    assert held.password == f" {SECRET} "


def test_what_was_read_is_told(authority: Authority) -> None:
    """Certificates are known as such; equal when the files hold the same; no key is in their `repr`."""
    issued = authority.issue("client", common_name="reader")
    first, again = (
        load(TLS(ca_file=authority.file, cert_file=issued.certificate, key_file=issued.key)).certificates
        for _ in range(2)
    )
    assert first
    assert first == again
    assert [each.subject.rfc4514_string() for each in first.own] == ["CN=reader"]
    assert [each.subject.rfc4514_string() for each in first.authorities] == ["CN=authority"]
    assert "PRIVATE" not in repr(first)
    authority.issue("client", common_name="reader")
    renewed = load(TLS(ca_file=authority.file, cert_file=issued.certificate, key_file=issued.key))
    assert renewed.certificates != first


async def test_an_intermediate_authority_may_be_trusted_by_itself(
    authority: Authority, connect: Connect, tmp_path: Path
) -> None:
    """As etcdctl does: whoever has only that certificate gets in, whatever signed it."""
    # Its own certificate stands for one: it is not self-signed, and nothing above it is known.
    issued = authority.issue("server")
    with secure(None, issued) as etcd:
        gateway = connect(etcd.endpoint, tls=TLS(ca_file=issued.certificate))
        assert (await gateway.revision(KEYS)).revision == 1


def test_old_tls_is_not_spoken(authority: Authority) -> None:
    """Nothing below 1.2."""
    context = load(TLS(ca_file=authority.file)).context
    assert context
    assert context.minimum_version == ssl.TLSVersion.TLSv1_2


def test_secrets_that_others_can_read_are_known(authority: Authority, tmp_path: Path) -> None:
    """The key and the password, by their modes; the group may read, and certificates everybody."""
    issued, password = authority.issue("client"), tmp_path / "password"
    password.write_text(SECRET)
    tls = TLS(ca_file=authority.file, cert_file=issued.certificate, key_file=issued.key)
    held = Credentials(
        EtcdConfig(endpoints=("https://etcd.example",), tls=tls, user="me", password_file=password)
    )
    for mode_of_key, mode_of_password, exposed in (
        (0o600, 0o640, {}),
        (0o644, 0o400, {issued.key: "0644"}),
        (0o660, 0o666, {issued.key: "0660", password: "0666"}),
    ):
        issued.key.chmod(mode_of_key)
        password.chmod(mode_of_password)
        assert held.exposed() == exposed
    issued.key.unlink()
    assert held.exposed() == {password: "0666"}


def test_files_have_changed_when_they_rest(tmp_path: Path) -> None:
    """Other bytes, another file, other rights, no file: all of it counts once two looks agree."""
    one, other = tmp_path / "one", tmp_path / "other"
    link = tmp_path / "link"
    one.write_text("1")
    other.write_text("2")
    link.symlink_to(one)
    files = Files(link, None)

    def change() -> None:
        assert [files.changed(), files.changed(), files.changed()] == [False, True, True]
        files.begin()
        assert not files.changed()

    assert not files.changed()
    one.write_text("one more")
    change()
    one.chmod(0o600)
    change()
    (tmp_path / "new").symlink_to(other)
    (tmp_path / "new").rename(link)
    change()
    other.unlink()
    change()
    link.unlink()
    assert not any(files.changed() for _ in range(3))  # still no file


def test_all_errors_are_gateway_errors() -> None:
    """Also those about files, so that one `except` has them all."""
    assert issubclass(FileUnusable, CredentialsUnusable)
    assert issubclass(CredentialsUnusable, GatewayError)
