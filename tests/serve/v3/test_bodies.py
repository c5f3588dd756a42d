"""Requests that cost much: their size, their parts, and how many operations a transaction has in all."""

from __future__ import annotations

import socket
from typing import Any

import pytest

from syncd.serve import Access, Rule
from syncd.serve.budget import Budget
from syncd.serve.v3 import body, kv, ranges, write
from tests.serve.local import Answer, connected, wait_until
from tests.serve.stand import Stand
from tests.serve.v3.posting import post

TXN = "/kv/txn"
PUT: dict[str, Any] = {"request_put": {"key": "L2E="}}
RANGE: dict[str, Any] = {"request_range": {"key": "L2E=", "serializable": True}}
LARGE = b'{"key":"L2E=","value":"' + b"AAAA" * 25_000 + b'"}'


@pytest.fixture
def through(stand: Stand) -> Stand:
    """A server of `/` that passes on, to an etcd that is at the mirror's revision."""
    stand.context.write_through = True
    stand.upstream.answer = (200, b'{"header":{"revision":"10"}}')
    stand.source.etcd = 10
    return stand


def refusal(answer: Answer) -> tuple[int, int]:
    """Status and code of one."""
    return answer.status, answer.json["code"]


def begun(stand: Stand, size: int) -> socket.socket:
    """A connection on which all of a body came but its last byte."""
    connection = connected(stand.socket)
    connection.sendall(b"POST /v3/kv/range HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % (size + 1))
    connection.sendall(b" " * size)
    return connection


def test_large_ones_are_for_writes(stand: Stand) -> None:
    """Where none is passed on, none is read."""
    assert refusal(post(stand.socket, TXN, LARGE)) == (429, 8)


def test_large_ones_are_for_those_with_rights(through: Stand, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever may read no whole range sends small ones."""
    monkeypatch.setattr("syncd.serve.peer.Peer.runs_the_daemon", False)
    assert post(through.socket, "/kv/put", LARGE).status == 200
    through.context.access = Access([Rule((b"/a",))])
    for call in ("/kv/put", TXN):
        assert refusal(post(through.socket, call, LARGE)) == (429, 8)
    assert post(through.socket, "/kv/put", {"key": "L2E="}).status == 200


@pytest.mark.parametrize("part", [b"{}", b"[]", b"1", b'""'])
def test_many_parts(through: Stand, part: bytes) -> None:
    """They are counted before anything is made of them."""
    for field in (b"compare", b"unknown"):
        asked = b'{"%b":[%b]}' % (field, b",".join([part] * body.PARTS))
        answer = post(through.socket, TXN, asked)
        assert refusal(answer) == (400, 3)
        assert "parts" in answer.json["message"]


def test_all_together(through: Stand) -> None:
    """What came of all of them is bounded, for each user, whether they end or not."""
    through.context.bodies = Budget(120_000)
    with begun(through, 50_000):
        wait_until(lambda: through.context.bodies.taken == 50_000, "it came")
        answer = post(through.socket, "/kv/range", b" " * 50_000)
        assert refusal(answer) == (429, 8)
        assert answer.json["message"] == "etcdserver: too many requests"
        assert post(through.socket, "/kv/put", {"key": "L2E="}).status == 200
    wait_until(lambda: not through.context.bodies.taken, "it is given back")
    assert refusal(post(through.socket, "/kv/range", b" " * 50_000)) == (400, 3)
    assert not through.context.bodies.taken


def test_a_write_counts_until_it_is_done(through: Stand, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is kept while etcd has not answered."""
    taken: list[int] = []

    async def call(*asked: Any) -> tuple[int, bytes]:
        del asked
        taken.append(through.context.bodies.taken)
        return 200, b"{}"

    monkeypatch.setattr(through.upstream, "call", call)
    for path in ("/kv/put", "/kv/deleterange"):
        assert post(through.socket, path, b'{"key":"L2E="}').status == 200
    assert post(through.socket, TXN, {"success": [PUT]}).status == 200
    assert taken[:2] == [14, 14]
    assert taken[2] > 14
    assert not through.context.bodies.taken


def nested(count: int, *inner: dict[str, Any]) -> dict[str, Any]:
    """A transaction of so many."""
    return {"success": [{"request_txn": {"success": inner}}] * count}


def test_operations_are_counted_over_all_levels(through: Stand) -> None:
    """128 of them to be read, 1,024 to be passed on; compares and branches beside each other count once."""
    for asked in (
        nested(64, RANGE),
        nested(1, *[RANGE] * 127),
        {"success": [RANGE] * 128, "failure": [RANGE] * 128, "compare": [{"key": "L2E="}] * 128},
        nested(512, PUT),
        {"success": [PUT] * 1024, "failure": [PUT] * 1024, "compare": [{"key": "L2E="}] * 1024},
    ):
        assert post(through.socket, TXN, asked).status == 200
    for asked in (
        nested(65, RANGE),
        nested(64, RANGE, RANGE),
        {"success": nested(64)["success"], "failure": nested(65, RANGE)["success"]},
        {"success": [RANGE] * 129},
        nested(512, PUT, PUT),
        {"failure": [PUT] * 1025},
    ):
        answer = post(through.socket, TXN, asked)
        assert refusal(answer) == (400, 3)
        assert answer.json["message"] == "etcdserver: too many operations in txn request"


@pytest.mark.parametrize("levels", [write.LEVELS, write.LEVELS + 1, 90, 120])
def test_writes_in_depth(through: Stand, levels: int) -> None:
    """As deep as they can be written anew."""
    inner: dict[str, Any] = {"success": [PUT]}
    for _ in range(levels - 1):
        inner = {"success": [{"request_txn": inner}]}
    answer = post(through.socket, TXN, inner)
    if levels <= write.LEVELS:
        assert answer.status == 200
    else:
        assert refusal(answer) == (400, 3)
        assert not through.upstream.calls


@pytest.mark.parametrize("sorting", [{}, {"sort_target": "MOD"}])
def test_others_have_their_turn(
    stand: Stand, monkeypatch: pytest.MonkeyPatch, sorting: dict[str, Any]
) -> None:
    """Between any two reads of a transaction."""
    had: list[int] = []
    seen: list[int] = []

    class Selection(ranges.Selection):
        """Tells whether what else there was to be done was done before it."""

        def __init__(self, *of: Any) -> None:
            super().__init__(*of)
            seen.append(len(had))
            stand.loop.call_soon(had.append, 1)

    monkeypatch.setattr(kv, "Selection", Selection)
    read = {"request_range": {"key": "Lw==", "range_end": "MA==", "serializable": True, **sorting}}
    answer = post(stand.socket, TXN, {"success": [read] * 5})
    assert [each["response_range"]["count"] for each in answer.json["responses"]] == ["3"] * 5
    assert seen == [0, 1, 2, 3, 4]


def test_sorting_in_a_transaction(stand: Stand, monkeypatch: pytest.MonkeyPatch) -> None:
    """All that it sorts is kept, so it is bounded."""
    monkeypatch.setattr(kv, "ORDERED", 8)
    read = {"key": "Lw==", "range_end": "MA==", "serializable": True, "sort_target": "MOD"}
    assert post(stand.socket, TXN, {"success": [{"request_range": read}] * 2}).status == 200
    assert refusal(post(stand.socket, TXN, {"success": [{"request_range": read}] * 3})) == (429, 8)
