"""/v1/value and /v1/snapshot, and how fresh their answers are."""

import asyncio
import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from syncd.findings import Finding
from syncd.keyrange import KeyRange, prefix_range
from syncd.status import EtcdStatus, Syncing
from tests.serve.local import ask, raw, target, wait_until
from tests.serve.stand import EPOCH, Kept, Stand, Unanswered, serving

TAG = f'"10-{EPOCH}"'


def test_value(stand: Stand) -> None:
    """The bytes as they are, and all about them in the headers."""
    stand.on_loop(lambda: setattr(stand.source, "age", 0.0101))
    answer = stand.ask("/v1/value?key=/b")
    assert (answer.status, answer.body) == (200, b"2")
    named = {
        name: value for name, value in answer.headers.items() if name.startswith(("Syncd", "ETag", "Cont"))
    }
    assert int(named.pop("Syncd-At-Ms")) > 0
    assert named == {
        "Syncd-Revision": "10",
        "Syncd-Epoch": EPOCH,
        "Syncd-State": "live",
        "Syncd-Age-Ms": "11",
        "Syncd-Create-Revision": "10",
        "Syncd-Mod-Revision": "10",
        "Syncd-Version": "1",
        "Syncd-Lease": "0",
        "ETag": TAG,
        "Content-Type": "application/octet-stream",
        "Content-Length": "1",
    }


def test_value_as_json(stand: Stand) -> None:
    """The whole record, for who accepts JSON."""
    answer = stand.ask("/v1/value?key=/b", Accept="text/html, application/json")
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.json["value"] == "2"
    assert answer.json["mod_revision"] == 10


def test_value_by_head(stand: Stand) -> None:
    """HEAD tells the length and the tag."""
    answer = stand.ask("/v1/value?key=/b", "HEAD")
    assert (answer.status, answer.body) == (200, b"")
    assert (answer.headers["Content-Length"], answer.headers["ETag"]) == ("1", TAG)


@pytest.mark.parametrize("value", [b"", b"\0\xff\n", bytes(range(256)) * 4096])
def test_any_value(stand: Stand, value: bytes) -> None:
    """No value, a megabyte, any bytes, under any key."""
    for key in (b"/v", b"/\xff\0 +&=?#%"):
        stand.write((key, value))
        answer = stand.get("value", key=key)
        assert (answer.status, answer.body) == (200, value)
        assert answer.headers["Content-Length"] == str(len(value))


def test_key_in_base64(stand: Stand) -> None:
    """key_b64 is the key's bytes."""
    stand.write((b"/\xff", b"x"))
    assert stand.ask("/v1/value?key_b64=L/8=").body == b"x"


@pytest.mark.parametrize(
    ("given", "status"),
    [
        (TAG, 304),
        (f"W/{TAG}", 304),
        (f'"1", {TAG}', 304),
        (f'"1",W/{TAG} , "2"', 304),
        ("*", 304),
        ('"1"', 200),
        ('"10"', 200),
        (TAG.strip('"'), 200),
        ('"100"', 200),
        ('""', 200),
        ("", 200),
    ],
)
def test_if_none_match(stand: Stand, given: str, status: int) -> None:
    """304 without a body when a tag is the one that it would get; its headers are as fresh as ever."""
    for call in ("/v1/value?key=/b", "/v1/snapshot?prefix=/", "/v1/snapshot?key=/b&keys_only=true"):
        answer = stand.ask(call, If_None_Match=given)
        assert answer.status == status
        assert answer.headers["ETag"] == TAG
        assert answer.headers["Syncd-Revision"] == "10"
        if status == 304:
            assert answer.body == b""


def test_a_tag_of_another_epoch_never_matches(stand: Stand) -> None:
    """After etcd was restored, the same revision may be another value, and the old one must not be kept."""
    before = stand.ask("/v1/value?key=/a").headers["etag"]
    held = stand.source.store.view().get(b"/a")
    assert held is not None
    stand.on_loop(lambda: stand.source.fill({b"/a": b"other"}, revision=held.mod_revision, epoch="f"))
    answer = stand.ask("/v1/value?key=/a", If_None_Match=before)
    assert (answer.status, answer.body) == (200, b"other")
    assert stand.ask("/v1/value?key=/a", If_None_Match=answer.headers["etag"]).status == 304
    assert stand.ask("/v1/snapshot?prefix=/", If_None_Match=before).status == 200


