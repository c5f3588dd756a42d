"""What etcd says of itself, as it says it: status, members, authentication, version, health."""

from __future__ import annotations

import pytest

from syncd.keyrange import prefix_range
from syncd.serve import Member
from syncd.serve.access import Rights
from tests.serve.stand import Kept, Stand, serving
from tests.serve.v3.posting import post

HEADER = {"cluster_id": "14", "member_id": "7", "revision": "10", "raft_term": "2"}
STATUS = {"header": {"cluster_id": "1", "revision": "3"}, "version": "3.5.16", "dbSize": "2", "leader": "7"}
MEMBERS = {"header": {"cluster_id": "1"}, "members": [{"ID": "7", "name": "a", "clientURLs": ["http://e"]}]}


@pytest.mark.parametrize("prefix", ["/v3", "/v3beta"])
def test_status(stand: Stand, prefix: str) -> None:
    """It is etcd's, but how far it is, is how far the mirror is."""
    stand.upstream.says["/maintenance/status"] = STATUS
    answer = post(stand.socket, "/maintenance/status", prefix=prefix)
    assert answer.status == 200
    assert answer.json == {**STATUS, "header": HEADER}


def test_status_without_etcd(stand: Stand) -> None:
    """What is known of it must do: clients look for a leader."""
    answer = post(stand.socket, "/maintenance/status")
    assert answer.status == 200
    assert answer.json == {"header": HEADER, "version": "3.5.16", "leader": "7", "raftTerm": "2"}


def test_status_for_nobody(stand: Stand) -> None:
    """Who may read no range is told nothing of etcd but its version, which `/version` tells as well."""
    stand.upstream.says["/maintenance/status"] = STATUS
    rights = lambda _: Rights([])  # noqa: E731
    stand.on_loop(lambda: setattr(stand.context, "rights", rights))
    answer = post(stand.socket, "/maintenance/status")
    assert (answer.status, answer.json) == (200, {"version": "3.5.16", "header": {}})


def test_the_header_is_the_furthest_range() -> None:
    """No answer before it can have shown a later revision."""
    behind, ahead = Kept(prefix_range(b"/a")), Kept(prefix_range(b"/b"))
    behind.fill({}, 5)
    ahead.fill({}, 9)
    with serving(behind, ahead) as stand:
        assert post(stand.socket, "/maintenance/status").json["header"]["revision"] == "9"


def test_members(stand: Stand) -> None:
    """They are etcd's; unknown members are a failure, not an empty list."""
    answer = post(stand.socket, "/cluster/member/list")
    assert (answer.status, answer.json["code"]) == (503, 14)
    stand.upstream.says["/cluster/member/list"] = MEMBERS
    answer = post(stand.socket, "/cluster/member/list", {"linearizable": True})
    assert answer.status == 200
    assert answer.json["members"] == MEMBERS["members"]
    assert answer.json["header"] == {name: HEADER[name] for name in ("cluster_id", "member_id", "raft_term")}


def test_authentication(stand: Stand) -> None:
    """There is none, whoever asks."""
    answer = post(stand.socket, "/auth/authenticate", {"name": "root", "password": "x"})
    assert answer.status == 400
    assert (answer.json["code"], answer.json["message"]) == (9, "etcdserver: authentication is not enabled")
    assert post(stand.socket, "/auth/authenticate", {"name": 1}).json["code"] == 3


def test_version(stand: Stand) -> None:
    """etcd's own; the level that is spoken here while it is unknown."""
    assert stand.ask("/version").json == {"etcdserver": "3.5.16", "etcdcluster": "3.5.0"}
    stand.upstream.told = Member(version="3.4.23")
    assert stand.ask("/version").json == {"etcdserver": "3.4.23", "etcdcluster": "3.4.0"}
    stand.upstream.told = Member()
    assert stand.ask("/version").json == {"etcdserver": "3.5.0", "etcdcluster": "3.5.0"}


def test_health() -> None:
    """It is well as soon as anything can be served, and says so as etcd does."""
    cold, warm = Kept(prefix_range(b"/a")), Kept(prefix_range(b"/b"))
    with serving(cold, warm) as stand:
        answer = stand.ask("/health")
        assert (answer.status, answer.json["health"]) == (503, "false")
        assert answer.json["reason"]
        stand.on_loop(lambda: warm.fill({}, 5))
        answer = stand.ask("/health")
        assert (answer.status, answer.body) == (200, b'{"health":"true","reason":""}')
        assert answer.headers["Content-Type"].startswith("text/plain")


def test_what_is_not_there(stand: Stand) -> None:
    """A method that is none, a path that is none: in etcd's words."""
    for prefix in ("/v3", "/v3beta"):
        answer = stand.ask(f"{prefix}/maintenance/status")
        assert (answer.status, answer.json["code"], answer.json["message"]) == (501, 12, "Method Not Allowed")
        answer = post(stand.socket, "/nothing", prefix=prefix)
        assert (answer.status, answer.json["code"], answer.json["message"]) == (404, 5, "Not Found")


@pytest.mark.parametrize("call", ["/maintenance/status", "/cluster/member/list", "/auth/authenticate"])
def test_what_is_no_request(stand: Stand, call: str) -> None:
    """What cannot be read is refused, and so is what is too large, without being read."""
    for body in (b"x", b"[]", b"null"):
        assert post(stand.socket, call, body).json["code"] == 3, body
    answer = post(stand.socket, call, b'{"name":"' + b"x" * 70_000 + b'"}')
    assert (answer.status, answer.json["code"]) == (429, 8)
