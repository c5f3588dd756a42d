"""The same dialogue with a real etcd 3.5.16 and with a daemon that mirrors it: the same documents."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest

from tests.daemon.process import Daemon
from tests.etcd import Etcd
from tests.serve.local import connected
from tests.serve.v3.dialogue import Dialogue, Document, b64, create_request, over_tcp

PREFIX = "/a/"


class Both:
    """An etcd, a daemon, and a stream from each."""

    def __init__(self, etcd: Etcd, daemon: Daemon) -> None:
        self.etcd = etcd
        self.daemon = daemon
        self._dialogues: list[Dialogue] = []

    def open(self, whole: bytes | None = None) -> None:
        """Hang up, and begin anew."""
        self.close()
        self._dialogues = [
            Dialogue(connection, whole)
            for connection in (over_tcp(self.etcd.port), connected(self.daemon.socket))
        ]

    def close(self) -> None:
        """Hang up."""
        for dialogue in self._dialogues:
            dialogue.close()

    def ask(self, **request: Any) -> None:
        """Send a request to both."""
        for dialogue in self._dialogues:
            dialogue.ask(**request)

    def create(self, prefix: str = PREFIX, **fields: Any) -> None:
        """Ask both for a watch."""
        self.ask(create_request=create_request(prefix, **fields))

    def write(self, write: Callable[[Etcd], int]) -> None:
        """Change something, and wait until the daemon has seen it."""
        self.daemon.wait_for_revision(write(self.etcd))

    def same(self, count: int) -> list[Document]:
        """The next documents, which are the same from both; those of one moment come in any order."""
        etcd, daemon = ([dialogue.hear() for _ in range(count)] for dialogue in self._dialogues)
        for documents in (etcd, daemon):
            documents.sort(key=lambda document: int(document.get("watch_id", 0)))
        assert [_ordered(document) for document in daemon] == [_ordered(document) for document in etcd]
        return daemon


def _ordered(document: Document) -> str:
    """As it stands on the wire, the order of its fields included, but without spaces."""
    return json.dumps(document)


@pytest.fixture(scope="module")
def servers() -> Iterator[tuple[Etcd, Daemon]]:
    """An etcd with some history that a daemon has seen all of."""
    with Etcd("3.5.16") as etcd, Daemon(etcd.endpoint) as daemon:
        daemon.wait_for("live")
        yield etcd, daemon


@pytest.fixture
def both(servers: tuple[Etcd, Daemon]) -> Iterator[Both]:
    """A stream from each; what was written before is gone."""
    both = Both(*servers)
    both.write(lambda etcd: etcd.delete_prefix(""))
    both.open()
    try:
        yield both
    finally:
        both.close()


def test_changes_as_they_come(both: Both) -> None:
    """A put, an overwrite, an empty value, a delete, several keys at once, and nothing that is elsewhere."""
    both.create()
    assert both.same(1)[0]["created"] is True
    writes: Sequence[Callable[[Etcd], int]] = (
        lambda etcd: etcd.put("/a/1", "one"),
        lambda etcd: etcd.put("/a/1", "two"),
        lambda etcd: etcd.put("/a/2", ""),
        lambda etcd: etcd.put(b"/a/\xff\x00", b"\x00\xff"),
        lambda etcd: etcd.txn_put([("/a/3", "x"), ("/b/3", "y"), ("/a/4", "z")]),
        lambda etcd: etcd.delete("/a/1"),
        lambda etcd: etcd.delete_prefix("/a/"),
    )
    for write in writes:
        both.write(write)
        [document] = both.same(1)
        assert document["events"]
    both.write(lambda etcd: etcd.put("/b/1", "elsewhere"))
    both.ask(progress_request={})
    both.same(1)


def test_what_keys_held_before(both: Both) -> None:
    """prev_kv stands beside an overwrite and a delete, not beside a key's beginning."""
    both.create(prev_kv=True)
    both.same(1)
    for write in (
        lambda etcd: etcd.put("/a/1", "one"),
        lambda etcd: etcd.put("/a/1", "two"),
        lambda etcd: etcd.delete("/a/1"),
    ):
        both.write(write)
        both.same(1)


@pytest.mark.parametrize(
    ("filters", "put_told", "delete_told"),
    [
        (["NOPUT"], False, True),
        (["NODELETE"], True, False),
        ([0], False, True),
        ([1], True, False),
        (["FOO"], True, True),
        ([7], True, True),
        ([], True, True),
        (["NOPUT", 1], False, False),
    ],
)
def test_filters(both: Both, filters: list[str | int], put_told: bool, delete_told: bool) -> None:
    """By name or by number; those that nobody knows filter nothing."""
    both.create(filters=filters)
    both.create("/", watch_id=9)
    both.same(2)
    both.write(lambda etcd: etcd.put("/a/1", "one"))
    both.same(1 + put_told)
    both.write(lambda etcd: etcd.delete("/a/1"))
    both.same(1 + delete_told)


