"""What errors say by themselves, in a table."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from syncd.config import TLS, Etcd
from syncd.diagnosis.catalogue import CATALOGUE
from syncd.diagnosis.explain import explain
from syncd.gateway import errors
from syncd.gateway.errors import GatewayError
from syncd.keyrange import TO_THE_END, KeyRange, prefix_range

ROOT = Path(__file__).resolve().parents[2]

URL = "https://etcd-1:2379"
PLAIN = Etcd(endpoints=(URL,))
WITH_CERTIFICATE = Etcd(endpoints=(URL,), tls=TLS(cert_file=Path("/c.pem"), key_file=Path("/it's.key")))
WITH_USER = Etcd(endpoints=(URL,), user="me", password_file=Path("/password"))
WITH_PREFIX = Etcd(endpoints=(URL,), api_prefix="/v3")

ETCDCTL = f"ETCDCTL_API=3 etcdctl --endpoints={URL}"
SHOW = "openssl s_client -connect etcd-1:2379 -servername etcd-1 -showcerts </dev/null"

FILE_UNUSABLE = errors.FileUnusable(URL, "m", code="file.empty", path=Path("/c.pem"), cure="write it again")

ERRORS: list[tuple[GatewayError, Etcd, str, str]] = [
    (errors.Unreachable(URL, "m", "unresolved"), PLAIN, "dns.unresolved", "/etc/hosts"),
    (errors.Unreachable(URL, "m", "refused"), PLAIN, "tcp.refused", "start etcd"),
    (errors.Unreachable(URL, "m", "late"), PLAIN, "tcp.timeout", "firewall"),
    (errors.Unreachable(URL, "m", "no route"), PLAIN, "tcp.unreachable", "ip route get"),
    (errors.Unreachable(URL, "m", "no tls"), PLAIN, "tls.handshake_failed", SHOW),
    (errors.Unreachable(URL, "m"), PLAIN, "gateway.cut", "log"),
    (errors.Dropped(URL, "m"), PLAIN, "gateway.cut", "log"),
    (errors.Unreachable(URL, "m", "proxy"), PLAIN, "gateway.unavailable", "proxy"),
    (errors.NoAnswer(URL, "m"), PLAIN, "gateway.timeout", f"{ETCDCTL} endpoint status"),
    (errors.MalformedAnswer(URL, "m"), PLAIN, "gateway.malformed", "proxy"),
    (errors.NoGateway(URL, "m"), PLAIN, "gateway.missing", "--enable-grpc-gateway"),
    (errors.NoGateway(URL, "m"), WITH_PREFIX, "gateway.wrong_prefix", "etcd.api_prefix: auto"),
    (errors.NoGateway(URL, "m"), WITH_PREFIX, "gateway.wrong_prefix", "etcd's client URL"),
    (errors.Untrusted(URL, "m", 10), PLAIN, "tls.server_cert_expired", SHOW),
    (errors.Untrusted(URL, "m", 9), PLAIN, "tls.server_cert_not_yet_valid", SHOW),
    (errors.Untrusted(URL, "m", 62), PLAIN, "tls.server_cert_wrong_name", SHOW),
    (errors.Untrusted(URL, "m", 64), PLAIN, "tls.server_cert_wrong_name", SHOW),
    (errors.Untrusted(URL, "m", 26), PLAIN, "tls.server_cert_no_server_auth", SHOW),
    (errors.Untrusted(URL, "m", 20), PLAIN, "tls.server_cert_untrusted", SHOW),
    (errors.CertificateRefused(URL, "m"), PLAIN, "tls.client_cert_missing", "etcd.tls.cert_file"),
    (
        errors.CertificateRefused(URL, "m"),
        WITH_CERTIFICATE,
        "tls.client_cert_refused",
        "openssl x509 -in /c.pem",
    ),
    (
        errors.CommonNameRefused(URL, "m"),
        WITH_CERTIFICATE,
        "auth.client_cert_common_name",
        """-key '/it'"'"'s.key' """,
    ),
    (
        errors.WrongPassword(URL, "m"),
        WITH_USER,
        "auth.wrong_password",
        f"{ETCDCTL} --user=root user passwd me",
    ),
    (errors.Unauthenticated(URL, 3, "m"), PLAIN, "auth.required", f"{ETCDCTL} --user=root user add"),
    (errors.Unauthenticated(URL, 16, "m"), WITH_USER, "auth.failed", "jwt"),
    (errors.PermissionDenied(URL, 7, "m"), WITH_USER, "auth.permission_denied", "root user get me --detail"),
    (errors.Unavailable(URL, 14, "m"), PLAIN, "gateway.unavailable", "log"),
    (
        errors.Unavailable(URL, 14, "etcdserver: no leader"),
        PLAIN,
        "etcd.no_leader",
        f"{ETCDCTL} endpoint status",
    ),
    (errors.NoSpace(URL, 8, "m"), PLAIN, "etcd.alarm", f"{ETCDCTL} alarm disarm"),
    (errors.MessageTooLarge(URL, 8, "m"), PLAIN, "gateway.message_limit_key", "3.4.17"),
    (errors.EtcdError(URL, 2, "m"), PLAIN, "range.failed", "log"),
    (errors.CredentialsUnusable(URL, "m"), PLAIN, "config.invalid", "syncd check"),
    (FILE_UNUSABLE, PLAIN, "file.empty", "write it again"),
]


@pytest.mark.parametrize(("error", "etcd", "code", "cure"), ERRORS)
def test_each_error_has_its_code(error: GatewayError, etcd: Etcd, code: str, cure: str) -> None:
    """With the endpoint, what was said, and what helps."""
    finding = explain(error, etcd)
    assert finding.code == code
    assert finding.subject == ("/c.pem" if error is FILE_UNUSABLE else URL)
    assert finding.level == ("warning" if code == "etcd.alarm" else "error")
    assert cure
    assert cure in finding.cure
    assert URL not in finding.seen


def test_every_kind_of_error_is_in_the_table() -> None:
    """None is forgotten: those that are only ever a part of a read are told by it."""
    kinds = {
        kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, GatewayError)
    }
    told = {type(error) for error, *_ in ERRORS}
    decided_elsewhere = {GatewayError, errors.Compacted, errors.FutureRevision, errors.AnswerTooLong}
    assert kinds - told == decided_elsewhere


def test_what_is_found_wrong_comes_with_a_cure() -> None:
    """Wherever that is: no finding that is an error or a warning is made without one."""
    for file in (ROOT / "syncd").rglob("*.py"):
        for call in ast.walk(ast.parse(file.read_text())):
            match call:
                case ast.Call(ast.Name("found"), [ast.Constant(str() as code), _, _, *cure]):
                    wrong = CATALOGUE[code].level in {"error", "warning"}
                    assert not wrong or (cure and ast.unparse(cure[0]) != "''"), (
                        f"{file}:{call.lineno}: {code}"
                    )


def test_a_cure_reaches_etcd_as_syncd_does() -> None:
    """With the certificates and as root where that is needed, whatever stands in the files' names."""
    files = TLS(ca_file=Path("/ca.pem"), cert_file=Path("/c.pem"), key_file=Path("/it's.key"))
    etcd = Etcd(endpoints=(URL, "https://etcd-2:2379"), user="me", password_file=Path("/password"), tls=files)
    cure = explain(errors.NoSpace(URL, 8, "m"), etcd).cure
    start = (
        f"  ETCDCTL_API=3 etcdctl --endpoints={URL},https://etcd-2:2379 --cacert=/ca.pem --cert=/c.pem "
        """--key='/it'"'"'s.key' --user=root """
    )
    assert [line.removeprefix(start) for line in cure.splitlines()[1:]] == [
        "endpoint status --write-out=json",
        "compact REVISION",
        "defrag",
        "alarm disarm",
    ]


@pytest.mark.parametrize(
    ("keys", "arguments"),
    [
        (prefix_range(b"/a b/"), "--prefix=true read '/a b/'"),
        (prefix_range(b""), "--prefix=true read ''"),
        (KeyRange(b"/one"), "read /one"),
        (KeyRange(b"/a", b"/c"), "read /a /c"),
        (KeyRange(b"/a", TO_THE_END), "--from-key=true read /a"),
    ],
)
def test_what_grants_a_range(keys: KeyRange, arguments: str) -> None:
    """The command for each kind of range, to be pasted into a shell."""
    finding = explain(errors.PermissionDenied(URL, 7, "m"), WITH_USER, keys)
    assert f"role grant-permission ROLE {arguments}" in finding.cure
    assert keys.name in finding.subject or not keys.name
