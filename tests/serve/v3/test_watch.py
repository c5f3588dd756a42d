"""`/v3/watch`: what is told, where a real etcd would be in the way: gaps, other histories, large changes."""

from __future__ import annotations

import asyncio
from itertools import chain

import pytest

from syncd.keyrange import prefix_range
from syncd.records import Event
from syncd.serve.encode import PIECE_EVENTS, Selection
from syncd.serve.v3 import results, watch, watches
from tests.serve.local import SECONDS
from tests.serve.stand import Kept, Stand, serving
from tests.serve.v3.dialogue import Dialogue, Document, opened, revision, told


def test_a_chunk_is_a_document(stand: Stand, dialogue: Dialogue) -> None:
    """Each has an HTTP chunk of its own, and a newline at its end."""
    dialogue.create("/", watch_id=3)
    dialogue.create("/a")
    for _ in range(2):
        dialogue.hear()
    for size in (1, 2, 1_500_000):  # the last one as large as etcd takes them
        stand.write((b"/a", bytes(size)))
        for _ in range(2):
            dialogue.hear()
    assert len(dialogue.chunks) == 8
    for chunk in dialogue.chunks:
        assert chunk.startswith(b'{"result":{"header":{"cluster_id":"14","member_id":"7","revision":"')
        assert chunk.endswith(b"}}\n")
        assert chunk.count(b"\n") == 1


def test_a_gap_is_a_compaction(stand: Stand, dialogue: Dialogue) -> None:
    """What a full read passed over is told so; from the revision named there one can go on."""
    stand.write((b"/a", b"2"))
    dialogue.create("/")
    dialogue.hear()
    stand.on_loop(lambda: stand.source.fill({b"/a": b"x"}, 20))
    document = dialogue.hear()
    assert document == {
        "header": {"cluster_id": "14", "member_id": "7", "raft_term": "2"},
        "canceled": True,
        "compact_revision": "21",
    }
    stand.wait_for_readers(0)
    for start, oldest in ((11, "21"), (12, "21"), (15, "21"), (20, "21"), (1, "11")):
        dialogue.create("/", start_revision=start)
        assert dialogue.hear()["created"] is True
        assert dialogue.hear()["compact_revision"] == oldest
    dialogue.create("/", start_revision=21)
    dialogue.hear()
    stand.write((b"/a", b"y"))
    assert told(dialogue.hear()) == [("PUT", b"/a", 21)]


def test_a_history_that_ends(stand: Stand, dialogue: Dialogue) -> None:
    """Changes before the first read are not known; nor are that very revision's, which only a syncd has."""
    for start, oldest in ((1, "11"), (10, "11"), (-5, "11")):
        dialogue.create("/", start_revision=start)
        assert dialogue.hear()["created"] is True
        assert dialogue.hear()["compact_revision"] == oldest
    dialogue.create("/", start_revision=11)
    dialogue.hear()
    assert revision(dialogue.progress()) == 10
    with opened(stand.socket, held="10") as syncd:
        syncd.create("/", start_revision=10)
        syncd.hear()
        syncd.create("/", start_revision=9)
        assert [("compact_revision" in syncd.hear()) for _ in range(2)] == [False, True]
        assert revision(syncd.progress()) == 10
        stand.write((b"/a", b"2"))
        assert told(syncd.hear()) == [("PUT", b"/a", 11)]


@pytest.mark.parametrize("held", ["x", "-10", "9" * 5000, "11", ""])
def test_a_header_that_makes_no_sense(stand: Stand, held: str) -> None:
    """It is as if it was not there."""
    with opened(stand.socket, held=held) as dialogue:
        dialogue.create("/", start_revision=10)
        dialogue.hear()
        assert dialogue.hear()["compact_revision"] == "11"


def test_falling_behind() -> None:
    """A client that reads too late is told that the history has gone on without it."""
    kept = Kept(prefix_range(b"/"), history_events=3)
    kept.fill({b"/a": b"1"}, 10)
    with serving(kept) as stand, opened(stand.socket) as dialogue:
        dialogue.create("/", start_revision=100)
        dialogue.create("/", watch_id=1)
        for _ in range(2):
            dialogue.hear()

        def at_once() -> None:
            for number in range(9):
                kept.write((b"/a", b"%d" % number))

        stand.on_loop(at_once)
        document = dialogue.hear()
        assert (document["watch_id"], document["compact_revision"]) == ("1", "17")
        assert revision(dialogue.progress()) == 19


def test_another_history_ends_the_stream(stand: Stand, dialogue: Dialogue) -> None:
    """When etcd was replaced, a client must connect anew, and look whom it speaks to."""
    dialogue.create("/")
    dialogue.create("/", start_revision=100)
    for _ in range(2):
        dialogue.hear()
    stand.on_loop(lambda: stand.source.fill({b"/a": b"x"}, 5, epoch="f"))
    failure = dialogue.hear_failure()
    assert failure["message"] == "syncd: etcd was replaced or restored; begin anew"
    assert dialogue.hung_up()
    with opened(stand.socket) as again:
        again.create("/")
        created = again.hear()
        assert (revision(created), created["header"]["cluster_id"]) == (5, "15")


