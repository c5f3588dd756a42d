"""Every way in which etcd, or the road to it, can fail.

    GatewayError
    ├── Unreachable          no connection, or a lost one: try again, perhaps elsewhere
    │   ├── NoAnswer         … or no answer in time
    │   └── Dropped          … or it was closed instead of an answer
    ├── MalformedAnswer      what came back is not what a gateway says
    ├── NoGateway            something answers there, but it is not etcd's gateway
    ├── CredentialsUnusable  the certificates, key or password of the configuration cannot be used
    │   ├── FileUnusable        … for what is in their file
    │   ├── Untrusted           … or this endpoint's certificate: another's may be good
    │   ├── CertificateRefused  … or etcd demands a certificate, or refuses ours
    │   ├── CommonNameRefused   … or its gateway does, as the certificate has a name
    │   └── WrongPassword
    └── EtcdError            etcd answered with an error of its own (gRPC code and message)
        ├── Compacted        the revision asked for is gone
        ├── FutureRevision   the revision asked for is not there yet: another history, or a lagging member
        ├── MessageTooLarge  the answer passed a size limit, gRPC's 4 MiB above all
        │   └── AnswerTooLong  … or ours
        ├── Unauthenticated  the token is missing, bad or expired
        ├── PermissionDenied the user may not read this
        ├── NoSpace          its disk quota is used up, and it takes nothing but plain reads
        └── Unavailable      no leader, shutting down, overloaded: try again

Facts about shapes and texts: gateway.md, seen on 3.3.25 to 3.5.30.
"""

from __future__ import annotations

from enum import IntEnum
from pathlib import Path
from typing import Literal

import msgspec

from syncd.errors import SyncdError


class Code(IntEnum):
    """The gRPC status codes that decide something here."""

    CANCELED = 1
    UNKNOWN = 2
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    OUT_OF_RANGE = 11
    UNAVAILABLE = 14
    UNAUTHENTICATED = 16


TEXT_LIMIT = 1000
"""Characters of an error's text: the log and the status repeat it, and a broken server may send megabytes."""


class GatewayError(SyncdError):
    """Something failed at or on the way to `endpoint` (a URL)."""

    def __init__(self, endpoint: str, message: str) -> None:
        if len(message) > TEXT_LIMIT:
            message = message[:TEXT_LIMIT] + "…"
        super().__init__(f"{endpoint}: {message}")
        self.endpoint = endpoint
        self.message = message


Why = Literal["unresolved", "refused", "late", "no route", "no tls", "lost", "proxy"]
"""Why there is no connection: no address for the name, nobody listens, nothing came back, there is no way, no
handshake; or there was one, or there is none behind the proxy that answers."""


class Unreachable(GatewayError):
    """There is no connection, it was lost, or no answer came in time."""

    def __init__(self, endpoint: str, message: str, why: Why = "lost") -> None:
        super().__init__(endpoint, message)
        self.why = why


class NoAnswer(Unreachable):
    """Nothing came in time."""


class Dropped(Unreachable):
    """The connection was closed before any of the answer came.

    So do connections that stood idle; and so etcd 3.4.23 answers, in builds with grpc-gateway before 1.11,
    where it means to refuse (etcd #15256).
    """


class MalformedAnswer(GatewayError):
    """The answer is not what a gateway says; the message tells why."""


class NoGateway(GatewayError):
    """Something answers at the endpoint, but it does not know the gateway's paths."""


class CredentialsUnusable(GatewayError):
    """What syncd shows or trusts is of no use at the endpoint."""


class FileUnusable(CredentialsUnusable):
    """A certificate, key or password file cannot be used.

    `code` is that of a finding about it (`syncd.diagnosis.catalogue`), `cure` how to mend it.
    """

    def __init__(self, endpoint: str, message: str, *, code: str, path: Path, cure: str) -> None:
        super().__init__(endpoint, message)
        self.code = code
        self.path = path
        self.cure = cure


class Untrusted(CredentialsUnusable):
    """The endpoint shows a certificate that is expired, or for other names, or not from the configured CA.

    `verify_code`: which of these, as one of OpenSSL's X509_V_ERR_….
    """

    def __init__(self, endpoint: str, message: str, verify_code: int) -> None:
        super().__init__(endpoint, message)
        self.verify_code = verify_code


class CertificateRefused(CredentialsUnusable):
    """The endpoint ends the handshake with an alert: it demands a client certificate, or refuses ours."""


class CommonNameRefused(CredentialsUnusable):
    """The gateway refuses a client certificate with a CommonName while etcd's authentication is on."""


class WrongPassword(CredentialsUnusable):
    """etcd knows no such user, or that is not its password."""


class EtcdError(GatewayError):
    """etcd's own error; `code` is the gRPC status code."""

    def __init__(self, endpoint: str, code: int, message: str) -> None:
        super().__init__(endpoint, f"{message} (code {code})")
        self.code = code


