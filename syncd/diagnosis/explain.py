"""What an error of the gateway says by itself. Pure.

What cannot be told from an error alone (why is a certificate refused?) gets the code of its kind here, and a
closer one when the endpoint has been looked at (look.py, tls.py).
"""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

from syncd.config import Etcd
from syncd.config.files import in_shell
from syncd.diagnosis.catalogue import found
from syncd.findings import Finding
from syncd.gateway.errors import (
    CertificateRefused,
    CommonNameRefused,
    CredentialsUnusable,
    FileUnusable,
    GatewayError,
    MalformedAnswer,
    MessageTooLarge,
    NoAnswer,
    NoGateway,
    NoSpace,
    PermissionDenied,
    Unauthenticated,
    Unavailable,
    Unreachable,
    Untrusted,
    Why,
    WrongPassword,
)
from syncd.keyrange import KeyRange, prefix_range

_NO_CONNECTION: dict[Why, tuple[str, str]] = {
    "unresolved": ("dns.unresolved", "correct the name in etcd.endpoints, or add it to DNS or /etc/hosts"),
    "refused": ("tcp.refused", "start etcd, or correct the port in etcd.endpoints (--listen-client-urls)"),
    "late": ("tcp.timeout", "see whether the host is up and the port is open in every firewall on the way"),
    "no route": ("tcp.unreachable", "see the way to the host:\n  ip route get ADDRESS"),
    "no tls": ("tls.handshake_failed", "see what answers there:\n  openssl s_client -connect HOST:PORT"),
    "lost": ("gateway.cut", "etcd's own log may tell why; so may that of a proxy on the way"),
}

_VERIFY = {
    9: "tls.server_cert_not_yet_valid",
    10: "tls.server_cert_expired",
    62: "tls.server_cert_wrong_name",
    64: "tls.server_cert_wrong_name",
}
"""OpenSSL's X509_V_ERR_… (x509_vfy.h); whatever else fails to be verified is not trusted."""


def explain(error: GatewayError, etcd: Etcd, keys: KeyRange | None = None) -> Finding:
    """The finding that `error` is; `keys` is the range that was asked for, if it was one."""
    for kind, finding in _EXPLANATIONS:
        if isinstance(error, kind):
            return finding(error, etcd, keys)
    return found("range.failed", _where(error, keys), error.message, "see etcd's own log at that moment")


def _where(error: GatewayError, keys: KeyRange | None) -> str:
    return f"{error.endpoint} {keys.name or '(all keys)'}" if keys else error.endpoint


def _untrusted(error: Untrusted, _: Etcd, __: KeyRange | None) -> Finding:
    return found(_VERIFY.get(error.verify_code, "tls.server_cert_untrusted"), error.endpoint, error.message)


def _refused(error: CertificateRefused, etcd: Etcd, _: KeyRange | None) -> Finding:
    if etcd.tls.cert_file is None:
        return found("tls.client_cert_missing", error.endpoint, error.message, SET_CERTIFICATE)
    return found("tls.client_cert_refused", error.endpoint, error.message)


SET_CERTIFICATE = (
    "set etcd.tls.cert_file and etcd.tls.key_file to a certificate that is signed by the CA in etcd's "
    "--trusted-ca-file, may be used by clients, and has no CommonName if etcd has authentication on"
)


def _common_name(error: CommonNameRefused, etcd: Etcd, _: KeyRange | None) -> Finding:
    return found(
        "auth.client_cert_common_name",
        error.endpoint,
        f"etcd refuses {etcd.tls.cert_file or 'the certificate'}: it has a CommonName",
        "have one issued without a CN; its request is made by\n"
        f"  openssl req -new -key {_word(etcd.tls.key_file)} -subj /O=syncd "
        '-addext "extendedKeyUsage=clientAuth" -out syncd.csr',
    )


def _password(error: WrongPassword, etcd: Etcd, _: KeyRange | None) -> Finding:
    return found(
        "auth.wrong_password",
        error.endpoint,
        f"etcd refuses the password of user {etcd.user!r}",
        f"write the right one into {_word(etcd.password_file)}; or give the user another one:\n"
        f"  etcdctl --user=root user passwd {shlex.quote(etcd.user or '')}",
    )


def _file(error: FileUnusable, _: Etcd, __: KeyRange | None) -> Finding:
    return found(error.code, str(error.path), error.message, error.cure)


def _unusable(error: CredentialsUnusable, _: Etcd, __: KeyRange | None) -> Finding:
    return found("config.invalid", error.endpoint, error.message)


def _unauthenticated(error: Unauthenticated, etcd: Etcd, _: KeyRange | None) -> Finding:
    if etcd.user is None:
        return found(
            "auth.required",
            error.endpoint,
            error.message,
            "set etcd.user and etcd.password_file; a user that may read a prefix is made by\n"
            "  etcdctl --user=root user add syncd\n"
            "  etcdctl --user=root role add syncd\n"
            "  etcdctl --user=root role grant-permission syncd --prefix=true read PREFIX\n"
            "  etcdctl --user=root user grant-role syncd syncd",
        )
    return found(
        "auth.failed",
        error.endpoint,
        error.message,
        "with --auth-token=jwt, see that all members have the same keys, and that their clocks agree",
    )


