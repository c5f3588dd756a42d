"""kv/range and kv/txn of reads on a real socket: when they are answered, from which state, and how."""

from __future__ import annotations

import threading
from base64 import b64decode, b64encode
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from syncd.keyrange import prefix_range
from syncd.serve.v3 import kv
from syncd.serve.v3.views import KEPT, Views
from syncd.store import Store, View
from tests.serve.local import Answer, wait_until
from tests.serve.stand import Kept, Stand, Unanswered, serving
from tests.serve.v3.posting import post

RANGE, TXN = "/kv/range", "/kv/txn"
LARGE = 5_000


def ask(stand: Stand, call: str = RANGE, /, **fields: Any) -> Answer:
    """One call; bytes in it are put as base64."""
    return post(stand.socket, call, _plain(fields))


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _plain(of) for name, of in value.items()}
    if isinstance(value, list):
        return [_plain(of) for of in value]
    return b64encode(value).decode() if isinstance(value, bytes) else value


def keys_of(answer: Answer) -> list[bytes]:
    """The keys that it holds."""
    assert answer.status == 200, answer
    return [b64decode(kv["key"]) for kv in answer.json.get("kvs", ())]


def refusal(answer: Answer) -> tuple[int, int, str]:
    """Status, code and message."""
    return answer.status, answer.json["code"], answer.json["message"]


def large(stand: Stand) -> list[bytes]:
    """Fill the only range with many keys; which ones."""
    keys = [f"/{number:05}".encode() for number in range(LARGE)]
    stand.on_loop(lambda: stand.source.fill({key: key * 9 for key in keys}, 20))
    return keys


def test_a_key(stand: Stand) -> None:
    """With the header of whoever answers in etcd, and the revision that the mirror is at."""
    stand.source.etcd = 10
    assert ask(stand, key=b"/a").json == {
        "header": {"cluster_id": "14", "member_id": "7", "revision": "10", "raft_term": "2"},
        "kvs": [
            {"key": "L2E=", "create_revision": "10", "mod_revision": "10", "version": "1", "value": "MQ=="}
        ],
        "count": "1",
    }


def test_syncd_s_own_headers_are_there_too(stand: Stand) -> None:
    """Who looks for them learns how fresh the answer is."""
    answer = ask(stand, key=b"/a", serializable=True)
    assert answer.revision == 10
    assert answer.headers["Syncd-State"] == "live"


@pytest.mark.parametrize("prefix", ["/v3", "/v3beta"])
def test_the_older_prefix_is_the_same(stand: Stand, prefix: str) -> None:
    """As with etcd."""
    answer = post(stand.socket, RANGE, _plain({"key": b"/a", "serializable": True}), prefix)
    assert keys_of(answer) == [b"/a"]


def test_a_linearizable_read_waits_for_the_mirror(stand: Stand) -> None:
    """It is answered when all is there that etcd had; and the mirror is told that somebody waits."""
    stand.source.etcd = 11
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(ask, stand, key=b"/b")
        wait_until(lambda: stand.source.hurried, "somebody waits")
        assert not answer.done()
        stand.write((b"/b", b"new"))
        found = answer.result()
    assert found.json["header"]["revision"] == "11"
    assert b64decode(found.json["kvs"][0]["value"]) == b"new"


def test_without_etcd_a_serializable_read_is_answered(stand: Stand) -> None:
    """The other one is refused, as an etcd refuses it that has no leader."""
    stand.source.etcd = Unanswered("etcd is down")
    assert keys_of(ask(stand, key=b"/a", serializable=True)) == [b"/a"]
    status, code, message = refusal(ask(stand, key=b"/a"))
    assert (status, code) == (503, 14)
    assert "serializable" in message
    assert "is down" not in message  # that is not for everybody


@pytest.mark.parametrize("etcd", [None, 11])
def test_nobody_waits_for_ever(stand: Stand, monkeypatch: pytest.MonkeyPatch, etcd: int | None) -> None:
    """Neither for etcd's revision nor for the mirror to be there."""
    monkeypatch.setattr(kv, "DEADLINE", 0.05)
    stand.source.etcd = etcd
    assert refusal(ask(stand, key=b"/a")) == (503, 14, "etcdserver: request timed out")