def test_tags_change_with_what_they_tag(stand: Stand) -> None:
    """A value's tag is its key's revision, a snapshot's the last revision that changed anything."""
    stand.write((b"/b", b"3"))
    stand.on_loop(lambda: stand.source.store.advance(20))
    assert stand.ask("/v1/value?key=/a", If_None_Match=TAG).status == 304
    assert stand.ask("/v1/value?key=/b", If_None_Match=TAG).status == 200
    answer = stand.ask("/v1/snapshot?prefix=/", If_None_Match=TAG)
    assert (answer.headers["ETag"], answer.revision) == (f'"11-{EPOCH}"', 20)


def test_errors_of_value(stand: Stand) -> None:
    """No such key, no such range, no such call: each JSON with a code, and all the headers."""
    for call, status, code in [
        ("/v1/value?key=/x", 404, "not_found"),
        ("/v1/value?key=x", 404, "not_mirrored"),
        ("/v1/value?key=/%ff%00", 404, "not_found"),
        ("/v1/value", 400, "bad_request"),
        ("/v1/value?prefix=/", 400, "bad_request"),
        ("/v1/snapshot?prefix=", 404, "not_mirrored"),
        ("/v1/snapshot?key=/b&prefix=/", 400, "bad_request"),
        ("/v1/snapshot?prefix=/&keys_only=1", 400, "bad_request"),
        ("/v1/status?x=1", 400, "bad_request"),
        ("/v1/nothing", 404, "not_found"),
        ("/", 404, "not_found"),
        ("/%ff%00", 404, "not_found"),
    ]:
        answer = stand.ask(call)
        assert (answer.status, answer.error["code"]) == (status, code), call
        assert answer.headers["Syncd-State"] == "live", call
        assert answer.headers["Syncd-Age-Ms"] == "0", call


def test_every_answer_says_how_fresh_it_is() -> None:
    """What is about one range has its headers, what is about none has the least that holds for all."""
    one, other = Kept(prefix_range(b"/1/")), Kept(KeyRange(b"/2"))
    one.fill({b"/1/a": b""}, 10)
    other.fill({b"/2": b""}, 12)
    one.age, other.age, other.state = 0.5, 7.0001, "stale"
    with serving(one, other) as stand:
        for call in (
            "value?key=/1/a",
            "snapshot?prefix=/1/",
            "value?key=/1/x",
            "snapshot?prefix=/1/&max_age_ms=1",
        ):
            headers = stand.ask(f"/v1/{call}").headers
            assert [headers[f"Syncd-{n}"] for n in ("Revision", "Epoch", "State", "Age-Ms")] == [
                "10", EPOCH, "live", "500",
            ], call  # fmt: skip
        for call in (
            "/v1/status",
            "/metrics",
            "/healthz",
            "/readyz",
            "/v1/value?key=x",
            "/nothing",
            "/v1/value",
        ):
            headers = stand.ask(call).headers
            assert [headers[f"Syncd-{n}"] for n in ("Revision", "Epoch", "State", "Age-Ms")] == [
                "10", EPOCH, "stale", "7001",
            ], call  # fmt: skip


def test_snapshot(stand: Stand) -> None:
    """A head, a line a key in key order, an end; and nothing else."""
    stand.on_loop(lambda: setattr(stand.source, "age", 0.25))
    answer = stand.ask("/v1/snapshot?prefix=/")
    assert answer.headers["Content-Type"] == "application/x-ndjson"
    head, *records, end = answer.lines
    assert head == {"revision": 10, "epoch": EPOCH, "count": 3, "state": "live", "age_ms": 250}
    assert [(record["key"], record["value"]) for record in records] == [("/a", "1"), ("/b", "2"), ("/c", "3")]
    assert end == {"end": True, "count": 3}


@pytest.mark.parametrize(
    ("parameters", "keys"),
    [
        ({"prefix": "/b"}, ["/b"]),
        ({"key": "/b"}, ["/b"]),
        ({"key": "/"}, []),
        ({"prefix": "/z"}, []),
        ({"prefix_b64": "L2E="}, ["/a"]),
        ({"prefix": "/", "keys_only": True}, ["/a", "/b", "/c"]),
    ],
)
def test_snapshot_of_a_part(stand: Stand, parameters: dict[str, object], keys: list[str]) -> None:
    """A sub-prefix, a single key, nothing; with or without values."""
    head, *records, end = stand.get("snapshot", **parameters).lines
    assert head["count"] == end["count"] == len(keys)
    assert [record["key"] for record in records] == keys
    assert all(("value" in record) == ("keys_only" not in parameters) for record in records)


