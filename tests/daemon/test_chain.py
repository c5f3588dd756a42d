"""A syncd that mirrors from a syncd that mirrors from a syncd: each is an etcd to the next one."""

from __future__ import annotations

import random
import shutil
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

    def full_reads(self) -> list[dict[str, int]]:
        """What each read in full since it was started, and why."""
        return [daemon.range_status()["counters"]["full_reads"] for daemon in self.daemons]


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


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chain]:
    """One for all tests: whatever is done to it, it is to be well again."""
    with Etcd() as etcd, ExitStack() as stack:
        etcd.txn_put((f"{PREFIX}{number}", "x") for number in range(20))
        chain = Chain(etcd, tmp_path_factory.mktemp("copies"), stack)
        chain.wait()
        assert chain.full_reads() == [{"initial": 1}] * 3
        yield chain


@pytest.fixture
def chain(made: Chain) -> Iterator[Chain]:
    """It, while it is live."""
    made.wait()
    yield made
    made.wait()
    for daemon in made.daemons:
        daemon.assert_no_traceback()


def test_changes_go_all_the_way(chain: Chain) -> None:
    """Each follows on a stream that can be asked, and what is quiet is proved current, too."""
    before = chain.full_reads()
    chain.change(100)
    chain.wait()
    chain.etcd.put("elsewhere", "x")
    chain.wait()
    statuses = [daemon.range_status() for daemon in chain.daemons]
    assert [status["duplex"] for status in statuses] == [True] * 3
    assert len({status["epoch"].split("-")[0] for status in statuses}) == 1
    assert chain.full_reads() == before


def test_each_ends_and_comes_back(chain: Chain) -> None:
    """Killed or stopped amid changes, with its copy it goes on, as do those behind: nobody reads again."""
    for number, daemon in enumerate(chain.daemons):
        chain.change(10)
        if number == 1:
            daemon.stop()
        else:
            daemon.kill()
        chain.change(20)
        daemon.start()
        chain.change(10)
        chain.wait()
    assert chain.full_reads() == [{}] * 3


def test_compacted_while_the_first_is_away(chain: Chain) -> None:
    """It reads again, the others are told of a gap, and read from it: etcd is read once."""
    first = chain.daemons[0]
    first.kill()
    chain.change(50)
    chain.etcd.compact(chain.etcd.revision())
    chain.change(5)
    first.start()
    chain.wait()
    assert chain.full_reads()[0] == {"compacted": 1}
    chain.change(20)


def test_the_first_has_lost_its_copy(chain: Chain) -> None:
    """It reads anew, and knows nothing of before: those behind it read again, once, and miss nothing."""
    first, before = chain.daemons[0], chain.full_reads()
    copy = first.settings["cache"]["directory"]
    first.kill()
    shutil.rmtree(copy)
    chain.change(20)
    first.start()
    chain.wait()
    reads = chain.full_reads()
    assert reads[0] == {"initial": 1}
    assert [sum(each.values()) for each in reads[1:]] == [sum(each.values()) + 1 for each in before[1:]]
    chain.change(20)


def test_etcd_is_down(chain: Chain) -> None:
    """All go on to serve, and know that it is old; when etcd is back, all are live again."""
    before, expected = chain.full_reads(), contents_of_etcd(chain.etcd)
    chain.etcd.kill()
    for daemon in chain.daemons:
        daemon.wait_for("stale")
        assert contents(daemon) == expected
    chain.etcd.start()
    chain.change(10)
    chain.wait()
    assert chain.full_reads() == before


def test_etcd_is_replaced(chain: Chain) -> None:
    """By one with lower revisions, though the cluster says it is the same: all follow it in a new epoch."""
    chain.change(30)
    chain.wait()
    before = [daemon.range_status()["epoch"] for daemon in chain.daemons]
    chain.etcd.begin_anew()
    chain.etcd.put(f"{PREFIX}new", "x")
    wait_until(
        lambda: all(
            daemon.range_status()["epoch"] != epoch
            for daemon, epoch in zip(chain.daemons, before, strict=True)
        ),
        "another epoch in each",
    )
