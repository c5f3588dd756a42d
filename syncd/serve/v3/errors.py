"""Failures in etcd's words: a gRPC code and a message, as HTTP."""

from __future__ import annotations

from enum import IntEnum

import orjson

from syncd.errors import SyncdError
from syncd.serve.errors import ApiError


class Code(IntEnum):
    """gRPC's, those that are used here."""

    UNKNOWN = 2
    INVALID_ARGUMENT = 3
    NOT_FOUND = 5
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    OUT_OF_RANGE = 11
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14


STATUS = {
    Code.UNKNOWN: 500,
    Code.INVALID_ARGUMENT: 400,
    Code.NOT_FOUND: 404,
    Code.PERMISSION_DENIED: 403,
    Code.RESOURCE_EXHAUSTED: 429,
    Code.FAILED_PRECONDITION: 400,
    Code.OUT_OF_RANGE: 400,
    Code.UNIMPLEMENTED: 501,
    Code.INTERNAL: 500,
    Code.UNAVAILABLE: 503,
}
"""HTTP status of each code, as grpc-gateway has them."""

_LIKE = {
    "bad_request": Code.INVALID_ARGUMENT,
    "forbidden": Code.PERMISSION_DENIED,
    "not_found": Code.NOT_FOUND,
    "not_mirrored": Code.FAILED_PRECONDITION,
    "compacted": Code.OUT_OF_RANGE,
    "internal": Code.INTERNAL,
    "not_ready": Code.UNAVAILABLE,
    "overloaded": Code.RESOURCE_EXHAUSTED,
    "too_stale": Code.UNAVAILABLE,
}


class EtcdError(SyncdError):
    """What etcd would answer, or would if it were a mirror."""

    def __init__(self, code: Code, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.status = STATUS[code]

    @classmethod
    def like(cls, error: ApiError) -> EtcdError:
        """The local API's refusal in etcd's terms."""
        message = "etcdserver: permission denied" if error.code == "forbidden" else f"syncd: {error}"
        return cls(_LIKE[error.code], message)

    def body(self) -> bytes:
        """The answer to a unary call: the shape of 3.5.1, which has what later ones have, too."""
        return orjson.dumps({"error": self.message, "code": int(self.code), "message": self.message})


def compacted() -> EtcdError:
    """The revision asked for is no longer there."""
    return EtcdError(Code.OUT_OF_RANGE, "etcdserver: mvcc: required revision has been compacted")


def too_many() -> EtcdError:
    """So many ask that this was not even begun."""
    return EtcdError(Code.RESOURCE_EXHAUSTED, "etcdserver: too many requests")


def future() -> EtcdError:
    """The revision asked for is not there yet."""
    return EtcdError(Code.OUT_OF_RANGE, "etcdserver: mvcc: required revision is a future revision")