def test_snapshot_of_many_blocks(stand: Stand) -> None:
    """Parts of blocks, whole blocks, kept lines and changed blocks all make the same lines."""
    pairs = [(b"/k%05d" % i, b"v" * (i % 50)) for i in range(3000)]
    stand.write(*pairs)
    for _ in range(2):
        for prefix in (b"/", b"/k0", b"/k01234", b"/k029"):
            _, *records, end = stand.get("snapshot", prefix=prefix).lines
            expected = [key.decode() for key, _ in pairs if key.startswith(prefix)]
            assert [r["key"] for r in records if r["key"] not in ("/a", "/b", "/c")] == expected
            assert end["count"] == len(records)
        stand.write((pairs[1234][0], b"new"))
        assert stand.get("snapshot", prefix=b"/k01234").lines[1]["value"] == "new"


def test_a_snapshot_stays_what_it_was(stand: Stand) -> None:
    """Whatever happens while it is being read, it is the state at the revision in its head."""
    stand.write(*[(b"/k%05d" % i, b"v" * 1000) for i in range(3000)])
    with stand.stream("snapshot", prefix="/k") as stream:
        documents = stream.documents()
        head = next(documents)
        for i in range(3000):
            if i % 100 == 0:
                stand.write(*[(b"/k%05d" % j, None if j % 2 else b"new") for j in range(i, i + 100)])
        records = [*documents]
        assert head["revision"] == 11
        assert {r["mod_revision"] for r in records[:-1]} == {11}
        assert records[-1] == {"end": True, "count": 3000}
        assert stream.ended


def test_an_old_http_client(stand: Stand) -> None:
    """HTTP/1.0 knows no chunks: the end of the connection ends the answer, and the last line says so."""
    answer = raw(stand.socket, b"GET /v1/snapshot?prefix=/ HTTP/1.0\r\n\r\n", hang_up=False)
    head, body = answer.split(b"\r\n\r\n", 1)
    assert b"chunked" not in head
    assert json.loads(body.splitlines()[-1]) == {"end": True, "count": 3}


def test_max_age(stand: Stand) -> None:
    """Rather nothing than something older than asked, to the fraction of a millisecond."""
    for age, max_age_ms, status in [
        (0.0, 0, 200),
        (0.0001, 0, 503),
        (1.0, 1000, 200),
        (1.0001, 1000, 503),
        (1.0001, 1001, 200),
        (None, 10**9, 503),
    ]:
        stand.on_loop(lambda age=age: setattr(stand.source, "age", age))  # type: ignore[misc]
        for call in ("value?key=/a", "snapshot?prefix=/", "watch?from=1&prefix=/"):
            answer = stand.ask(f"/v1/{call}&max_age_ms={max_age_ms}")
            if call.startswith("watch") and status == 200:
                assert answer.error["code"] == "compacted"
                continue
            assert answer.status == status, (call, age, max_age_ms)
            if status == 503:
                assert answer.error["code"] == "too_stale"
            assert answer.headers["Syncd-Age-Ms"] is not None or age is None


def test_min_revision(stand: Stand) -> None:
    """A read waits for the revision that it was promised, asks for a hurry, and gets no less."""
    with ThreadPoolExecutor(4) as pool:
        calls = [
            pool.submit(ask, stand.socket, f"/v1/value?key=/a&min_revision={revision}")
            for revision in (10, 11, 12)
        ]
        assert calls[0].result().revision == 10
        wait_until(lambda: stand.source.hurried == 2)
        stand.write((b"/a", b"new"))
        assert calls[1].result().body == b"new"
        assert not calls[2].done()
        stand.on_loop(lambda: stand.source.store.advance(15))
        assert calls[2].result().revision == 15


@pytest.mark.parametrize("wait_ms", [0, 30])
def test_min_revision_is_not_reached(stand: Stand, wait_ms: int) -> None:
    """Who doesn't want to wait longer is told where the range is."""
    answer = stand.get("value", key="/a", min_revision=11, wait_ms=wait_ms)
    assert (answer.status, answer.error["code"]) == (503, "too_stale")
    assert "11 was not reached" in answer.error["message"]
    assert "is at 10" in answer.error["message"]
    assert answer.revision == 10
    assert stand.get("value", key="/a", min_revision=10, wait_ms=0).status == 200


