"""Leases that are passed on: only for those who may read the keys that they have, or a whole range."""

from __future__ import annotations

import json
from typing import Any

import pytest

from syncd.serve import Access, Rule, Source
from syncd.serve.v3 import leases
from tests.serve.local import Answer
from tests.serve.stand import Stand
from tests.serve.v3.posting import post

TIME_TO_LIVE = "/kv/lease/timetolive"
OF_A_LEASE = ("/lease/keepalive", "/lease/revoke", "/kv/lease/revoke", "/lease/timetolive", TIME_TO_LIVE)


@pytest.fixture
def through(stand: Stand) -> Stand:
    """A server of `/` that passes on, to an etcd whose lease 7 has no keys."""
    stand.context.write_through = True
    stand.upstream.answer = lease()
    return stand


@pytest.fixture
def partly(through: Stand, monkeypatch: pytest.MonkeyPatch) -> Stand:
    """Everybody may read /a, and nobody the whole range."""
    monkeypatch.setattr("syncd.serve.peer.Peer.runs_the_daemon", False)
    through.context.access = Access([Rule((b"/a",))])
    return through


def lease(*keys: str) -> tuple[int, bytes]:
    """etcd's answer about one with these keys, in base64."""
    return 200, json.dumps({"ID": "7", "TTL": "5", **({"keys": keys} if keys else {})}).encode()


def refusal(answer: Answer) -> tuple[int, int]:
    """Status and code of one."""
    return answer.status, answer.json["code"]


def asked(stand: Stand) -> list[tuple[str, Any]]:
    """What etcd heard."""
    return [(path, json.loads(body)) for path, body in stand.upstream.calls]


@pytest.mark.parametrize("call", OF_A_LEASE)
def test_etcd_does_not_tell_its_keys(through: Stand, call: str) -> None:
    """Then nothing is done, as nobody knows what that would touch: etcd's refusal comes back."""
    through.upstream.answer = (503, b'{"code":14,"message":"etcdserver: no leader"}')
    answer = post(through.socket, call, {"ID": 7})
    assert (answer.status, answer.body) == through.upstream.answer
    assert asked(through) == [(TIME_TO_LIVE, {"ID": 7, "keys": True})]


@pytest.mark.parametrize("call", OF_A_LEASE)
def test_without_keys(partly: Stand, call: str) -> None:
    """It is nobody's who may not read a whole range, as he could not have got it here."""
    assert refusal(post(partly.socket, call, {"ID": 7})) == (403, 7)
    assert asked(partly) == [(TIME_TO_LIVE, {"ID": 7, "keys": True})]


@pytest.mark.parametrize("call", OF_A_LEASE)
def test_with_keys_that_may_not_be_read(partly: Stand, call: str) -> None:
    """One of them is enough."""
    partly.upstream.answer = lease("L2E=", "L2I=")
    assert refusal(post(partly.socket, call, {"ID": 7})) == (403, 7)
    assert asked(partly) == [(TIME_TO_LIVE, {"ID": 7, "keys": True})]


@pytest.mark.parametrize("call", OF_A_LEASE)
def test_with_keys_that_may_be_read(partly: Stand, call: str) -> None:
    """Who may read all of them may keep it, revoke it, and ask about it."""
    partly.upstream.answer = lease("L2E=")
    assert post(partly.socket, call, {"ID": 7}).status == 200
    assert asked(partly)[1][1] == {"ID": 7}


def test_very_many_keys(through: Stand, monkeypatch: pytest.MonkeyPatch) -> None:
    """Others have their turn while they are looked at."""
    had: list[int] = []
    seen: list[int] = []
    source = through.context.source

    def looked_at(*of: Any) -> Source:
        seen.append(len(had))
        through.loop.call_soon(had.append, 1)
        return source(*of)

    monkeypatch.setattr(leases, "AT_ONCE", 2)
    monkeypatch.setattr(through.context, "source", looked_at)
    through.upstream.answer = lease(*["L2E="] * 6)
    assert post(through.socket, "/lease/keepalive", {"ID": 7}).status == 200
    assert seen == [0, 0, 2, 2, 4, 4]


def test_granting(partly: Stand) -> None:
    """It takes the right to read a range; etcd does not hear of others."""
    assert refusal(post(partly.socket, "/lease/grant", {"TTL": 5})) == (403, 7)
    assert not partly.upstream.calls
    partly.context.access = Access([Rule((b"/",))])
    assert post(partly.socket, "/lease/grant", {"TTL": 5}).status == 200


def test_its_keys_are_told_if_asked_for(through: Stand) -> None:
    """Those that were looked at; else etcd is asked again, and tells none."""
    through.upstream.answer = lease("L2E=")
    assert post(through.socket, TIME_TO_LIVE, {"ID": 7, "keys": True}).json["keys"] == ["L2E="]
    assert len(through.upstream.calls) == 1
    post(through.socket, TIME_TO_LIVE, {"ID": 7})
    assert asked(through)[1:] == [(TIME_TO_LIVE, {"ID": 7, "keys": True}), (TIME_TO_LIVE, {"ID": 7})]