def test_the_past(both: Both) -> None:
    """From a revision on, all changes come in one document; a key alone, and from the last revision, too."""
    both.write(lambda etcd: etcd.put("/a/1", "one"))
    start = both.etcd.revision()
    for write in (
        lambda etcd: etcd.txn_put([("/a/1", "two"), ("/a/2", "2")]),
        lambda etcd: etcd.delete("/a/1"),
        lambda etcd: etcd.put("/b/1", "elsewhere"),
        lambda etcd: etcd.put("/a/1", "three"),
    ):
        both.write(write)
    for request in (
        create_request("/a/", start_revision=start),
        create_request("/a/", start_revision=str(start + 1), prev_kv=True),
        create_request("/a/", start_revision=start + 4),
        {"key": b64(b"/a/1"), "start_revision": start},
        {"key": b64(b"/a/1"), "range_end": b64(b"/b"), "startRevision": start, "fragment": True},
    ):
        both.open()
        both.ask(create_request=request)
        created, caught_up = both.same(2)
        assert created["created"] is True
        assert caught_up["events"]


def test_the_future(both: Both) -> None:
    """A watch from a revision that is yet to come is silent until then."""
    now = both.etcd.revision()
    both.create(start_revision=now + 2)
    both.same(1)
    both.write(lambda etcd: etcd.put("/a/1", "too early"))
    both.write(lambda etcd: etcd.put("/a/1", "right"))
    [document] = both.same(1)
    assert [event["kv"]["mod_revision"] for event in document["events"]] == [str(now + 2)]


def test_several_watches(both: Both) -> None:
    """With numbers of their own, or of etcd's choice; each hears of what it asked for."""
    both.create(watch_id=1)
    both.create("/a/1")
    both.create("/b/", watch_id="7")
    both.create("/a/")
    both.create("/a/2", watch_id=-5)
    assert sorted(int(document.get("watch_id", 0)) for document in both.same(5)) == [-5, 0, 1, 2, 7]
    both.write(lambda etcd: etcd.put("/a/1", "x"))
    both.same(3)
    both.write(lambda etcd: etcd.txn_put([("/a/2", "x"), ("/b/2", "x")]))
    both.same(4)


def test_cancelling(both: Both) -> None:
    """What is cancelled is told so, and nothing more after that; its number can be had again."""
    both.create()
    both.create("/a/1", watch_id=7)
    both.same(2)
    both.ask(cancel_request={"watch_id": 70})  # unknown: nothing is said
    both.ask(cancel_request={"watch_id": "7"})
    assert both.same(1)[0]["canceled"] is True
    both.write(lambda etcd: etcd.put("/a/1", "x"))
    both.same(1)
    both.create("/a/1", watch_id=7)
    both.ask(cancel_request={})
    both.create("/a/1")
    for _ in range(3):
        both.same(1)
    both.write(lambda etcd: etcd.put("/a/1", "y"))
    both.same(2)


def test_what_cannot_be(both: Both) -> None:
    """A number that is taken, and an interval without keys, are refused in one document."""
    both.create(watch_id=7)
    both.create(watch_id=7)
    both.same(2)
    for key, range_end in ((b"b", b"a"), (b"b", b"b")):
        both.ask(create_request={"key": b64(key), "range_end": b64(range_end)})
        [document] = both.same(1)
        assert document["canceled"] is True
        assert document["watch_id"] == "-1"


def test_progress(both: Both) -> None:
    """It is told as often as it is asked for, in whatever way the requests are cut."""
    both.create()
    both.same(1)
    for dialogue in both._dialogues:
        dialogue.say(b'{"progress_request":{}}{"progress_request":{}}\n \n{"progress_req')
        dialogue.say(b'uest":{}}\n')
    for _ in range(3):
        assert both.same(1)[0]["watch_id"] == "-1"


def test_a_body_that_ends(both: Both) -> None:
    """The stream goes on without it; what is unknown or empty in it is passed over."""
    create = json.dumps({"create_request": create_request("/a/"), "unknown": [{}]})
    both.open(f'{{}}{{"foo":{{"a":"}}\\""}}}}\n {create}'.encode())
    both.same(1)
    both.write(lambda etcd: etcd.put("/a/1", "x"))
    both.same(1)


def test_a_duplex_body_that_ends(both: Both) -> None:
    """The same when there was time to ask more."""
    both.create()
    both.same(1)
    for dialogue in both._dialogues:
        dialogue.end_body()
    both.write(lambda etcd: etcd.put("/a/1", "x"))
    both.same(1)


def test_compaction(new_etcd: Etcd) -> None:
    """What is gone is told in the same shape; the revision is the oldest that can be had from each."""
    for number in range(4):
        new_etcd.put("/a/1", str(number))
    new_etcd.compact(4)
    with Daemon(new_etcd.endpoint) as daemon:
        both = Both(new_etcd, daemon.wait_for("live"))
        both.open()
        both.create(start_revision=2)
        both.create(start_revision=2, watch_id=5)
        etcd, mirror = ([dialogue.hear() for _ in range(4)] for dialogue in both._dialogues)
        for documents in (etcd, mirror):
            documents.sort(key=lambda document: (document.get("watch_id", "0"), "canceled" in document))
        oldest = str(daemon.range_status()["history"]["oldest_revision"] + 1)
        assert [document.pop("compact_revision", None) for document in etcd] == [None, "4", None, "4"]
        assert [document.pop("compact_revision", None) for document in mirror] == [None, oldest, None, oldest]
        assert list(map(_ordered, mirror)) == list(map(_ordered, etcd))
        both.create(start_revision=oldest, watch_id=6)
        both.same(1)
        both.write(lambda etcd: etcd.put("/a/1", "x"))
        both.same(1)
        both.close()