def test_min_revision_is_reached_in_the_last_moment(stand: Stand, monkeypatch: pytest.MonkeyPatch) -> None:
    """The time is over and the revision is there, in one turn of the loop: that is an answer."""

    def now() -> None:
        asyncio.get_running_loop().call_soon(stand.source.store.advance, 11)

    monkeypatch.setattr(stand.source, "hurry", now)
    answer = stand.get("value", key="/a", min_revision=11, wait_ms=0)
    assert (answer.status, answer.revision) == (200, 11)


def test_linearizable(stand: Stand) -> None:
    """etcd is asked, and the answer is no older than what it said."""
    source = stand.source
    source.etcd = 10
    assert stand.get("value", key="/a", linearizable=True).revision == 10
    source.etcd = 11
    with ThreadPoolExecutor(1) as pool:
        call = pool.submit(ask, stand.socket, "/v1/snapshot?prefix=/&linearizable=true")
        wait_until(lambda: source.hurried)
        assert not call.done()
        stand.write((b"/a", b"new"))
        assert call.result().revision == 11


@pytest.mark.parametrize("etcd", [None, Unanswered("etcd is down")])
def test_linearizable_without_etcd(stand: Stand, etcd: Unanswered | None) -> None:
    """Whether etcd is down or silent: too_stale, in time."""
    stand.source.etcd = etcd
    answer = stand.get("value", key="/a", linearizable=True, min_revision=10, wait_ms=50)
    assert (answer.status, answer.error["code"]) == (503, "too_stale")


def test_readers_that_gave_up_leave_nothing_behind(stand: Stand) -> None:
    """Whoever hangs up while waiting is forgotten."""
    for _ in range(20):
        with pytest.raises(TimeoutError):
            ask_briefly(stand)
    wait_until(lambda: stand.on_loop(lambda: len(stand.source.store._listeners)) == 0)


def ask_briefly(stand: Stand) -> Any:
    """Ask for what does not come."""
    from tests.serve.local import Stream

    return Stream(stand.socket, target("value", key="/a", min_revision=99), seconds=0.01)


@pytest.mark.parametrize(
    ("syncing", "error", "said"),
    [
        (None, None, "has just begun"),
        (Syncing(0, None, "initial"), None, "has just begun"),
        (Syncing(5, 20, "initial"), None, "at 5 of 20 keys"),
        (None, "connection refused", "connection refused"),
    ],
)
def test_cold(syncing: Syncing | None, error: str | None, said: str) -> None:
    """Nothing was read yet: every read says so and why, and the process lives."""
    kept = Kept(prefix_range(b"/"))
    kept.syncing, kept.error = syncing, error
    with serving(kept) as stand:
        for call in (
            "/v1/value?key=/a",
            "/v1/snapshot?prefix=/",
            "/v1/watch?prefix=/&snapshot=true",
            "/readyz",
        ):
            answer = stand.ask(call)
            assert (answer.status, answer.error["code"]) == (503, "not_ready"), call
            assert said in answer.error["message"]
            assert answer.headers["Retry-After"] == "1"
            assert answer.headers["Syncd-State"] == "cold"
            assert answer.headers["Syncd-Revision"] == "0"
            assert "Syncd-Epoch" not in answer.headers
            assert "Syncd-Age-Ms" not in answer.headers
        assert stand.ask("/healthz").status == 200
        assert stand.ask("/v1/status").json["ranges"][0]["age_ms"] is None
        assert stand.ask("/metrics").status == 200
        stand.on_loop(lambda: kept.fill({b"/a": b"1"}, 5))
        assert stand.ask("/v1/value?key=/a").status == 200
        assert stand.ask("/readyz").status == 200


def test_cold_with_a_known_cause() -> None:
    """The first error that was found is told with its cure, in one line; a warning is not the cause."""
    kept = Kept(prefix_range(b"/"))
    kept.error = "connection refused"
    findings = (
        Finding("clock.differs", "warning", "http://etcd", "5 s", cure="chronyc makestep"),
        Finding("auth.required", "error", "http://etcd", "no user", cure="set it:\n  add it\n  use it"),
        Finding("range.failed", "error", "/", "nothing was read", cure="wait"),
    )
    with serving(kept) as stand:
        stand.etcd = EtcdStatus((), findings=findings)
        for call in ("/v1/value?key=/a", "/v1/snapshot?prefix=/", "/v1/watch?prefix=/", "/readyz"):
            assert stand.ask(call).error["message"] == (
                "nothing was read yet of '/': connection refused; "
                "auth.required, http://etcd; cure: set it: add it; use it"
            ), call
        stand.etcd = EtcdStatus((), findings=findings[:1])
        assert stand.ask("/readyz").error["message"] == "nothing was read yet of '/': connection refused"
