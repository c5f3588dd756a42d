"""What readers without the right get, and what they can learn from it: nothing."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from base64 import b64encode
from collections.abc import Iterator

import pytest

from syncd.findings import Finding
from syncd.keyrange import prefix_range
from syncd.serve import Access, Rule, context
from syncd.serve.peer import Peer, peer_of
from syncd.status import CacheStatus, CertificateStatus, EndpointStatus, EtcdStatus, Syncing
from tests.serve.local import Answer, Stream, target
from tests.serve.others import Other, needs_root, open_to_all
from tests.serve.stand import Kept, Stand, Unanswered, serving
from tests.serve.v3.posting import post

pytestmark = needs_root

ADA, BEN, EVE = Other(4_000_001), Other(4_000_002), Other(4_000_003)
OPERATORS = 4_000_010
OPERATOR = Other(4_000_004, groups=(4_000_011, OPERATORS))

RULES = [
    Rule((b"/a/", b"/cold/1"), users=frozenset({ADA.uid})),
    Rule((b"/a/secret/",), users=frozenset({BEN.uid})),
    Rule((b"/b/", b"/c/"), groups=frozenset({OPERATORS})),
]
READS = [
    target("value", key="PLACE1"),
    target("value", key="PLACEnone"),
    target("value", key="PLACE1", max_age_ms=0),
    target("value", key="PLACE1", min_revision=10**9, wait_ms=600_000),
    target("snapshot", prefix="PLACE"),
    target("snapshot", prefix="PLACE", keys_only=True),
    target("snapshot", prefix="PLACE", linearizable=True),
    target("watch", prefix="PLACE"),
    target("watch", prefix="PLACE", snapshot=True),
    target("watch", key="PLACE1", from_=1, epoch="other"),
]


@pytest.fixture
def stand() -> Iterator[Stand]:
    """A range of which some may read a part, another one with a revision of its own, and a cold one."""
    a, b, cold = (Kept(prefix_range(prefix)) for prefix in (b"/a/", b"/b/", b"/cold/"))
    cold.syncing = Syncing(5, 9, "initial")
    a.fill({b"/a/1": b"one", b"/a/secret/1": b"secret"}, 10)
    b.fill({b"/b/1": b"b"}, 77)
    with serving(a, b, cold) as stand:
        stand.on_loop(lambda: setattr(stand.context, "access", Access(RULES)))
        open_to_all(stand.socket)
        yield stand


def told(answer: Answer) -> list[str]:
    """What the headers tell of ranges."""
    return [name for name in answer.headers if name.startswith("Syncd-") or name == "ETag"]


@pytest.mark.parametrize(
    ("other", "reads"),
    [
        (ADA, {"/a/1": 200, "/a/none": 404, "/a/secret/1": 403, "/b/1": 403, "/c/1": 403, "/": 403}),
        (BEN, {"/a/1": 403, "/a/none": 403, "/a/secret/1": 200, "/a/secret/2": 404, "/b/1": 403}),
        (EVE, {"/a/1": 403, "/a/none": 403, "/a/secret/1": 403, "/b/1": 403, "/c/1": 403, "/z": 403}),
        (OPERATOR, {"/a/1": 403, "/b/1": 200, "/b/2": 404, "/c/1": 404}),
        (Other(EVE.uid, gid=OPERATORS), {"/a/1": 403, "/b/1": 200}),
        (Other(0), {"/a/1": 200, "/a/secret/1": 200, "/b/1": 200, "/z": 404}),
    ],
)
def test_values(stand: Stand, other: Other, reads: dict[str, int]) -> None:
    """By user, by primary or further group; root may read everything."""
    found = {key: other.get(stand.socket, "value", key=key).status for key in reads}
    assert found == reads


def test_snapshots_have_what_may_be_read_or_nothing(stand: Stand) -> None:
    """Never a part of what was asked for."""
    for other, prefix, keys in (
        (ADA, "/a/1", ["/a/1"]),
        (ADA, "/a/", None),
        (ADA, "/a/s", None),
        (BEN, "/a/secret/", ["/a/secret/1"]),
        (BEN, "/a/", None),
        (OPERATOR, "/b/", ["/b/1"]),
    ):
        answer = other.get(stand.socket, "snapshot", prefix=prefix)
        if keys is None:
            assert answer.error["code"] == "forbidden"
        else:
            head, *records, _ = answer.lines
            assert ([record["key"] for record in records], head["count"]) == (keys, len(keys))


@pytest.mark.parametrize("asked", READS)
def test_a_refusal_is_the_same_whatever_is_there(stand: Stand, asked: str) -> None:
    """Filled, of another revision, cold, not mirrored at all: no header and no word is another one."""
    refusals = set()
    for place in ("/a/", "/b/", "/cold/", "/x/"):
        answer = EVE.ask(stand.socket, asked.replace("PLACE", place))
        assert (answer.status, answer.error["code"]) == (403, "forbidden")
        assert set(answer.headers) == {"Content-Type", "Content-Length", "Date", "Server", "Connection"}
        refusals.add(answer.body.replace(place.encode(), b"PLACE"))
    assert len(refusals) == 1


def test_other_answers_tell_nothing_either(stand: Stand) -> None:
    """Neither mistakes, nor other calls, nor a look at the headers alone."""
    for asked in ("/v1/value", "/v1/value?key=", "/v1/snapshot?prefix=/a/&x=y", "/nothing", "/healthz"):
        assert not told(EVE.ask(stand.socket, asked)), asked
    answer = EVE.ask(stand.socket, target("value", key="/a/1"), "HEAD")
    assert (answer.status, told(answer)) == (403, [])
    assert EVE.ask(stand.socket, target("value", key="/a/1"), If_None_Match="*").status == 403
    # What may be seen is told as ever.
    assert OPERATOR.ask(stand.socket, "/healthz").revision == 77
    assert Other(0).ask(stand.socket, "/healthz").headers["Syncd-State"] == "cold"


def test_a_watch_tells_what_may_be_read(stand: Stand) -> None:
    """Its own keys' changes, without those beside them; the whole range is refused."""
    a = stand.kept[0]
    asked = target("watch", prefix="/a/1", snapshot=True, heartbeat_ms=100)
    with ADA.stream(stand.socket, asked) as stream:
        documents = stream.documents()
        assert [next(documents).get("key") for _ in range(3)] == [None, "/a/1", None]
        stand.on_loop(lambda: a.write((b"/a/secret/1", b"changed")))
        stand.on_loop(lambda: a.write((b"/a/1", b"two"), (b"/a/secret/2", b"new")))
        batch = next(each for each in documents if "events" in each)
        assert [event["kv"]["key"] for event in batch["events"]] == ["/a/1"]
        assert batch["revision"] == 12
    assert stand.context.readers <= 1
    assert ADA.get(stand.socket, "watch", prefix="/a/").error["code"] == "forbidden"


