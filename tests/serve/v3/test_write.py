"""What changes something: refused, or passed on to etcd as it was understood."""

from __future__ import annotations

import json
from base64 import b64encode
from http.client import HTTPConnection
from typing import Any

import pytest

from syncd.keyrange import prefix_range
from syncd.serve import Access, Rule
from syncd.serve.v3 import write
from tests.serve.local import Answer, connected, wait_until
from tests.serve.stand import Kept, Stand, Unanswered, serving
from tests.serve.v3.posting import post

WRITTEN = (200, b'{"header":{"revision":"10"}}')
NOT_PASSED_ON = ("/kv/compaction", "/maintenance/snapshot", "/auth/enable", "/auth/user/add", "/lock/lock")
PASSED_ON = (
    "/kv/put",
    "/kv/deleterange",
    "/lease/grant",
    "/lease/keepalive",
    "/lease/revoke",
    "/kv/lease/leases",
)
PUT: dict[str, Any] = {"success": [{"request_put": {"key": "L2E=", "value": "MQ=="}}]}


def b64(text: str) -> str:
    """As a key or value stands in JSON."""
    return b64encode(text.encode()).decode()


@pytest.fixture
def through(stand: Stand) -> Stand:
    """A server of `/` that passes on, to an etcd that is at the mirror's revision."""
    stand.context.write_through = True
    stand.upstream.answer = WRITTEN
    return stand


def refusal(answer: Answer) -> tuple[int, int]:
    """Status and code of one, which has a message."""
    assert answer.json["message"]
    return answer.status, answer.json["code"]


@pytest.mark.parametrize("prefix", ["/v3", "/v3beta"])
def test_off_by_default(stand: Stand, prefix: str) -> None:
    """Every call that changes something is refused, whatever it says; etcd hears nothing."""
    for call in (*PASSED_ON, *NOT_PASSED_ON):
        assert refusal(post(stand.socket, call, b"x", prefix)) == (501, 12), call
    answer = post(stand.socket, "/kv/txn", PUT, prefix)
    assert refusal(answer) == (501, 12)
    assert "serve.write_through" in answer.json["message"]
    assert not stand.upstream.calls


def test_what_is_never_passed_on(through: Stand) -> None:
    """What is about etcd itself stays refused."""
    for call in NOT_PASSED_ON:
        assert refusal(post(through.socket, call)) == (501, 12), call
    assert not through.upstream.calls


def test_put(through: Stand) -> None:
    """It is written anew: of what nobody knows, nothing goes to etcd; its answer comes back as it is."""
    answer = post(
        through.socket, "/kv/put", {"key": b64("/a"), "value": b64("1"), "prevKv": True, "bogus": 1}
    )
    assert (answer.status, answer.body) == WRITTEN
    [(path, sent)] = through.upstream.calls
    assert path == "/kv/put"
    assert json.loads(sent) == {"key": b64("/a"), "value": b64("1"), "prev_kv": True}


def test_two_names_for_one_field(through: Stand) -> None:
    """Whichever of them another parser would take: the request is refused."""
    elsewhere = b64("elsewhere").encode()
    for body in (
        b'{"key":"L2E=","key":"%b"}' % elsewhere,
        b'{"range_end":"L2I=","rangeEnd":"%b"}' % elsewhere,
    ):
        assert refusal(post(through.socket, "/kv/deleterange", body)) == (400, 3)
    assert not through.upstream.calls


def test_a_transaction(through: Stand) -> None:
    """All of it goes to etcd, nested ones and compares with zero, too."""
    asked = {
        "compare": [{"target": "VERSION", "key": b64("/a"), "version": "0", "result": "GREATER"}],
        "success": [{"request_txn": PUT}, {"request_range": {"key": b64("/b"), "limit": 5}}],
        "failure": [{"request_delete_range": {"key": b64("/"), "range_end": b64("0")}}],
    }
    assert post(through.socket, "/kv/txn", asked).status == 200
    [(path, sent)] = through.upstream.calls
    assert path == "/kv/txn"
    assert json.loads(sent) == {
        "compare": [{"key": b64("/a"), "version": 0, "result": 1}],
        "success": asked["success"],
        "failure": asked["failure"],
    }


