"""A syncd that mirrors from a syncd that mirrors from a syncd: each is an etcd to the next one."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.daemon.process import Daemon
from tests.etcd import Etcd, reserve_port
from tests.serve.local import record_bytes, target, wait_until

PREFIX = "/app/"

Contents = dict[bytes, tuple[bytes, int, int, int]]
"""Value, create_revision, mod_revision and version of each key."""


class Chain:
    """Three daemons in a row, the first one at etcd."""

    def __init__(self, etcd: Etcd, folder: Path, stack: ExitStack) -> None:
        self.etcd = etcd
        self.daemons: list[Daemon] = []
        self._draw = random.Random(1123)
        upstream = etcd.endpoint
        for number in range(3):
            port = stack.enter_context(reserve_port()).getsockname()[1]
            settings = {
                "serve": {"listen": f"127.0.0.1:{port}"},
                "cache": {"directory": str(folder / f"copy{number}")},
            }
            self.daemons.append(stack.enter_context(Daemon(upstream, [PREFIX], settings)))
            upstream = f"http://127.0.0.1:{port}"
        self.wait()

    def change(self, times: int) -> None:
        """Put and delete, one key or several at a time, and some that are elsewhere."""
        draw, etcd = self._draw, self.etcd
        for _ in range(times):
            key = f"{PREFIX}{draw.randrange(50)}"
            changes: tuple[Callable[[], int], ...] = (
                lambda key=key: etcd.put(key, str(draw.random())),  # type: ignore[misc]
                lambda key=key: etcd.delete(key),  # type: ignore[misc]
                lambda: etcd.txn_put((f"{PREFIX}{number}", "x") for number in draw.sample(range(50), 5)),
                lambda: etcd.put("elsewhere", "x"),
            )
            draw.choice(changes)()

    def wait(self) -> None:
        """Wait until all are live, and where etcd is; then they hold what it holds."""
        revision = self.etcd.revision()
        for daemon in self.daemons:
            daemon.wait_for("live").wait_for_revision(revision)
        expected = contents_of_etcd(self.etcd)
        for daemon in self.daemons:
            assert contents(daemon) == expected

    def full_reads(self, number: int) -> dict[str, int]:
        """What a daemon read in full since it was started, and why."""
        reads: dict[str, int] = self.daemons[number].range_status()["counters"]["full_reads"]
        return reads


def contents(daemon: Daemon) -> Contents:
    """What a daemon serves."""
    answer = daemon.ask(target("snapshot", prefix=PREFIX))
    return {
        record_bytes(record, "key"): (
            record_bytes(record, "value"),
            record["create_revision"],
            record["mod_revision"],
            record["version"],
        )
        for record in answer.lines[1:-1]
    }


def contents_of_etcd(etcd: Etcd) -> Contents:
    """What etcd holds."""
    return {
        kv.key: (kv.value, kv.create_revision, kv.mod_revision, kv.version)
        for kv in etcd.range_prefix(PREFIX).kvs
    }


@pytest.fixture
def chain(new_etcd: Etcd, tmp_path: Path) -> Iterator[Chain]:
    """One that is live."""
    new_etcd.txn_put((f"{PREFIX}{number}", "x") for number in range(20))
    with ExitStack() as stack:
        chain = Chain(new_etcd, tmp_path, stack)
        yield chain
        for daemon in chain.daemons:
            daemon.assert_no_traceback()


def test_changes_go_all_the_way(chain: Chain) -> None:
    """Each reads once, follows on a stream that can be asked, and what is quiet is proved current, too."""
    chain.change(100)
    chain.wait()
    chain.etcd.put("elsewhere", "x")
    chain.wait()
    for number, daemon in enumerate(chain.daemons):
        status = daemon.range_status()
        assert status["duplex"] is True
        assert chain.full_reads(number) == {"initial": 1}
        assert status["epoch"].split("-")[0] == chain.daemons[0].range_status()["epoch"].split("-")[0]


def test_each_is_killed_and_comes_back(chain: Chain) -> None:
    """Amid changes; with its copy it goes on, and so do those behind it: nobody reads again."""
    for number, daemon in enumerate(chain.daemons):
        chain.change(10)
        daemon.kill()
        chain.change(20)
        daemon.start()
        chain.change(10)
        chain.wait()
        assert chain.full_reads(number) == {}
    assert [chain.full_reads(number) for number in range(3)] == [{}, {}, {}]


def test_each_is_stopped_and_comes_back(chain: Chain) -> None:
    """The same when it has the time to say so, and nothing has changed meanwhile."""
    chain.wait()
    for number in (1, 0, 2):
        chain.daemons[number].stop()
        chain.daemons[number].start()
        chain.wait()
        assert chain.full_reads(number) == {}
    assert [chain.full_reads(number) for number in range(3)] == [{}, {}, {}]


def test_compacted_while_the_first_is_away(chain: Chain) -> None:
    """It reads again, the others are told of a gap, and read from it: etcd is read once."""
    first = chain.daemons[0]
    first.kill()
    chain.change(50)
    chain.etcd.compact(chain.etcd.revision())
    chain.change(5)
    first.start()
    chain.wait()
    assert chain.full_reads(0) == {"compacted": 1}
    chain.change(20)
    chain.wait()


def test_the_first_has_lost_its_copy(chain: Chain) -> None:
    """It reads anew, and knows nothing of before: those behind it read again, once, and nothing is missed."""
    first = chain.daemons[0]
    first.kill()
    first.settings["cache"]["directory"] = None
    first.write()
    chain.change(20)
    first.start()
    chain.wait()
    assert chain.full_reads(0) == {"initial": 1}
    assert [sum(chain.full_reads(number).values()) for number in (1, 2)] == [2, 2]
    chain.change(20)
    chain.wait()


def test_etcd_is_down(chain: Chain) -> None:
    """All go on to serve, and know that it is old; when etcd is back, all are live again."""
    expected = contents_of_etcd(chain.etcd)
    chain.etcd.kill()
    for daemon in chain.daemons:
        daemon.wait_for("stale")
        assert contents(daemon) == expected
    chain.etcd.start()
    chain.change(10)
    chain.wait()
    assert [chain.full_reads(number) for number in range(3)] == [{"initial": 1}] * 3


@pytest.mark.parametrize("new_cluster_id", [True, False])
def test_etcd_is_replaced(chain: Chain, new_cluster_id: bool) -> None:
    """Another cluster, or the same one wiped, with lower revisions: all follow it in a new epoch."""
    chain.change(30)
    chain.wait()
    before = [daemon.range_status()["epoch"] for daemon in chain.daemons]
    chain.etcd.begin_anew(new_cluster_id=new_cluster_id)
    chain.etcd.put(f"{PREFIX}new", "x")
    wait_until(
        lambda: all(
            daemon.range_status()["epoch"] != epoch
            for daemon, epoch in zip(chain.daemons, before, strict=True)
        ),
        "another epoch in each",
    )
    chain.wait()