def test_the_tag_of_a_part_does_not_tell_when_the_rest_changed(stand: Stand) -> None:
    """Whoever sees the range sees its last change; others the revision, which goes on in any case."""
    a = stand.kept[0]
    stand.on_loop(lambda: a.write((b"/a/secret/1", b"changed")))
    stand.on_loop(lambda: a.store.advance(20))
    assert stand.get("snapshot", prefix="/a/1").headers["ETag"] == '"11-e"'
    tag = ADA.get(stand.socket, "snapshot", prefix="/a/1").headers["ETag"]
    assert tag == '"20-e"'
    again = ADA.ask(stand.socket, target("snapshot", prefix="/a/1"), If_None_Match=tag)
    assert again.status == 304


def test_status_and_metrics_have_the_ranges_that_may_be_read_whole(stand: Stand) -> None:
    """Who may read all that is mirrored is told of etcd, too."""
    stand.etcd = EtcdStatus(
        (EndpointStatus("http://etcd-host", "3.5.16", current=True, failures=0),),
        (CertificateStatus("ca", "/ca.pem", "CN=our-ca", "2030-01-01T00:00:00+00:00", 1),),
        (Finding("tcp.refused", "error", "http://etcd-host", "seen", "means", "cure"),),
    )
    stand.kept[1].error = "etcd-host does not answer"
    stand.context.caches = lambda: {kept.store.keys: CacheStatus() for kept in stand.kept}
    names = [kept.store.keys.name for kept in stand.kept]
    for other, ranges in ((Other(0), names), (OPERATOR, ["/b/"]), (ADA, []), (EVE, [])):
        status = other.ask(stand.socket, "/v1/status").json
        assert [each["range"] for each in status["ranges"]] == ranges
        metrics = other.ask(stand.socket, "/metrics").body.decode()
        for name in names:
            assert (f'syncd_range_keys{{range="{name}"}}' in metrics) == (name in ranges)
            assert (f'syncd_cache_works{{range="{name}"}}' in metrics) == (name in ranges)
            assert (name in metrics) == (name in ranges)
        sees_all = ranges == names
        assert all(bool(value) == sees_all for value in status["etcd"].values())
        assert ("our-ca" in metrics) == ("etcd-host" in json.dumps(status)) == sees_all
        assert "process_resident_memory_bytes" in metrics


