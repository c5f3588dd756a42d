"""Every shape that etcd gives an error, and what it becomes."""

from __future__ import annotations

import json

import pytest

from syncd.errors import SyncdError
from syncd.gateway.errors import (
    CommonNameRefused,
    Compacted,
    EtcdError,
    FutureRevision,
    GatewayError,
    MalformedAnswer,
    MessageTooLarge,
    NoGateway,
    NoSpace,
    PermissionDenied,
    Unauthenticated,
    Unavailable,
    Unreachable,
    unary_error,
)
from syncd.gateway.messages import watch_result

URL = "http://etcd.example:2379"
HTTP = {
    1: 408,
    2: 500,
    3: 400,
    5: 404,
    7: 403,
    8: 429,
    9: 400,
    11: 400,
    12: 501,
    13: 500,
    14: 503,
    15: 500,
    16: 401,
}

causes = pytest.mark.parametrize(
    ("code", "message", "kind"),
    [
        (11, "etcdserver: mvcc: required revision has been compacted", Compacted),
        (11, "etcdserver: mvcc: required revision is a future revision", FutureRevision),
        (8, "grpc: received message larger than max (20896666 vs. 4194304)", MessageTooLarge),
        (8, "trying to send message larger than max (600000000 vs. 2147483647)", MessageTooLarge),
        (8, "etcdserver: too many requests", Unavailable),
        (3, "etcdserver: user name is empty", Unauthenticated),
        (16, "etcdserver: invalid auth token", Unauthenticated),
        (3, "etcdserver: revision of auth store is old", Unauthenticated),
        (16, "something new about tokens", Unauthenticated),
        (7, "etcdserver: permission denied", PermissionDenied),
        (2, "rpc error: code = PermissionDenied desc = etcdserver: permission denied", PermissionDenied),
        (14, "etcdserver: no leader", Unavailable),
        (1, "grpc: the client connection is closing", Unavailable),
        (14, "transport is closing", Unavailable),
        (14, "etcdserver: request timed out", Unavailable),
        (2, "etcdserver: no leader", Unavailable),
        (8, "etcdserver: mvcc: database space exceeded", NoSpace),
        (14, 'connection error: desc = "transport: authentication handshake failed"', Unavailable),
        (3, "etcdserver: authentication failed, invalid user ID or password", EtcdError),
        (9, "etcdserver: authentication is not enabled", EtcdError),
        (13, "boom", EtcdError),
        (5, "etcdserver: requested lease not found", EtcdError),
    ],
)


@causes
@pytest.mark.parametrize("shape", ["3.3 to 3.5.1", "3.5.16 and later"])
def test_a_unary_error_becomes_its_class(code: int, message: str, kind: type[EtcdError], shape: str) -> None:
    """In both shapes, with the code, etcd's words and the endpoint."""
    body: dict[str, object] = {"code": code, "message": message}
    if shape == "3.3 to 3.5.1":
        body["error"] = message
    error = unary_error(URL, "/v3/kv/range", HTTP[code], json.dumps(body).encode())
    assert type(error) is kind
    assert isinstance(error, EtcdError)
    assert error.code == code
    assert error.endpoint == URL
    assert URL in str(error)
    assert message in str(error)