class Compacted(EtcdError):
    """The revision was compacted away; `revision` is the oldest one left, 0 when etcd did not say."""

    def __init__(self, endpoint: str, message: str, revision: int = 0) -> None:
        super().__init__(endpoint, Code.OUT_OF_RANGE, message)
        self.revision = revision


class FutureRevision(EtcdError):
    """etcd does not have this revision yet."""


class MessageTooLarge(EtcdError):
    """The answer passed a message size limit; ask for less at a time."""


class AnswerTooLong(MessageTooLarge):
    """The answer is larger than expected, and was not read to its end; etcd itself did not mind."""

    def __init__(self, endpoint: str, code: int, message: str, status: int = 200) -> None:
        super().__init__(endpoint, code, message)
        self.status = status


class Unauthenticated(EtcdError):
    """The token is missing, bad, expired or older than the last change of users and roles."""


class PermissionDenied(EtcdError):
    """The user may not read this range."""


class NoSpace(EtcdError):
    """The alarm NOSPACE is raised: etcd refuses writes, and before 3.4.20 and 3.5.7 any transaction."""


class Unavailable(EtcdError):
    """etcd cannot answer now."""


_UNAVAILABLE = (
    Code.UNAVAILABLE,
    Code.CANCELED,  # but not by us: the gateway's own connection to etcd, when that stops (seen on 3.5.30)
    Code.DEADLINE_EXCEEDED,
    Code.RESOURCE_EXHAUSTED,  # other than a message's size: "too many requests"
)
_UNAUTHENTICATED = (
    "user name is empty",
    "invalid auth token",
    "revision of auth store is old",
    "auth: revision in header is old",  # the same, with code 2, from 3.3.25 and 3.5.1
)


def etcd_error(endpoint: str, code: int, message: str) -> EtcdError:
    """The error class for a gRPC code and message.

    Some causes share a code and can only be told apart by the message: compacted and future revision
    are both 11, a missing token is 3, a stopping server may answer 2.
    """
    if "revision has been compacted" in message:
        return Compacted(endpoint, message)
    kind = EtcdError
    if "future revision" in message:
        kind = FutureRevision
    elif code == Code.UNAUTHENTICATED or any(text in message for text in _UNAUTHENTICATED):
        kind = Unauthenticated
    elif code == Code.PERMISSION_DENIED or "permission denied" in message:
        kind = PermissionDenied
    elif code == Code.RESOURCE_EXHAUSTED and "larger than max" in message:
        kind = MessageTooLarge
    elif "space exceeded" in message:
        kind = NoSpace
    elif code in _UNAVAILABLE or "no leader" in message:
        kind = Unavailable
    return kind(endpoint, code, message)


class ErrorDetail(msgspec.Struct):
    """The object that `error` holds inside a stream; 3.6 says `code` where older ones say `grpc_code`."""

    message: str = ""
    grpc_code: int = 0
    code: int = 0


class ErrorBody(msgspec.Struct):
    """All shapes of an error at once: `error` may be a text, an object or absent."""

    error: str | ErrorDetail | None = None
    code: int = 0
    message: str = ""

    def raised_by(self, endpoint: str) -> EtcdError:
        """The error that this body tells of."""
        if isinstance(self.error, ErrorDetail):
            return etcd_error(endpoint, self.error.grpc_code or self.error.code, self.error.message)
        return etcd_error(endpoint, self.code, self.message or self.error or "error without a message")


_error_body = msgspec.json.Decoder(ErrorBody)


def unary_error(endpoint: str, path: str, status: int, body: bytes) -> GatewayError:
    """The error behind a non-200 answer to a unary call on `path`."""
    try:
        answer = _error_body.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        answer = ErrorBody()
    if answer.code or isinstance(answer.error, ErrorDetail):
        return answer.raised_by(endpoint)
    # Not etcd's, which has a code: a proxy's or another server's, JSON or not.
    text = body[:200].decode("utf-8", "replace").strip()
    if status == 404:
        return NoGateway(endpoint, f"{path}: HTTP 404 {text!r}: there is no etcd gateway at this path")
    if "CommonName of client sending a request" in text:
        # Plain text, not JSON; the gateway refuses a certificate with a CN when auth is on.
        return CommonNameRefused(
            endpoint,
            f"the client certificate has a CommonName, which the gateway refuses while etcd's "
            f"authentication is on; use a certificate without a CN ({text})",
        )
    if status in (502, 503, 504):
        return Unreachable(
            endpoint, f"{path}: HTTP {status} {text!r}: that is a proxy's, not etcd's", "proxy"
        )
    return MalformedAnswer(endpoint, f"{path}: HTTP {status} with a body that is not etcd's: {text!r}")