def _denied(error: PermissionDenied, etcd: Etcd, keys: KeyRange | None) -> Finding:
    user = shlex.quote(etcd.user) if etcd.user else "USER"
    return found(
        "auth.permission_denied",
        _where(error, keys),
        f"user {etcd.user!r}: {error.message}",
        "see which roles the user has, and let one of them read the range:\n"
        f"  etcdctl --user=root user get {user} --detail\n"
        f"  etcdctl --user=root role grant-permission ROLE {_grant(keys)}",
    )


def _grant(keys: KeyRange | None) -> str:
    """The arguments of etcdctl that give the right to read `keys`."""
    if keys is None:
        return "--prefix=true read PREFIX"
    start = shlex.quote(keys.key.decode("utf-8", "backslashreplace"))
    if not keys.range_end:
        return f"read {start}"
    if keys == prefix_range(b""):
        return "--prefix=true read ''"
    if keys == prefix_range(keys.key):
        return f"--prefix=true read {start}"
    if keys.stop is None:
        return f"--from-key=true read {start}"
    return f"read {start} {shlex.quote(keys.range_end.decode('utf-8', 'backslashreplace'))}"


def _no_gateway(error: NoGateway, etcd: Etcd, _: KeyRange | None) -> Finding:
    if etcd.api_prefix != "auto":
        return found("gateway.wrong_prefix", error.endpoint, error.message, "set etcd.api_prefix: auto")
    return found(
        "gateway.missing",
        error.endpoint,
        error.message,
        "use etcd's client URL (--listen-client-urls), not that of its peers or metrics; see that etcd runs "
        "without --enable-grpc-gateway=false, and that a proxy on the way passes /v3/ on",
    )


def _silent(error: NoAnswer, _: Etcd, keys: KeyRange | None) -> Finding:
    return found(
        "gateway.timeout",
        _where(error, keys),
        error.message,
        SEE_ETCD,
    )


SEE_ETCD = "see how etcd is doing; its log names slow disks:\n  etcdctl endpoint status --cluster"


def _unreachable(error: Unreachable, _: Etcd, __: KeyRange | None) -> Finding:
    code, cure = _NO_CONNECTION[error.why]
    return found(code, error.endpoint, error.message, cure)


def _no_space(error: NoSpace, _: Etcd, __: KeyRange | None) -> Finding:
    cure = NO_SPACE.format(etcdctl="etcdctl", now="REVISION")
    return found("etcd.alarm", error.endpoint, error.message, cure)


NO_SPACE = (
    "raise --quota-backend-bytes; or forget history, such as all before now, and free its space. Then let "
    "etcd write again:\n"
    "  {etcdctl} compact {now}\n"
    "  {etcdctl} defrag\n"
    "  {etcdctl} alarm disarm"
)
"""`etcdctl` with its arguments, and etcd's revision `now`, are to be filled in."""


def _unavailable(error: Unavailable, _: Etcd, __: KeyRange | None) -> Finding:
    if "no leader" in error.message:
        return found("etcd.no_leader", error.endpoint, error.message, NO_LEADER)
    return found("gateway.unavailable", error.endpoint, error.message, "see etcd's own log at that moment")


NO_LEADER = (
    "start the members that are down, and see that they reach each other's peer URLs:\n"
    "  etcdctl endpoint status --cluster"
)


def _too_large(error: MessageTooLarge, _: Etcd, keys: KeyRange | None) -> Finding:
    return found(
        "gateway.message_limit_key",
        _where(error, keys),
        error.message,
        "upgrade etcd to 3.4.17 or later, or split the value",
    )


def _malformed(error: MalformedAnswer, _: Etcd, keys: KeyRange | None) -> Finding:
    return found(
        "gateway.malformed",
        _where(error, keys),
        error.message,
        "see that etcd.endpoints name etcd itself, and what a proxy on the way makes of its answers",
    )


def _word(path: Path | None) -> str:
    return in_shell(path) if path else "FILE"


_EXPLANATIONS: tuple[tuple[type[GatewayError], Callable[[Any, Etcd, KeyRange | None], Finding]], ...] = (
    # What is more special comes first.
    (Untrusted, _untrusted),
    (CertificateRefused, _refused),
    (CommonNameRefused, _common_name),
    (WrongPassword, _password),
    (FileUnusable, _file),
    (CredentialsUnusable, _unusable),
    (NoAnswer, _silent),
    (Unreachable, _unreachable),
    (Unauthenticated, _unauthenticated),
    (PermissionDenied, _denied),
    (NoSpace, _no_space),
    (Unavailable, _unavailable),
    (MessageTooLarge, _too_large),
    (NoGateway, _no_gateway),
    (MalformedAnswer, _malformed),
)
