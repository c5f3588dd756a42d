"""`/v3/watch`: what is refused, and clients that misbehave."""

from __future__ import annotations

from typing import Any

import pytest

from syncd.keyrange import prefix_range
from syncd.serve import readers, stream
from syncd.serve.access import Access, Rights, Rule
from syncd.serve.v3 import watch, watches
from tests.serve.local import connected
from tests.serve.others import Other, needs_root, open_to_all
from tests.serve.stand import Kept, Stand, serving
from tests.serve.v3.dialogue import Dialogue, b64, create_request, opened, revision, told


@pytest.mark.parametrize(
    "body",
    [b"garbage", b"[]", b"", b" ", b'{"create_request":{"key":5}}', b'{"create_request":{"key":"YQ=="}'],
)
def test_a_first_mistake(stand: Stand, body: bytes) -> None:
    """It is answered with a status; etcd 3.5.1 said 500, and 3.5.16 says nothing at all."""
    with opened(stand.socket, body) as dialogue:
        assert dialogue.status == 400
        assert b'"code":3' in dialogue.body()
    stand.wait_for_readers(0)


def test_a_later_mistake(stand: Stand, dialogue: Dialogue) -> None:
    """It ends the stream, after all that was asked for before."""
    dialogue.say(b'{"create_request":{"key":"L2E="}}{"create_request":{"key":"L2E="}}garbage')
    assert dialogue.hear()["created"] is True
    assert dialogue.hear()["watch_id"] == "1"
    assert dialogue.hear_failure()["grpc_code"] == 3
    assert dialogue.hung_up()
    stand.wait_for_readers(0)


def test_a_request_without_end(stand: Stand, dialogue: Dialogue) -> None:
    """A document of a gigabyte is not read to its end."""
    dialogue.create("/")
    dialogue.hear()
    dialogue.say(b'{"create_request":{"key":"%b' % (b"x" * 70_000))
    assert dialogue.hear_failure()["grpc_code"] == 8