def test_nothing_was_read_yet() -> None:
    """A mirror without a state has no empty answer."""
    with serving(Kept(prefix_range(b"/"))) as stand:
        for serializable in (True, False):
            stand.source.etcd = Unanswered("etcd is down")
            status, code, _ = refusal(ask(stand, key=b"/a", serializable=serializable))
            assert (status, code) == (503, 14)


@pytest.mark.parametrize(("key", "range_end"), [(b"x", b""), (b"\0", b"\0"), (b"/a", b"\0"), (b"/", b"1")])
def test_what_is_not_mirrored(stand: Stand, key: bytes, range_end: bytes) -> None:
    """A refusal, which says what it is about; never an empty success."""
    status, code, message = refusal(ask(stand, key=key, range_end=range_end))
    assert (status, code) == (400, 9)
    assert "lies in no mirrored range" in message


def test_revisions_that_are_not_there(stand: Stand) -> None:
    """Too old and too new, in etcd's words."""
    stand.write((b"/a", b"2"))
    at: dict[str, Any] = {"key": b"/a", "serializable": True}
    assert refusal(ask(stand, **at, revision=9)) == (
        400,
        11,
        "etcdserver: mvcc: required revision has been compacted",
    )
    assert refusal(ask(stand, **at, revision=12)) == (
        400,
        11,
        "etcdserver: mvcc: required revision is a future revision",
    )
    assert [ask(stand, **at, revision=r).json["kvs"][0]["mod_revision"] for r in (-1, 0, 10, 11)] == [
        *("11", "11", "10", "11")
    ]


def test_a_large_answer_comes_in_pieces(stand: Stand) -> None:
    """All of it, in order, with a count; the small one has a length."""
    keys = large(stand)
    answer = ask(stand, key=b"/", range_end=b"0", serializable=True)
    assert keys_of(answer) == keys
    assert answer.json["count"] == str(LARGE)
    assert answer.headers["Transfer-Encoding"] == "chunked"
    assert ask(stand, key=keys[0], serializable=True).headers["Content-Length"]


def test_a_large_answer_is_sorted(stand: Stand) -> None:
    """By what many keys share, and by another; the largest first."""
    keys = large(stand)
    every = {"key": b"/", "range_end": b"0", "serializable": True, "sort_order": "DESCEND"}
    assert keys_of(ask(stand, **every)) == keys[::-1]
    assert keys_of(ask(stand, **every, sort_target="VERSION")) == keys
    assert keys_of(ask(stand, **every, sort_target="VALUE", limit=3)) == keys[:-4:-1]


def test_others_are_answered_during_a_large_answer(stand: Stand) -> None:
    """Half of it not yet read, a small one is there."""
    large(stand)
    began = threading.Event()

    def read() -> list[bytes]:
        began.set()
        return keys_of(ask(stand, key=b"/", range_end=b"0", serializable=True, sort_target="MOD"))

    with ThreadPoolExecutor(8) as pool:
        readers = [pool.submit(read) for _ in range(8)]
        began.wait()
        assert keys_of(ask(stand, key=b"/00007", serializable=True)) == [b"/00007"]
        assert all(len(reader.result()) == LARGE for reader in readers)


def test_pages_of_one_revision(stand: Stand, monkeypatch: pytest.MonkeyPatch) -> None:
    """Many read page by page while keys come and go: each page is of that revision, which is made once."""
    keys = large(stand)
    made: list[int] = []
    past = Store.past

    def counted(store: Store, revision: int) -> Callable[[], View]:
        made.append(revision)
        return past(store, revision)

    monkeypatch.setattr(Store, "past", counted)

    def pages(_: int) -> list[bytes]:
        found: list[bytes] = []
        more, key = True, b"/"
        while more:
            answer = ask(stand, key=key, range_end=b"0", revision=20, limit=700, serializable=True)
            stand.write((b"/0x", b""), (b"/00001", b"other"))
            found += keys_of(answer)
            assert answer.json["count"] == str(LARGE - len(found) + len(answer.json["kvs"]))
            more, key = answer.json.get("more", False), found[-1] + b"\0"
        return found

    stand.write((b"/00003", None))
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(pages, range(4))) == [keys] * 4
    assert made == [20]


