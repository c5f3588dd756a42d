"""What an error of the gateway says by itself. Pure.

What cannot be told from an error alone (why is a certificate refused?) gets the code of its kind here, and a
closer one when the endpoint has been looked at (look.py, tls.py, refusal.py).
"""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

from syncd.config import Etcd
from syncd.config.files import in_shell
from syncd.diagnosis.catalogue import found
from syncd.diagnosis.commands import certificates_shown, etcdctl, issued_again
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
    "no tls": ("tls.handshake_failed", "see what answers there:\n  {certificates_shown}"),
    "lost": ("gateway.cut", "etcd's own log may tell why; so may that of a proxy on the way"),
    "proxy": (
        "gateway.unavailable",
        "see whether the etcd is up that the proxy passes requests on to; or name that in etcd.endpoints",
    ),
}

_VERIFY = {
    9: "tls.server_cert_not_yet_valid",
    10: "tls.server_cert_expired",
    26: "tls.server_cert_no_server_auth",
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


def _untrusted(error: Untrusted, etcd: Etcd, _: KeyRange | None) -> Finding:
    code = _VERIFY.get(error.verify_code, "tls.server_cert_untrusted")
    show = certificates_shown(error.endpoint, etcd.tls.server_name or "")
    cure = f"have etcd's certificate mended, or etcd.tls.ca_file; what etcd shows is told by\n  {show}"
    return found(code, error.endpoint, error.message, cure)


def _refused(error: CertificateRefused, etcd: Etcd, _: KeyRange | None) -> Finding:
    if etcd.tls.cert_file is None:
        return found("tls.client_cert_missing", error.endpoint, error.message, SET_CERTIFICATE)
    cure = (
        "etcd's log says why (rejected connection); look at the certificate:\n"
        f"  openssl x509 -in {in_shell(etcd.tls.cert_file)} -noout -subject -issuer -dates"
    )
    return found("tls.client_cert_refused", error.endpoint, error.message, cure)


SET_CERTIFICATE = (
    "set etcd.tls.cert_file and etcd.tls.key_file to a certificate that is signed by the CA in etcd's "
    "--trusted-ca-file, may be used by clients, and has no CommonName if etcd has authentication on"
)


def _common_name(error: CommonNameRefused, etcd: Etcd, _: KeyRange | None) -> Finding:
    return found(
        "auth.client_cert_common_name",
        error.endpoint,
        f"etcd refuses {etcd.tls.cert_file or 'the certificate'}: it has a CommonName",
        "have one issued without a CN, and put it there (syncd reads it anew by itself):\n"
        f"{issued_again(_word(etcd.tls.key_file), 'syncd', 'clientAuth')}",
    )


def _password(error: WrongPassword, etcd: Etcd, _: KeyRange | None) -> Finding:
    return found(
        "auth.wrong_password",
        error.endpoint,
        f"etcd refuses the password of user {etcd.user!r}",
        f"write the right one into {_word(etcd.password_file)}; or give the user another one:\n"
        f"  {_as_root(etcd, error)} user passwd {shlex.quote(etcd.user or '')}",
    )


def _file(error: FileUnusable, _: Etcd, __: KeyRange | None) -> Finding:
    return found(error.code, str(error.path), error.message, error.cure)


def _unusable(error: CredentialsUnusable, _: Etcd, __: KeyRange | None) -> Finding:
    cure = "see which files and users are configured:\n  syncd check -c FILE"
    return found("config.invalid", error.endpoint, error.message, cure)


def _unauthenticated(error: Unauthenticated, etcd: Etcd, _: KeyRange | None) -> Finding:
    if etcd.user is None:
        root = _as_root(etcd, error)
        return found(
            "auth.required",
            error.endpoint,
            error.message,
            "set etcd.user and etcd.password_file; a user that may read a prefix is made by\n"
            f"  {root} user add syncd\n"
            f"  {root} role add syncd\n"
            f"  {root} role grant-permission syncd --prefix=true read PREFIX\n"
            f"  {root} user grant-role syncd syncd",
        )
    return found(
        "auth.failed",
        error.endpoint,
        error.message,
        "with --auth-token=jwt, see that all members have the same keys, and that their clocks agree",
    )


def _denied(error: PermissionDenied, etcd: Etcd, keys: KeyRange | None) -> Finding:
    user, root = shlex.quote(etcd.user) if etcd.user else "USER", _as_root(etcd, error)
    return found(
        "auth.permission_denied",
        _where(error, keys),
        f"user {etcd.user!r}: {error.message}",
        "see which roles the user has, and let one of them read the range:\n"
        f"  {root} user get {user} --detail\n"
        f"  {root} role grant-permission ROLE {_grant(keys)}",
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
        cure = f"set etcd.api_prefix: auto, so that every path is tried. If none is found then, {_CLIENT_URL}"
        return found("gateway.wrong_prefix", error.endpoint, error.message, cure)
    return found("gateway.missing", error.endpoint, error.message, _CLIENT_URL)


_CLIENT_URL = (
    "use etcd's client URL (--listen-client-urls), not that of its peers or metrics; see that etcd runs "
    "without --enable-grpc-gateway=false, and that a proxy on the way passes /v3/ on"
)


def _silent(error: NoAnswer, etcd: Etcd, keys: KeyRange | None) -> Finding:
    return found("gateway.timeout", _where(error, keys), error.message, see_etcd(etcd))


def see_etcd(etcd: Etcd) -> str:
    """The cure when etcd takes too long."""
    return f"see how etcd is doing; its log names slow disks:\n  {etcdctl(etcd)} endpoint status"


def _unreachable(error: Unreachable, etcd: Etcd, _: KeyRange | None) -> Finding:
    code, cure = _NO_CONNECTION[error.why]
    show = certificates_shown(error.endpoint, etcd.tls.server_name or "")
    return found(code, error.endpoint, error.message, cure.format(certificates_shown=show))


def _no_space(error: NoSpace, etcd: Etcd, _: KeyRange | None) -> Finding:
    return found("etcd.alarm", error.endpoint, error.message, no_space(etcdctl(etcd)))


def no_space(etcdctl: str, revision: int | None = None) -> str:
    """The cure of the alarm NOSPACE; `revision`: where etcd is, if that is known."""
    look = "" if revision else f"  {etcdctl} endpoint status --write-out=json\n"
    return (
        "raise --quota-backend-bytes; or forget history, such as all before now, and free its space. Then "
        "let etcd write again:\n"
        f"{look}"
        f"  {etcdctl} compact {revision or 'REVISION'}\n"
        f"  {etcdctl} defrag\n"
        f"  {etcdctl} alarm disarm"
    )


def _unavailable(error: Unavailable, etcd: Etcd, _: KeyRange | None) -> Finding:
    if "no leader" in error.message:
        return found("etcd.no_leader", error.endpoint, error.message, no_leader(etcd))
    return found("gateway.unavailable", error.endpoint, error.message, "see etcd's own log at that moment")


def no_leader(etcd: Etcd) -> str:
    """The cure when members are too few. The list of all members is not to be had then."""
    return (
        "start the members that are down, and see that they reach each other's peer URLs:\n"
        f"  {etcdctl(etcd)} endpoint status"
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


def _as_root(etcd: Etcd, error: GatewayError) -> str:
    return etcdctl(etcd, error.endpoint, root=True)


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
