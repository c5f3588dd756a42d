"""Apache APISIX through lua-resty-etcd: reads a directory, follows it, and reads again when it must."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest

from tests.daemon.process import Daemon
from tests.etcd import Etcd
from tests.serve.local import connected, wait_until
from tests.serve.v3.dialogue import Document, over_tcp
from tests.serve.v3.lua import LuaError, LuaEtcd

PREFIX = "/apisix"


class Apisix:
    """What `config_etcd.lua` does with a directory: `step` is one turn of its loop."""

    def __init__(self, etcd: LuaEtcd) -> None:
        self.etcd = etcd
        self.values: dict[str, object] = {}
        self.reads = 0
        self.revision = 0
        """Of the next watch: that after the last header, or the one that a compaction names."""
        self.created = 0
        self.reload()

    def reload(self) -> None:
        """Read everything."""
        answer = self.etcd.readdir(PREFIX, serializable=True)
        self.values = {kv["key"]: kv["value"] for kv in answer.get("kvs", ())}
        self.revision = int(answer["header"]["revision"]) + 1
        self.reads += 1

    def follow(self, until: int) -> None:
        """Watch until everything up to a revision was told, reading again after a compaction."""
        while self.revision <= until:
            watch = self.etcd.watchdir(PREFIX, start_revision=self.revision, need_cancel=True)
            try:
                while self.revision <= until and (document := watch.read()) is not None:
                    if not self._take(document["result"]):
                        break
            except LuaError:
                pass  # the endpoint failed: connect again
            finally:
                watch.close()

    def _take(self, result: Document) -> bool:
        """Whether to go on with this stream."""
        if result.get("created"):
            self.created += 1
            return True
        if result.get("canceled"):
            self.revision = int(result["compact_revision"])
            self.reload()
            return False
        for event in result["events"]:
            kv = event["kv"]
            if event.get("type") == "DELETE":
                self.values.pop(kv["key"], None)
            else:
                self.values[kv["key"]] = kv["value"]
        self.revision = max(self.revision, int(result["header"]["revision"]) + 1)
        return True


@pytest.fixture
def daemon(new_etcd: Etcd) -> Iterator[Daemon]:
    """One that mirrors what APISIX has."""
    new_etcd.put(f"{PREFIX}/routes/1", '{"uri":"/1"}')
    with Daemon(new_etcd.endpoint, ["/"], {"history": {"events": 100}}) as daemon:
        yield daemon.wait_for("live")


@pytest.fixture
def lua(daemon: Daemon) -> LuaEtcd:
    """The client."""
    return LuaEtcd(partial(connected, daemon.socket))


def route(number: int) -> tuple[str, str]:
    """A route of APISIX."""
    return f"{PREFIX}/routes/{number}", json.dumps({"uri": f"/{number}"})


def held(etcd: Etcd) -> dict[str, object]:
    """What etcd has of it."""
    return {kv.key.decode(): json.loads(kv.value) for kv in etcd.range_prefix(PREFIX).kvs}


def test_reads(new_etcd: Etcd, daemon: Daemon, lua: LuaEtcd) -> None:
    """version, get, and readdir with all that it can be told, as from etcd itself."""
    new_etcd.txn_put(route(number) for number in range(30))
    direct = LuaEtcd(partial(over_tcp, new_etcd.port))
    assert lua.version() == direct.version()
    key, _ = route(7)
    revision = new_etcd.revision()
    each: tuple[dict[str, Any], ...] = (
        {},
        {"revision": revision},
        {"limit": 3, "sort_order": "DESCEND", "sort_target": "KEY"},
        {"limit": 3, "sort_order": 1, "sort_target": 0, "keys_only": True},
        {"count_only": True, "serializable": True},
    )
    for attributes in each:
        assert lua.readdir(PREFIX, **attributes) == direct.readdir(PREFIX, **attributes)
        assert lua.get(key, **attributes) == direct.get(key, **attributes)
    assert lua.get("/apisix/nothing") == direct.get("/apisix/nothing")


def test_follows(new_etcd: Etcd, daemon: Daemon, lua: LuaEtcd) -> None:
    """Puts, deletes and transactions arrive, each once read, without reading again."""
    apisix = Apisix(lua)
    new_etcd.put(*route(2))
    apisix.follow(new_etcd.txn_put(route(number) for number in range(3, 9)))
    assert apisix.values == held(new_etcd)
    new_etcd.delete(route(3)[0])
    apisix.follow(new_etcd.put(*route(4)))
    assert apisix.values == held(new_etcd)
    assert (apisix.reads, apisix.created) == (1, 2)


def test_follows_a_past_in_portions(new_etcd: Etcd, daemon: Daemon, lua: LuaEtcd) -> None:
    """It resumes from headers, also in the middle of catching up; nothing is lost by that here."""
    apisix = Apisix(lua)
    for number in range(90):
        new_etcd.put(*route(number))
    last = new_etcd.delete(route(5)[0])
    daemon.wait_for_revision(last)
    for revision in range(apisix.revision, last + 1, 7):
        apisix.follow(revision)
    apisix.follow(last)
    assert apisix.values == held(new_etcd)
    assert apisix.reads == 1


def test_reads_again_after_a_compaction(new_etcd: Etcd, daemon: Daemon, lua: LuaEtcd) -> None:
    """What is no longer kept is told as etcd tells it."""
    apisix = Apisix(lua)
    for number in range(200):
        new_etcd.put(*route(number % 20))
    last = new_etcd.delete(route(1)[0])
    daemon.wait_for_revision(last)
    apisix.follow(last)
    assert apisix.values == held(new_etcd)
    assert apisix.reads == 2


def test_restarts(new_etcd: Etcd, daemon: Daemon, lua: LuaEtcd) -> None:
    """When the daemon stops, it says so as etcd does; a client goes on from where it was, or reads again."""
    apisix = Apisix(lua)
    watch = lua.watchdir(PREFIX, start_revision=apisix.revision)
    document = watch.read()
    assert document is not None
    assert document["result"]["created"] is True
    daemon.stop()
    with pytest.raises(LuaError, match="Service Unavailable"):
        watch.read()
    assert watch.read() is None
    watch.close()
    last = new_etcd.put(*route(2))
    daemon.start().wait_for("live")
    apisix.follow(last)
    assert apisix.values == held(new_etcd)


def test_who_may_not_or_cannot(new_etcd: Etcd, daemon: Daemon) -> None:
    """What the mirror has not got is refused with a reason, and a broken request with a status."""
    lua = LuaEtcd(partial(connected, daemon.socket), "/v3beta")
    watch = lua.watchdir("")
    document = watch.read()
    watch.close()
    assert document is not None
    assert document["result"]["created"] is document["result"]["canceled"] is True
    with pytest.raises(LuaError, match="response code: 400"):
        lua.watchdir(PREFIX, start_revision="x")
    wait_until(lambda: b"syncd_readers 0.0" in daemon.ask("/metrics").body, "no watch is open")