async def test_the_last_few_revisions_are_kept() -> None:
    """No more of them, and none that the history has let go of, or of an epoch that is over."""
    kept = Kept(prefix_range(b"/"), history_events=8)
    kept.fill({b"/a": b"0"}, 1)
    for number in range(9):
        kept.write((b"/a", b"%d" % number))
    views = Views()
    first = await views.at(kept.store, 5)
    record = first.get(b"/a")
    assert record is not None
    assert record.value == b"3"
    assert await views.at(kept.store, 5) is first
    for revision in range(6, 6 + KEPT):
        await views.at(kept.store, revision)
    again = await views.at(kept.store, 5)
    assert again is not first
    for _ in range(8):
        kept.write((b"/a", b"later"))
    with pytest.raises(Exception, match="compacted"):
        await views.at(kept.store, 5)
    now = kept.store.revision
    kept.write((b"/a", b"last"))
    await views.at(kept.store, now)
    kept.fill({b"/a": b"another"}, now + 1, "f")
    with pytest.raises(Exception, match="compacted"):
        await views.at(kept.store, now)


def op(key: bytes, **fields: Any) -> dict[str, Any]:
    """A range in a transaction."""
    return {"request_range": {"key": key, **fields}}


def test_a_transaction_sees_one_state(stand: Stand) -> None:
    """Compares and reads, of now and of before; nested as it was asked."""
    stand.write((b"/a", b"2"))
    stand.source.etcd = 11
    answer = ask(
        stand,
        TXN,
        compare=[{"key": b"/a", "target": "VALUE", "value": b"2"}],
        success=[
            op(b"/a", serializable=True),
            op(b"/a", serializable=True, revision=10),
            {
                "request_txn": {
                    "compare": [{"key": b"/b", "version": 2}],
                    "failure": [op(b"/c", serializable=True)],
                }
            },
        ],
    )
    assert answer.status == 200, answer
    assert answer.json["succeeded"] is True
    now, before, nested = answer.json["responses"]
    assert b64decode(now["response_range"]["kvs"][0]["value"]) == b"2"
    assert b64decode(before["response_range"]["kvs"][0]["value"]) == b"1"
    assert nested["response_txn"]["header"] == {}
    assert "succeeded" not in nested["response_txn"]
    assert nested["response_txn"]["responses"][0]["response_range"]["count"] == "1"


def test_a_transaction_lies_in_one_range() -> None:
    """Two mirrored ranges have two revisions: a state of both is not to be had."""
    one, other = Kept(prefix_range(b"/a/")), Kept(prefix_range(b"/b/"))
    for each, key in ((one, b"/a/"), (other, b"/b/")):
        each.fill({key: b"1"}, 10)
    with serving(one, other) as stand:
        status, code, message = refusal(
            ask(stand, TXN, success=[op(b"/a/", serializable=True), op(b"/b/", serializable=True)])
        )
        assert (status, code) == (400, 9)
        assert "one mirrored range" in message
        status, code, message = refusal(ask(stand, TXN, compare=[{"key": b"/c"}]))
        assert (status, code) == (400, 9)
        assert "no mirrored range" in message


@pytest.mark.parametrize("levels", [50, 127, 300, 1500])
def test_transactions_in_transactions(stand: Stand, levels: int) -> None:
    """They are answered, or refused for being too many."""
    body = b'{"success":[{"request_txn":' * levels + b'{"compare":[{"key":"L2E="}]}' + b"}]}" * levels
    stand.source.etcd = 10
    answer = post(stand.socket, TXN, body)
    if levels <= 127:
        assert answer.status == 200
    else:
        assert refusal(answer)[:2] == (400, 3)


def test_a_compare_of_many_keys(stand: Stand) -> None:
    """It must hold for all of them."""
    large(stand)
    every = {"key": b"/", "range_end": b"0", "target": "CREATE"}
    for revision, holds in ((20, True), (19, False)):
        compare = [every | {"create_revision": revision}]
        answer = ask(stand, TXN, compare=compare, success=[op(b"/x", serializable=True)])
        assert answer.json.get("succeeded", False) is holds


def test_a_transaction_is_linearizable(stand: Stand) -> None:
    """Unless all its reads say otherwise."""
    stand.source.etcd = Unanswered("etcd is down")
    assert ask(stand, TXN, success=[op(b"/a", serializable=True)]).status == 200
    assert ask(stand, TXN, success=[op(b"/a", serializable=True), op(b"/b")]).status == 503
    assert ask(stand, TXN, compare=[{"key": b"/a"}]).status == 200
    assert ask(stand, TXN, compare=[{"key": b"/a"}], failure=[{"request_txn": {}}]).status == 503