def test_a_transaction_that_reads(through: Stand) -> None:
    """It is answered here, whether writes are passed on or not."""
    through.source.etcd = 10
    asked = {"success": [{"request_range": {"key": b64("/a")}}]}
    answer = post(through.socket, "/kv/txn", asked)
    assert answer.json["responses"][0]["response_range"]["count"] == "1"
    assert not through.upstream.calls


def test_what_would_kill_etcd(through: Stand) -> None:
    """3.5.16 dies of a sort target that there is not; it does not get to see it."""
    asked = {"success": [*PUT["success"], {"request_range": {"key": b64("/a"), "sort_target": 5}}]}
    assert refusal(post(through.socket, "/kv/txn", asked)) == (400, 3)
    assert not through.upstream.calls


@pytest.mark.parametrize(
    ("call", "body"),
    [
        ("/kv/put", {"key": b64("elsewhere")}),
        ("/kv/deleterange", {"key": b64("/a"), "range_end": "AA=="}),
        ("/kv/txn", {"success": [{"request_put": {"key": b64("elsewhere")}}]}),
        ("/kv/txn", {**PUT, "compare": [{"key": b64("elsewhere")}]}),
        ("/kv/txn", {**PUT, "failure": [{"request_range": {"key": b64("elsewhere")}}]}),
        (
            "/kv/txn",
            {**PUT, "failure": [{"request_txn": {"success": [{"request_delete_range": {"key": "QQ=="}}]}}]},
        ),
    ],
)
def test_keys_that_are_not_mirrored(through: Stand, call: str, body: dict[str, Any]) -> None:
    """Whatever names one is refused as a whole, and etcd hears nothing."""
    assert refusal(post(through.socket, call, body)) == (400, 9)
    assert not through.upstream.calls


@pytest.mark.parametrize("call", ["/kv/put", "/kv/deleterange"])
def test_no_key(through: Stand, call: str) -> None:
    """In etcd's words."""
    answer = post(through.socket, call, {})
    assert refusal(answer) == (400, 3)
    assert answer.json["message"] == "etcdserver: key is not provided"


@pytest.fixture
def forbidden(through: Stand) -> Stand:
    """Nobody but uid 12345 may read below /b, and this process passes for nobody in particular."""
    through.context.access = Access([Rule((b"/",)), Rule((b"/b",), users=frozenset((12345,)))])
    return through


def test_keys_that_may_not_be_read(forbidden: Stand, monkeypatch: pytest.MonkeyPatch) -> None:
    """What may not be read may not be written, deleted or compared, nor touched by the lease that it has."""
    monkeypatch.setattr("syncd.serve.peer.Peer.runs_the_daemon", False)
    for call, body in (
        ("/kv/put", {"key": b64("/b")}),
        ("/kv/deleterange", {"key": b64("/a"), "range_end": b64("/c")}),
        ("/kv/txn", {**PUT, "compare": [{"key": b64("/b1")}]}),
        ("/lease/leases", {}),
    ):
        assert refusal(post(forbidden.socket, call, body)) == (403, 7), call
    assert not forbidden.upstream.calls
    forbidden.upstream.answer = (200, json.dumps({"ID": "7", "keys": [b64("/a"), b64("/b")]}).encode())
    for call in ("/lease/revoke", "/kv/lease/revoke", "/lease/timetolive", "/lease/keepalive"):
        assert refusal(post(forbidden.socket, call, {"ID": 7})) == (403, 7), call
    assert {path for path, _ in forbidden.upstream.calls} == {"/kv/lease/timetolive"}
    assert post(forbidden.socket, "/kv/put", {"key": b64("/a")}).status == 200


def test_revoking_a_lease(through: Stand) -> None:
    """Its keys are looked at first: they go with it."""
    through.upstream.answer = (200, json.dumps({"header": {"revision": "10"}, "keys": [b64("/a")]}).encode())
    assert post(through.socket, "/lease/revoke", {"ID": "7"}).status == 200
    assert [(path, json.loads(body)) for path, body in through.upstream.calls] == [
        ("/kv/lease/timetolive", {"ID": 7, "keys": True}),
        ("/kv/lease/revoke", {"ID": 7}),
    ]