def test_the_end(stand: Stand, dialogue: Dialogue) -> None:
    """A daemon that stops says so in both shapes that etcd has had, and hangs up, whatever the body does."""
    dialogue.create("/")
    dialogue.hear()
    with opened(stand.socket, b'{"create_request":{"key":"L2E="}}') as one_shot:
        one_shot.hear()
        stand.stop()
        for each in (dialogue, one_shot):
            assert each.hear_failure() == {
                "code": 14,
                "grpc_code": 14,
                "http_code": 503,
                "message": "syncd: it is being stopped",
                "http_status": "Service Unavailable",
            }
            assert each.hung_up()


def test_a_large_revision(stand: Stand, dialogue: Dialogue) -> None:
    """It stands in one document, or with `fragment` in several that are small, all but the last marked."""
    pairs = [(b"/%d" % number, b"x" * 400_000) for number in range(12)]
    dialogue.create("/")
    dialogue.create("/", fragment=True, prev_kv=True)
    for _ in range(2):
        dialogue.hear()
    for _ in range(2):  # the second one has what there was before
        at = stand.write(*pairs)
        expected = [("PUT", key, at) for key, _ in sorted(pairs)]
        whole: list[Document] = []
        parts: list[Document] = []
        while not (whole and parts and "fragment" not in parts[-1]):
            document = dialogue.hear()
            (parts if document.get("watch_id") == "1" else whole).append(document)
        assert sorted(told(whole[0])) == sorted(expected)
        assert sorted(chain.from_iterable(map(told, parts))) == sorted(expected)
        assert len(whole) == 1 < len(parts)
        assert all(part["fragment"] is True for part in parts[:-1])
        assert len(parts) < 12
    for chunk in dialogue.chunks:
        assert len(chunk) <= watch.DOCUMENT


def test_a_revision_of_very_many_keys(
    stand: Stand, dialogue: Dialogue, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It holds up nobody else while it is encoded and sent: between two turns of others, two pieces."""
    encode, encoded = results._event, 0

    def counting(event: Event, selection: Selection) -> bytes:
        nonlocal encoded
        encoded += 1
        return encode(event, selection)

    async def most_at_a_time() -> int:
        stand.source.write(*[(b"/%d" % number, b"x") for number in range(20_000)])
        most = before = 0
        while encoded < 40_000:
            await asyncio.sleep(0)
            most, before = max(most, encoded - before), encoded
        return most

    monkeypatch.setattr(results, "_event", counting)
    dialogue.create("/")
    dialogue.create("/", watch_id=1, fragment=True)
    for _ in range(2):
        dialogue.hear()
    most = asyncio.run_coroutine_threadsafe(most_at_a_time(), stand.loop)
    events = 0
    while events < 40_000:
        events += len(dialogue.hear()["events"])
    assert events == 40_000
    assert 0 < most.result(SECONDS) <= 2 * PIECE_EVENTS  # the last one of a watch, the first of the next


def test_a_past_that_comes_in_portions(stand: Stand, dialogue: Dialogue) -> None:
    """No header is ahead of the events that came, so that resuming from it loses nothing."""
    for _ in range(700):
        stand.write((b"/a", b"x"), (b"/b", b"x"))
    dialogue.create("/a", start_revision=11)
    dialogue.hear()
    seen = 10
    while seen < 710:
        document = dialogue.hear()
        events = [at for _, _, at in told(document)]
        assert events == list(range(seen + 1, seen + 1 + len(events)))
        seen = events[-1]
        assert revision(document) == seen
    assert revision(dialogue.progress()) == 710


def test_progress_of_several_ranges() -> None:
    """It is the least of theirs; a stream without watches has none."""
    first, second = Kept(prefix_range(b"/a/")), Kept(prefix_range(b"/b/"))
    first.fill({}, 10)
    second.fill({}, 20)
    with serving(first, second) as stand, opened(stand.socket) as dialogue:
        dialogue.ask(progress_request={})
        dialogue.create("/b/")
        dialogue.hear()
        assert revision(dialogue.progress()) == 20
        dialogue.create("/a/")
        dialogue.hear()
        assert revision(dialogue.progress()) == 10
        stand.on_loop(lambda: first.store.advance(30))
        assert revision(dialogue.progress()) == 20
        stand.on_loop(lambda: second.write((b"/b/1", b"x")))
        assert told(dialogue.hear()) == [("PUT", b"/b/1", 21)]
        assert revision(dialogue.progress()) == 21


def test_notification_of_progress(stand: Stand, dialogue: Dialogue, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who wants it is told now and then how far a quiet watch is, with the watch's own number."""
    monkeypatch.setattr(watches, "PROGRESS_SECONDS", 0.05)
    with opened(stand.socket) as quick:
        quick.create("/", watch_id=1)
        quick.create("/", watch_id=2, progress_notify=True)
        for _ in range(2):
            quick.hear()
        for _ in range(2):
            document = quick.hear()
            assert set(document) == {"header", "watch_id"}
            assert (document["watch_id"], revision(document)) == ("2", 10)
        stand.on_loop(lambda: stand.source.store.advance(99))
        while revision(quick.hear()) != 99:
            pass