def test_readiness_is_that_of_the_ranges_that_may_be_seen(stand: Stand) -> None:
    """A range that is kept from the one who asks keeps nobody from being ready."""
    assert OPERATOR.ask(stand.socket, "/readyz").status == 200
    assert Other(0).ask(stand.socket, "/readyz").error["code"] == "not_ready"
    for other in (ADA, EVE):
        answer = other.ask(stand.socket, "/readyz")
        assert (answer.error["code"], told(answer)) == ("forbidden", [])


def test_what_is_said_of_the_rest_is_for_those_who_see_all(stand: Stand) -> None:
    """How many keys a first read has, what etcd said, what the ranges are called."""
    stand.kept[0].etcd = Unanswered("etcd-host does not answer")
    unknown = target("value", key="/a/1", linearizable=True)
    assert ADA.ask(stand.socket, unknown).error["message"] == "linearizable: etcd did not tell its revision"
    assert stand.ask(unknown).error["message"].endswith("its revision: etcd-host does not answer")
    late = target("value", key="/a/1", min_revision=11, wait_ms=0)
    elsewhere = target("value", key="/c/1")
    assert ADA.ask(stand.socket, late).error["message"] == "revision 11 was not reached within 0 s"
    assert stand.ask(late).error["message"].endswith("within 0 s; '/a/' is at 10")
    assert OPERATOR.ask(stand.socket, elsewhere).error["message"] == "'/c/1' lies in no mirrored range"
    assert stand.ask(elsewhere).error["message"].endswith("; mirrored are '/a/', '/b/', '/cold/'")
    cold = target("value", key="/cold/1")
    assert ADA.ask(stand.socket, cold).error["message"] == "nothing was read yet"
    assert stand.ask(cold).error["message"].endswith("of '/cold/': the first read is at 5 of 9 keys")


@pytest.mark.parametrize("more", [{}, {"serializable": True}, {"count_only": True}, {"revision": 3}])
def test_etcds_own_api_refuses_in_etcds_words(stand: Stand, more: dict[str, object]) -> None:
    """And tells as little: filled, cold, not mirrored."""
    refusals = set()
    for key in (b"/a/1", b"/a/none", b"/b/1", b"/cold/1", b"/x/1"):
        asked = {"key": b64encode(key).decode(), **more}
        answer = post(stand.socket, "/kv/range", asked, connect=EVE.connected)
        assert (answer.status, answer.json["message"]) == (403, "etcdserver: permission denied")
        assert not told(answer)
        refusals.add(answer.body)
    assert len(refusals) == 1
    granted = {"key": b64encode(b"/a/1").decode(), "serializable": True}
    assert post(stand.socket, "/kv/range", granted, connect=ADA.connected).json["count"] == "1"
    both = {**granted, "range_end": b64encode(b"/a/z").decode()}
    assert post(stand.socket, "/kv/range", both, connect=ADA.connected).status == 403