def test_who_asks_for_nothing(stand: Stand, monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that sends half a request, and then nothing, doesn't hold its place for long."""
    monkeypatch.setattr(watch, "FIRST_SECONDS", 0.1)
    with opened(stand.socket) as dialogue:
        dialogue.say(b'{"create_req')
        assert dialogue.status == 503
    stand.wait_for_readers(0)


def test_what_is_not_mirrored(stand: Stand, dialogue: Dialogue) -> None:
    """A watch of it is refused with the reason, not silent."""
    for request in (
        create_request("b"),
        create_request(""),
        {"key": b64(b"/"), "range_end": b64(b"\0")},
        {},
    ):
        dialogue.ask(create_request=request)
        document = dialogue.hear()
        reason = document.pop("cancel_reason")
        assert reason.startswith("rpc error: code = FailedPrecondition desc = syncd: "), reason
        assert document == {
            "header": {"cluster_id": "14", "member_id": "7", "raft_term": "2"},
            "watch_id": "-1",
            "created": True,
            "canceled": True,
        }


def test_what_may_not_be_read(stand: Stand, dialogue: Dialogue) -> None:
    """It is refused as etcd does it, and who may read no range is told nothing else."""
    rules = Access([Rule((b"/a",), users=frozenset({12345}))])
    stand.on_loop(lambda: setattr(stand.context, "access", rules))
    stand.on_loop(lambda: setattr(stand.context, "_rights", _Nobody()))
    dialogue.create("/")
    assert dialogue.hear() == {
        "header": {},
        "watch_id": "-1",
        "created": True,
        "canceled": True,
        "cancel_reason": "rpc error: code = PermissionDenied desc = etcdserver: permission denied",
    }


class _Nobody(dict[Any, Any]):
    """The rights of one whom no rule names."""

    def get(self, key: object, default: object = None) -> object:
        """None at all."""
        return Rights([])


def test_nothing_to_tell_yet() -> None:
    """While nothing was read, a stream ends with etcd's code for what is not there."""
    with serving(Kept(prefix_range(b"/"))) as stand, opened(stand.socket) as dialogue:
        dialogue.create("/")
        failure = dialogue.hear_failure()
        assert failure["grpc_code"] == 14
        assert "nothing was read yet" in failure["message"]


def test_readers(stand: Stand, logged: list[Any]) -> None:
    """A stream counts for as many readers as it has watches; a user has not too many."""
    stand.context.watches.limit = 6
    with opened(stand.socket) as dialogue:
        dialogue.create("/")
        dialogue.hear()
        stand.wait_for_readers(1)
        for _ in range(2):
            dialogue.create("/")
            dialogue.hear()
        stand.wait_for_readers(3)
        dialogue.create("/")
        reason = dialogue.hear()["cancel_reason"]
        assert reason.startswith("rpc error: code = ResourceExhausted desc = syncd: 3 watches are open"), (
            reason
        )
        with opened(stand.socket, b'{"create_request":{"key":"L2E="}}') as other:
            assert "no more are left for you" in other.hear()["cancel_reason"]
        stand.wait_for_readers(3)
        dialogue.ask(cancel_request={"watch_id": 1})
        dialogue.hear()
        stand.wait_for_readers(2)
    stand.wait_for_readers(0)
    assert [(line["event"], line["open"]) for line in logged] == [("watches refused", 3)]
    logged.clear()


def test_too_many_on_a_stream(
    stand: Stand, dialogue: Dialogue, monkeypatch: pytest.MonkeyPatch, logged: list[Any]
) -> None:
    """Those beyond are refused, which the log is told once, and count for nothing."""
    monkeypatch.setattr(readers, "MOST", 2)
    for _ in range(20):
        dialogue.create("/")
    documents = [dialogue.hear() for _ in range(20)]
    assert ["canceled" in document for document in documents] == [False] * 2 + [True] * 18
    assert documents[-1]["cancel_reason"] == (
        "rpc error: code = ResourceExhausted desc = syncd: 2 watches are open on this stream, "
        "that is the limit; open another one"
    )
    stand.wait_for_readers(2)
    assert [line["event"] for line in logged] == ["watches refused"]
    logged.clear()


@needs_root
def test_another_user_may_watch(stand: Stand, logged: list[Any]) -> None:
    """Though somebody has asked for as many watches as there are; they count for both kinds of them."""
    stand.context.watches.limit = 12
    open_to_all(stand.socket)
    with opened(stand.socket) as greedy:
        for _ in range(12):
            greedy.create("/")
        for _ in range(12):
            greedy.hear()
        stand.wait_for_readers(6)
        with Dialogue(Other(12345).connected(stand.socket)) as other:
            other.create("/")
            assert "canceled" not in other.hear()
            with Other(12346).stream(stand.socket, "/v1/watch?prefix=/") as local:
                assert local.status == 200
    logged.clear()


@pytest.mark.parametrize(
    ("requests", "answers"),
    [
        ([{"progress_request": {}}], 0),
        ([{"create_request": create_request("b")}], 1),
        ([{"create_request": create_request("/")}, {"cancel_request": {"watch_id": 0}}], 2),
    ],
)
def test_a_stream_without_watches(
    stand: Stand, dialogue: Dialogue, monkeypatch: pytest.MonkeyPatch, requests: list[Any], answers: int
) -> None:
    """It ends after a while: it holds a place for nothing, whether it never had one or has no more."""
    monkeypatch.setattr(watches, "EMPTY_SECONDS", 0.2)
    for request in requests:
        dialogue.ask(**request)
    for _ in range(answers):
        dialogue.hear()
    failure = dialogue.hear_failure()
    assert (failure["grpc_code"], "nothing was watched" in failure["message"]) == (14, True)
    stand.wait_for_readers(0)


def test_who_does_not_read(stand: Stand, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is cut off after a while; others hear everything meanwhile."""
    monkeypatch.setattr(stream, "STALLED", 0.3)
    connection = connected(stand.socket, receive_buffer=4096)
    with Dialogue(connection) as deaf, opened(stand.socket) as other:
        for each in (deaf, other):
            each.create("/")
        other.hear()
        for number in range(30):
            stand.write((b"/a", b"%d" % number * 100_000))
            assert len(told(other.hear())) == 1
        stand.wait_for_readers(1)


def test_who_hangs_up(stand: Stand) -> None:
    """Its place is free again, and nobody minds, whether it was asking, listening or both."""
    for say in ([], [b'{"create_request":{"key":"L2E="}}'], [b'{"create_request":{"key":"L2E="}}', b'{"cre']):
        with opened(stand.socket) as dialogue:
            for chunk in say:
                dialogue.say(chunk)
            if say:
                dialogue.hear()
        stand.wait_for_readers(0)
        stand.write((b"/a", b"x"))


def test_many_watches_on_a_stream(stand: Stand, dialogue: Dialogue) -> None:
    """A thousand keys, each with a watch, and one that tells of all."""
    dialogue.create("/")
    for number in range(1000):
        dialogue.ask(create_request={"key": b64(b"/%d" % number)})
    for _ in range(1001):
        assert dialogue.hear()["created"] is True
    stand.write(*[(b"/%d" % number, b"x") for number in range(1000)])
    documents = [dialogue.hear() for _ in range(1001)]
    assert sorted(len(told(document)) for document in documents) == [1] * 1000 + [1000]
    stand.write((b"/500", b"y"))
    assert [told(dialogue.hear()) for _ in range(2)] == [[("PUT", b"/500", 12)]] * 2
    assert revision(dialogue.progress()) == 12


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
def test_other_methods(stand: Stand, method: str) -> None:
    """As etcd has it, under both names."""
    for prefix in ("/v3", "/v3beta"):
        answer = stand.ask(f"{prefix}/watch", method)
        assert (answer.status, answer.json["code"]) == (501, 12)