def test_other_calls_of_leases(through: Stand) -> None:
    """They go to etcd as they are, where each version has them."""
    for call, body, at in (
        ("/lease/grant", {"TTL": 5, "ID": 7}, "/lease/grant"),
        ("/lease/keepalive", {"ID": 7}, "/lease/keepalive"),
        ("/lease/leases", {}, "/kv/lease/leases"),
        ("/kv/lease/leases", {}, "/kv/lease/leases"),
    ):
        assert post(through.socket, call, body).status == 200
        path, sent = through.upstream.calls[-1]
        assert (path, json.loads(sent)) == (at, body)


def test_it_waits_for_the_mirror(through: Stand) -> None:
    """The answer comes when what was written can be read."""
    through.upstream.answer = (200, b'{"header":{"revision":"11"}}')
    connection = HTTPConnection("localhost")
    connection.sock = connected(through.socket)
    connection.request("POST", "/v3/kv/put", json.dumps({"key": b64("/a")}))
    try:
        wait_until(lambda: through.source.hurried, "somebody waits")
        connection.sock.settimeout(0.05)
        with pytest.raises(TimeoutError):
            connection.sock.recv(1)
        connection.sock.settimeout(30)
        through.write((b"/a", b""))
        assert connection.getresponse().status == 200
    finally:
        connection.close()


def test_it_does_not_wait_for_ever(through: Stand, monkeypatch: pytest.MonkeyPatch) -> None:
    """It was written, so it is no failure that the mirror has not seen it."""
    monkeypatch.setattr(write, "SEEN", 0.01)
    through.upstream.answer = (200, b'{"header":{"revision":"99"}}')
    assert post(through.socket, "/kv/put", {"key": b64("/a")}).status == 200


def test_what_etcd_refuses(through: Stand) -> None:
    """Its own words come back."""
    through.upstream.answer = (403, b'{"code":7, "message":"etcdserver: permission denied"}')
    answer = post(through.socket, "/kv/put", {"key": b64("/a")})
    assert (answer.status, answer.body) == through.upstream.answer


@pytest.mark.parametrize(
    "page", [b"<html>502 Bad Gateway</html>", b"", b"[]", b'{"header":{"revision":"x"}}']
)
def test_what_is_not_etcds(through: Stand, page: bytes) -> None:
    """A proxy's page is no answer."""
    through.upstream.answer = (502, page)
    assert refusal(post(through.socket, "/kv/put", {"key": b64("/a")})) == (503, 14)


def test_without_an_answer(through: Stand) -> None:
    """Nobody knows whether it was done, so it is not tried again."""
    through.upstream.answer = Unanswered("the cable is cut")
    answer = post(through.socket, "/kv/put", {"key": b64("/a")})
    assert refusal(answer) == (503, 14)
    assert "may have done it, or not: the cable is cut" in answer.json["message"]
    assert len(through.upstream.calls) == 1


def test_two_ranges() -> None:
    """A transaction may write to several; it is answered when all of them have seen it."""
    ranges = [Kept(prefix_range(name)) for name in (b"/a", b"/b")]
    for each in ranges:
        each.fill({}, 10)
    with serving(*ranges) as stand:
        stand.context.write_through = True
        stand.upstream.answer = WRITTEN
        puts = [{"request_put": {"key": b64(key)}} for key in ("/a", "/b")]
        assert post(stand.socket, "/kv/txn", {"success": puts}).status == 200


def test_a_large_value(through: Stand) -> None:
    """What etcd may take is passed on; what it never takes is not read to its end."""
    value = b64("x" * (3 << 19))
    assert post(through.socket, "/kv/put", {"key": b64("/a"), "value": value}).status == 200
    assert refusal(post(through.socket, "/kv/put", {"key": b64("/a"), "value": value * 3})) == (429, 8)
    assert len(through.upstream.calls) == 1