def test_a_watch_of_etcds_own_api_is_refused_without_a_revision(stand: Stand) -> None:
    """Each watch of a stream by itself: beside one that is granted, the other is cancelled."""
    creates = [{"create_request": {"key": b64encode(key).decode()}} for key in (b"/b/1", b"/a/1")]
    asked = "".join(map(json.dumps, creates)).encode()
    with ADA.connected(stand.socket) as connection, connection.makefile("rb") as answer:
        connection.sendall(b"POST /v3/watch HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % len(asked))
        connection.sendall(asked)
        lines = (json.loads(line)["result"] for line in answer if line.startswith(b"{"))
        refused, granted = next(lines), next(lines)
    assert (refused["created"], refused["canceled"]) == (True, True)
    assert (
        refused["cancel_reason"] == "rpc error: code = PermissionDenied desc = etcdserver: permission denied"
    )
    assert "revision" not in refused["header"]
    assert (granted["created"], granted["header"]["revision"]) == (True, "10")
    stand.wait_for_readers(0)


def test_etcds_size_and_members_are_for_those_who_may_read_all(stand: Stand) -> None:
    """Others are told which version it is, as clients ask for that first; and some, who leads."""
    stand.upstream.says = {
        "/maintenance/status": {"version": "3.5.16", "dbSize": "4096", "leader": "7"},
        "/cluster/member/list": {"members": [{"ID": "7", "clientURLs": ["http://etcd-host"]}]},
    }
    for other, sees_all in ((Other(0), True), (OPERATOR, False), (EVE, False)):
        status = post(stand.socket, "/maintenance/status", connect=other.connected).json
        assert ("dbSize" in status, status["version"]) == (sees_all, "3.5.16")
        assert ("leader" in status) == ("raft_term" in status["header"]) == (other is not EVE)
        members = post(stand.socket, "/cluster/member/list", connect=other.connected)
        assert (members.status == 200) == (b"etcd-host" in members.body) == sees_all
        assert sees_all or members.status == 403
    assert "revision" not in status["header"]


def test_a_connection_is_looked_at_once(stand: Stand, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who is at its other end does not change; the next connection is another one's."""
    looked: list[Peer] = []

    def counted(transport: asyncio.BaseTransport | None) -> Peer:
        looked.append(found := peer_of(transport))
        return found

    monkeypatch.setattr(context, "peer_of", counted)
    for user, statuses in ((ADA, (200, 403, 200)), (BEN, (403, 200, 403))):
        with user.connected(stand.socket) as connection:
            for key, status in zip(("/a/1", "/a/secret/1", "/a/1"), statuses, strict=True):
                asked, keep = target("value", key=key), {"Connection": "keep-alive"}
                with Stream(stand.socket, asked, keep, connection=connection.dup()) as stream:
                    assert stream.status == status
                    assert b"".join(stream.chunks())
    assert [peer.uid for peer in looked] == [ADA.uid, BEN.uid]


def test_who_connected_counts_and_not_who_asks(stand: Stand) -> None:
    """A process that changes its user takes its open connections along, as it does with open files."""
    program = (
        "import os, sys\n"
        "from pathlib import Path\n"
        "from tests.serve.local import Stream, connected, target\n"
        "path, asked = Path(sys.argv[1]), target('value', key='/a/1')\n"
        "os.setgroups([])\n"
        f"os.setresuid({ADA.uid}, {ADA.uid}, 0)\n"
        "old = connected(path)\n"
        "os.seteuid(0)\n"
        f"os.setuid({EVE.uid})\n"
        "new = connected(path)\n"
        "print([Stream(path, asked, connection=each).status for each in (old, new)])\n"
    )
    said = subprocess.run(
        [sys.executable, "-c", program, stand.socket], capture_output=True, text=True, check=True
    )
    assert said.stdout == "[200, 403]\n"
