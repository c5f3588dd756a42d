"""Random watches of random writes: a real etcd 3.5.16 and a daemon that mirrors it tell the same events."""

from __future__ import annotations

import random
import threading
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.daemon.process import Daemon
from tests.etcd import Etcd
from tests.serve.local import connected
from tests.serve.v3.dialogue import Dialogue, b64, over_tcp

KEYS = [f"/a/{number}".encode() for number in range(12)] + [b"/a/\xff", b"/a", b"/a0", b"/\xff\xff"]

Events = dict[str, list[dict[str, Any]]]
"""What each watch told, in order."""


@contextmanager
def asking(dialogue: Dialogue) -> Iterator[None]:
    """Ask for the progress again and again: etcd drops the request while a watch is catching up."""
    done = threading.Event()

    def ask() -> None:
        while not done.wait(0.05):
            dialogue.ask(progress_request={})

    thread = threading.Thread(target=ask, name="asking")
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def heard(dialogue: Dialogue, created: int, revision: int) -> Events:
    """All that is told up to a revision, by so many watches."""
    events: Events = defaultdict(list)
    fragments: set[str] = set()
    while True:
        document = dialogue.hear()
        watch = document.get("watch_id", "0")
        if "created" in document:
            created -= 1
        elif "events" in document:
            events[watch] += document["events"]
            (fragments.add if document.get("fragment") else fragments.discard)(watch)
        elif not created and watch == "-1" and int(document["header"]["revision"]) >= revision:
            assert not fragments
            return events


def write(draw: random.Random, etcd: Etcd) -> None:
    """Change something."""
    key = draw.choice(KEYS)
    kind = draw.randrange(5)
    if kind < 2:
        etcd.put(key, draw.randbytes(draw.choice((0, 1, 30))))
    elif kind == 2:
        etcd.delete(key)
    elif kind == 3:
        etcd.txn_put([(each, draw.randbytes(3)) for each in draw.sample(KEYS, 4)])
    else:
        etcd.delete_prefix(key)


def request(draw: random.Random, first: int, last: int) -> dict[str, Any]:
    """Ask for some watch, from the past, from now, or from later on."""
    key, range_end = sorted(draw.sample(KEYS, 2))
    fields: dict[str, Any] = {"key": b64(key)}
    if draw.random() < 0.7:
        fields["range_end"] = b64(range_end)
    if draw.random() < 0.8:
        fields["start_revision"] = draw.randrange(first, last + 30)
    if draw.random() < 0.5:
        fields["prev_kv"] = True
    if draw.random() < 0.3:
        fields["filters"] = draw.choice((["NOPUT"], ["NODELETE"]))
    if draw.random() < 0.3:
        fields["fragment"] = True
    return {"create_request": fields}


@pytest.mark.parametrize("seed", [1123, 90210])
def test_the_same_events(seed: int) -> None:
    """Whatever is watched, from whenever, on one stream with many others."""
    draw = random.Random(seed)
    with Etcd("3.5.16") as etcd, Daemon(etcd.endpoint) as daemon:
        daemon.wait_for("live")
        first = etcd.revision() + 1
        for _ in range(60):
            write(draw, etcd)
        daemon.wait_for_revision(etcd.revision())
        requests = [request(draw, first, etcd.revision()) for _ in range(40)]
        with Dialogue(over_tcp(etcd.port)) as real, Dialogue(connected(daemon.socket)) as mirror:
            past: list[Events] = []
            for dialogue in (real, mirror):
                for each in requests:
                    dialogue.ask(**each)
                with asking(dialogue):
                    past.append(heard(dialogue, len(requests), etcd.revision()))
            assert past[1] == past[0]
            for _ in range(60):
                write(draw, etcd)
            live: list[Events] = []
            for dialogue in (real, mirror):
                with asking(dialogue):
                    live.append(heard(dialogue, 0, etcd.revision()))
            assert live[1] == live[0]
            for told in (past[0], live[0]):
                assert sum(map(len, told.values())) > 50
