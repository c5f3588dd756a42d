"""Each fault of certificates and users, made for real on each version: it is told by its code.

By `syncd check`, and by the daemon, which comes the other way: from the error that its own call met.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from syncd.config import Config
from syncd.config import Etcd as EtcdConfig
from syncd.diagnosis.check import check
from tests.certificates import CLIENT, SERVER, Authority, Issued
from tests.diagnosis.both_ways import KEYS, tls, told
from tests.etcd import Etcd
from tests.gateway.fake import fake_gateway, whole
from tests.secure import demanding, secure

YESTERDAY, TOMORROW = timedelta(days=-1), timedelta(days=1)


async def test_nothing_is_found_where_all_is_well(etcd_version: str, authority: Authority) -> None:
    """With and without client certificates, with a chain, and with a name of its own."""
    issued = authority.issue("server", names=["etcd.example", "127.0.0.1"])
    client = authority.issue("client", usages=[CLIENT])
    with secure(etcd_version, issued, *demanding(authority), own=client) as etcd:
        for name in (None, "etcd.example"):
            assert await told(EtcdConfig(endpoints=(etcd.endpoint,), tls=tls(authority, client, name))) == {}


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        ("wrong CA", "tls.server_cert_untrusted"),
        ("expired", "tls.server_cert_expired"),
        ("not yet valid", "tls.server_cert_not_yet_valid"),
        ("wrong name", "tls.server_cert_wrong_name"),
        ("not for servers", "tls.server_cert_no_server_auth"),
        ("self-signed", "tls.server_cert_untrusted"),
    ],
)
async def test_what_etcd_shows(
    etcd_version: str, authority: Authority, stranger: Authority, fault: str, code: str
) -> None:
    """A certificate that syncd must not trust, whatever is wrong with it."""
    match fault:
        case "wrong CA":
            issued = stranger.issue("server")
        case "expired":
            issued = authority.issue("server", since=2 * YESTERDAY, until=YESTERDAY)
        case "not yet valid":
            issued = authority.issue("server", since=TOMORROW, until=2 * TOMORROW)
        case "wrong name":
            issued = authority.issue("server", names=["etcd.example", "10.0.0.1"])
        case "not for servers":
            issued = authority.issue("server", usages=[CLIENT])
        case _:
            issued = authority.issue("server", by_itself=True)
    with secure(etcd_version, issued) as etcd:
        found = await told(EtcdConfig(endpoints=(etcd.endpoint,), tls=tls(authority)))
    assert list(found) == [code]
    if fault == "wrong CA":
        assert "CN=stranger" in found[code].seen
        assert "CN=authority" in found[code].seen
        assert str(authority.file) in found[code].cure
    if fault == "wrong name":
        assert "DNS:etcd.example,IP:10.0.0.1" in found[code].seen
        assert "etcd.tls.server_name: etcd.example" in found[code].cure


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        ("none", "tls.client_cert_missing"),
        ("expired", "tls.client_cert_expired"),
        ("not yet valid", "tls.client_cert_not_yet_valid"),
        ("for servers alone", "tls.client_cert_no_client_auth"),
        ("another CA", "tls.client_cert_untrusted"),
    ],
)
async def test_what_syncd_shows(
    etcd_version: str, authority: Authority, stranger: Authority, fault: str, code: str
) -> None:
    """A client certificate that etcd refuses, which it says in one word for all reasons, if at all."""
    good = authority.issue("server")
    match fault:
        case "none":
            issued = None
        case "expired":
            issued = authority.issue("client", since=2 * YESTERDAY, until=YESTERDAY)
        case "not yet valid":
            issued = authority.issue("client", since=TOMORROW, until=2 * TOMORROW)
        case "for servers alone":
            issued = authority.issue("client", usages=[SERVER])
        case _:
            issued = stranger.issue("client")
    with secure(etcd_version, good, *demanding(authority), own=good) as etcd:
        found = await told(EtcdConfig(endpoints=(etcd.endpoint,), tls=tls(authority, issued)))
    assert list(found) == [code]
    if fault == "another CA":
        assert "issued by CN=stranger; etcd wants one from CN=authority" in found[code].seen


async def test_a_proxy_that_has_lost_etcd() -> None:
    """It is the proxy that answers, and so it is told; whatever page it has for that."""
    for page in (b"<html><h1>502 Bad Gateway</h1></html>", b"no healthy upstream"):
        status = whole(page, "503 Service Unavailable", "text/html")
        async with fake_gateway(dict.fromkeys(("/version", "/v3/maintenance/status"), status)) as proxy:
            found = await told(EtcdConfig(endpoints=(proxy.url,)))
        assert list(found) == ["gateway.unavailable"]
        assert "that is a proxy's, not etcd's" in found["gateway.unavailable"].seen
        assert "proxy" in found["gateway.unavailable"].cure


async def test_what_is_no_gateway_where_a_prefix_is_configured() -> None:
    """Nobody has looked whether etcd is there; so it is not said."""
    async with fake_gateway({}) as other:
        found = await told(EtcdConfig(endpoints=(other.url,), api_prefix="/v3"))
    assert list(found) == ["gateway.wrong_prefix"]
    assert "gateway is there" not in found["gateway.wrong_prefix"].means


async def test_the_wrong_scheme(etcd_version: str, authority: Authority) -> None:
    """Both ways round."""
    with secure(etcd_version, authority.issue("server")) as etcd:
        plain = etcd.endpoint.replace("https:", "http:")
        assert list(await told(EtcdConfig(endpoints=(plain,)))) == ["tls.server_demands_tls"]
    with Etcd(etcd_version) as etcd:
        settings = EtcdConfig(endpoints=(etcd.endpoint.replace("http:", "https:"),), tls=tls(authority))
        assert list(await told(settings)) == ["tls.server_speaks_plaintext"]


@pytest.fixture
def guarded(etcd_version: str, authority: Authority) -> Iterator[Etcd]:
    """Run an etcd of each version that demands client certificates, where `reader` may read /."""
    cheap = () if etcd_version == "3.3.25" else ("--bcrypt-cost=4",)
    issued = authority.issue("server")
    with secure(etcd_version, issued, *demanding(authority), *cheap, own=issued) as etcd:
        etcd.guard("reader", "sesame", KEYS.key)
        yield etcd


async def test_a_user_without_need(etcd: Etcd, tmp_path: Path) -> None:
    """Stops nobody: etcd has its authentication switched off, and the note says so."""
    (tmp_path / "password").write_text("sesame")
    settings = EtcdConfig(endpoints=(etcd.endpoint,), user="me", password_file=tmp_path / "password")
    assert await told(settings) == {}
    findings = await check(Config(etcd=settings, ranges=(KEYS,)), lambda _: None)
    assert "auth.off" in {finding.code for finding in findings}
    assert "auth.ok" not in {finding.code for finding in findings}


async def test_users(guarded: Etcd, authority: Authority, tmp_path: Path) -> None:
    """No user, a wrong password, a CommonName, a role that was taken away: each by its code."""
    password, wrong = tmp_path / "password", tmp_path / "wrong"
    password.write_text("sesame\n")
    wrong.write_text("open sesame\n")
    nameless, named = authority.issue("nameless"), authority.issue("named", common_name="syncd")

    async def code(user: str | None, file: Path | None, own: Issued) -> list[str]:
        settings = EtcdConfig(
            endpoints=(guarded.endpoint,), user=user, password_file=file, tls=tls(authority, own)
        )
        return list(await told(settings))

    assert await code("reader", password, nameless) == []
    assert await code(None, None, nameless) == ["auth.required"]
    assert await code("reader", wrong, nameless) == ["auth.wrong_password"]
    assert await code("nobody", password, nameless) == ["auth.wrong_password"]
    refused = [] if guarded.version == "3.3.25" else ["auth.client_cert_common_name"]
    assert await code("reader", password, named) == refused  # 3.3.25 does not mind
    guarded.etcdctl(
        f"--cacert={authority.file}",
        f"--cert={nameless.certificate}",
        f"--key={nameless.key}",
        "--user=root:sesame",
        *("user", "revoke-role", "reader", "reading"),
    )
    assert await code("reader", password, nameless) == ["auth.permission_denied"]
