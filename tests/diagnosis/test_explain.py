"""What errors say by themselves, in a table."""

from __future__ import annotations

from pathlib import Path

import pytest

from syncd.config import TLS, Etcd
from syncd.diagnosis.explain import explain
from syncd.gateway import errors
from syncd.gateway.errors import GatewayError
from syncd.keyrange import TO_THE_END, KeyRange, prefix_range

URL = "https://etcd-1:2379"
PLAIN = Etcd(endpoints=(URL,))
WITH_CERTIFICATE = Etcd(endpoints=(URL,), tls=TLS(cert_file=Path("/c.pem"), key_file=Path("/it's.key")))
WITH_USER = Etcd(endpoints=(URL,), user="me", password_file=Path("/password"))
WITH_PREFIX = Etcd(endpoints=(URL,), api_prefix="/v3")

FILE_UNUSABLE = errors.FileUnusable(URL, "m", code="file.empty", path=Path("/c.pem"), cure="write it again")

ERRORS: list[tuple[GatewayError, Etcd, str, str]] = [
    (errors.Unreachable(URL, "m", "unresolved"), PLAIN, "dns.unresolved", "/etc/hosts"),
    (errors.Unreachable(URL, "m", "refused"), PLAIN, "tcp.refused", "start etcd"),
    (errors.Unreachable(URL, "m", "late"), PLAIN, "tcp.timeout", "firewall"),
    (errors.Unreachable(URL, "m", "no route"), PLAIN, "tcp.unreachable", "ip route get"),
    (errors.Unreachable(URL, "m", "no tls"), PLAIN, "tls.handshake_failed", "openssl s_client"),
    (errors.Unreachable(URL, "m"), PLAIN, "gateway.cut", "log"),
    (errors.Dropped(URL, "m"), PLAIN, "gateway.cut", "log"),
    (errors.NoAnswer(URL, "m"), PLAIN, "gateway.timeout", "etcdctl endpoint status"),
    (errors.MalformedAnswer(URL, "m"), PLAIN, "gateway.malformed", "proxy"),
    (errors.NoGateway(URL, "m"), PLAIN, "gateway.missing", "--enable-grpc-gateway"),
    (errors.NoGateway(URL, "m"), WITH_PREFIX, "gateway.wrong_prefix", "etcd.api_prefix: auto"),
    (errors.Untrusted(URL, "m", 10), PLAIN, "tls.server_cert_expired", ""),
    (errors.Untrusted(URL, "m", 9), PLAIN, "tls.server_cert_not_yet_valid", ""),
    (errors.Untrusted(URL, "m", 62), PLAIN, "tls.server_cert_wrong_name", ""),
    (errors.Untrusted(URL, "m", 64), PLAIN, "tls.server_cert_wrong_name", ""),
    (errors.Untrusted(URL, "m", 20), PLAIN, "tls.server_cert_untrusted", ""),
    (errors.CertificateRefused(URL, "m"), PLAIN, "tls.client_cert_missing", "etcd.tls.cert_file"),
    (errors.CertificateRefused(URL, "m"), WITH_CERTIFICATE, "tls.client_cert_refused", ""),
    (
        errors.CommonNameRefused(URL, "m"),
        WITH_CERTIFICATE,
        "auth.client_cert_common_name",
        """-key '/it'"'"'s.key' """,
    ),
    (errors.WrongPassword(URL, "m"), WITH_USER, "auth.wrong_password", "etcdctl --user=root user passwd me"),
    (errors.Unauthenticated(URL, 3, "m"), PLAIN, "auth.required", "etcdctl --user=root user add"),
    (errors.Unauthenticated(URL, 16, "m"), WITH_USER, "auth.failed", "jwt"),
    (errors.PermissionDenied(URL, 7, "m"), WITH_USER, "auth.permission_denied", "user get me --detail"),
    (errors.Unavailable(URL, 14, "m"), PLAIN, "gateway.unavailable", "log"),
    (errors.Unavailable(URL, 14, "etcdserver: no leader"), PLAIN, "etcd.no_leader", "endpoint status"),
    (errors.NoSpace(URL, 8, "m"), PLAIN, "etcd.alarm", "alarm disarm"),
    (errors.MessageTooLarge(URL, 8, "m"), PLAIN, "gateway.message_limit_key", "3.4.17"),
    (errors.EtcdError(URL, 2, "m"), PLAIN, "range.failed", "log"),
    (errors.CredentialsUnusable(URL, "m"), PLAIN, "config.invalid", ""),
    (FILE_UNUSABLE, PLAIN, "file.empty", "write it again"),
]


@pytest.mark.parametrize(("error", "etcd", "code", "cure"), ERRORS)
def test_each_error_has_its_code(error: GatewayError, etcd: Etcd, code: str, cure: str) -> None:
    """With the endpoint, what was said, and what helps."""
    finding = explain(error, etcd)
    assert finding.code == code
    assert finding.subject == ("/c.pem" if error is FILE_UNUSABLE else URL)
    assert finding.level == ("warning" if code == "etcd.alarm" else "error")
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