@causes
@pytest.mark.parametrize("shape", ["3.3 to 3.5", "3.6", "a text alone"])
def test_an_error_in_a_stream_becomes_its_class(
    code: int, message: str, kind: type[EtcdError], shape: str
) -> None:
    """In every shape; a text without a code is judged by the text."""
    detail: object = {"code": code, "message": message}
    if shape == "3.3 to 3.5":
        detail = {"grpc_code": code, "http_code": HTTP[code], "message": message, "http_status": "Whatever"}
    elif shape == "a text alone":
        if "revision" not in message and "permission" not in message:
            return
        detail = message
    with pytest.raises(GatewayError) as caught:
        watch_result(URL, json.dumps({"error": detail}).encode())
    assert type(caught.value) is kind
    assert caught.value.endpoint == URL


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (404, b"404 page not found\n", NoGateway),
        (404, b"<html>nginx</html>", NoGateway),
        (404, b'{"error":"Not Found","path":"/v3/kv/range"}', NoGateway),
        (404, b'{"message":"no Route matched with those values"}', NoGateway),
        (404, b"", NoGateway),
        (502, b"<html>502 Bad Gateway</html>", Unreachable),
        (503, b"no healthy upstream", Unreachable),
        (503, b'{"message":"name resolution failed"}', Unreachable),
        (504, b"", Unreachable),
        (
            400,
            b"CommonName of client sending a request against gateway will be ignored",
            CommonNameRefused,
        ),
        (400, b"<html>The plain HTTP request was sent to HTTPS port</html>", MalformedAnswer),
        (301, b"", MalformedAnswer),
        (403, b"<html>WAF</html>", MalformedAnswer),
        (500, b'{"error": "failed to marshal error message"}', MalformedAnswer),
        (500, b"{}", MalformedAnswer),
        (500, b'{"error":', MalformedAnswer),
        (500, b"null", MalformedAnswer),
        (500, b'["error"]', MalformedAnswer),
        (500, b'{"code":"x"}', MalformedAnswer),
        (500, b"\xff\xfe", MalformedAnswer),
        (500, b'{"error":"\xff"}', MalformedAnswer),
        (500, b'{"x":' + b"[" * 100_000, MalformedAnswer),
        (500, b'{"x":' * 100_000, MalformedAnswer),
    ],
)
def test_what_is_not_etcds_error_is_called_what_it_is(
    status: int, body: bytes, kind: type[GatewayError]
) -> None:
    """A proxy, another server, a broken answer: the status and the beginning of the body are told."""
    error = unary_error(URL, "/v3/kv/range", status, body)
    assert type(error) is kind
    assert error.endpoint == URL
    assert str(status) in str(error) or kind is CommonNameRefused
    assert not isinstance(error, Unreachable) or error.why == "proxy"
    assert len(str(error)) < 600


def test_a_compaction_in_a_stream_tells_what_is_left() -> None:
    """The oldest revision that can still be watched from."""
    with pytest.raises(Compacted, match="1159") as caught:
        watch_result(URL, b'{"result":{"header":{},"canceled":true,"compact_revision":"1159"}}')
    assert caught.value.revision == 1159


@pytest.mark.parametrize(
    ("reason", "kind"),
    [
        ("rpc error: code = PermissionDenied desc = etcdserver: permission denied", PermissionDenied),
        ("etcdserver: no leader", Unavailable),
        ("rpc error: code = Unauthenticated desc = etcdserver: invalid auth token", Unauthenticated),
        ("", EtcdError),
    ],
)
def test_etcd_ending_a_watch_is_an_error(reason: str, kind: type[EtcdError]) -> None:
    """Of the kind that its reason says, also when the watch was only just created."""
    document = {"result": {"header": {}, "created": True, "canceled": True, "cancel_reason": reason}}
    with pytest.raises(EtcdError) as caught:
        watch_result(URL, json.dumps(document).encode())
    assert type(caught.value) is kind


def test_all_errors_have_one_root() -> None:
    """Whoever catches GatewayError has them all, and each names its endpoint first."""
    for kind in (Unreachable, MalformedAnswer, NoGateway, CommonNameRefused):
        error = kind(URL, "it went wrong")
        assert isinstance(error, GatewayError)
        assert isinstance(error, SyncdError)
        assert str(error) == f"{URL}: it went wrong"


def test_an_error_is_told_in_bounds() -> None:
    """What a broken server says for megabytes is not repeated in the log and the status."""
    endless = "etcdserver: permission denied " + "x" * 5_000_000
    for document in (
        {"error": {"message": endless}},
        {"result": {"header": {}, "events": [{"type": endless}]}},
    ):
        with pytest.raises(GatewayError) as caught:
            watch_result(URL, json.dumps(document).encode())
        assert len(str(caught.value)) < 1100
        assert isinstance(caught.value, PermissionDenied if "error" in document else MalformedAnswer)
