"""What tests of mirrors have in common."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from threading import Event, Thread

from syncd.client import Mirror, Update
from tests.daemon.process import Daemon
from tests.etcd import Etcd

HEARTBEAT = 0.2
SECONDS = 30.0
"""That anything may take: far more than it does."""


def mirror_of(daemon: Daemon, prefix: str = "/") -> Mirror[bytes]:
    """A mirror whose age begins anew often."""
    return Mirror(prefix, socket_path=str(daemon.socket), heartbeat=HEARTBEAT)


def contents(etcd: Etcd, prefix: str = "/") -> dict[str, bytes]:
    """What a mirror should hold."""
    return {kv.key.decode(): kv.value for kv in etcd.range_prefix(prefix).kvs}


class Follower:
    """Does as the updates say, and knows of nothing else.

    When `lenient`, an update may come twice, as it does in a child that was forked meanwhile.
    """

    def __init__(self, *, lenient: bool = False) -> None:
        self.lenient = lenient
        self.state: dict[str, object] = {}
        self.gaps = 0

    def __call__(self, update: Update[bytes]) -> None:
        """Take in one more; it must fit what came before."""
        self.gaps += update.gap
        for change in update.changes:
            if not self.lenient:
                assert (change.kind != "added") == (change.key in self.state), change
                assert change.old == self.state.get(change.key), change
            if change.kind == "removed":
                self.state.pop(change.key, None)
            else:
                self.state[change.key] = change.value


def whole(view: Mapping[str, bytes]) -> bool:
    """Whether a view shows both of what `twins` writes, or neither."""
    return view.get("/twin/1") == view.get("/twin/2") and ("/odd" in view) != ("/even" in view)


@contextmanager
def twins(etcd: Etcd) -> Iterator[None]:
    """Write, as fast as etcd goes, two equal keys, and two of which there is always one; see `whole`."""
    stop = Event()
    etcd.txn_put([("/twin/1", "0"), ("/twin/2", "0"), ("/even", "0")])

    def write() -> None:
        count = 0
        while not stop.is_set():
            count += 1
            etcd.txn_put([("/twin/1", f"{count}"), ("/twin/2", f"{count}")])
            etcd.ask("/kv/txn", {"success": moved("/even", "/odd") if count % 2 else moved("/odd", "/even")})

    writer = Thread(target=write)
    writer.start()
    try:
        yield
    finally:
        stop.set()
        writer.join()


def moved(old: str, new: str) -> list[dict[str, dict[str, str]]]:
    """The operations of a transaction that deletes one key and puts another."""
    key, other = (b64encode(name.encode()).decode() for name in (old, new))
    return [{"request_delete_range": {"key": key}}, {"request_put": {"key": other, "value": ""}}]
