"""A guarded range: a disaster in etcd is held back until somebody accepts it, or it is over."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from structlog.testing import capture_logs

from syncd.sync import hold
from tests.etcd import Etcd
from tests.proxy import Proxy
from tests.sync.harness import Mirrored, mirrored

HALF = 0.5
KEYS = [f"/a/{number}" for number in range(10)]


@pytest.fixture(autouse=True)
def _looks_are_frequent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hold, "FIRST", 0.2)
    monkeypatch.setattr(hold, "MOST", 0.2)


@pytest.fixture
async def range_(new_etcd: Etcd) -> AsyncIterator[Mirrored]:
    """A mirror of ten keys, which may lose half of them."""
    new_etcd.txn_put([(key, "x") for key in KEYS])
    async with mirrored(new_etcd.endpoint, guard=HALF) as held:
        await held.until_live()
        yield held


def is_held(range_: Mirrored) -> bool:
    """Whether its status says so."""
    return range_.mirror.status().held is not None


async def test_half_may_go(range_: Mirrored, new_etcd: Etcd) -> None:
    """What is no more than allowed is followed as ever."""
    for key in KEYS[:5]:
        new_etcd.delete(key)
    await range_.agrees_with(new_etcd)
    assert range_.store.count == 5
    assert not is_held(range_)
    assert not range_.recorder.resyncs


async def test_one_transaction_that_deletes_everything_is_held(range_: Mirrored, new_etcd: Etcd) -> None:
    """Nothing of it is seen, the state grows stale, and the status and the log say why and what to do."""
    revision = range_.store.revision
    with capture_logs() as lines:
        gone = new_etcd.delete_prefix("/a/")
        await range_.until(lambda: is_held(range_))
    status = range_.mirror.status()
    assert status.held
    assert (status.held.keys, status.held.would_be, status.held.revision) == (10, 0, gone)
    assert status.error == f"held: at revision {gone}, of 10 keys 0 would be left; guard.max_shrink is 50%"
    assert (status.state, status.revision, status.keys) == ("stale", revision, 10)
    assert status.counters.watch_reconnects == {"held": 1}
    (line,) = (line for line in lines if line["event"] == "held")
    assert line["cure"] == "if that is right: syncd accept /a/; else mend etcd"
    assert not range_.recorder.batches


async def test_deletes_one_by_one_are_added_up(range_: Mirrored, new_etcd: Etcd) -> None:
    """As many as are allowed are followed; the one that is too many is held."""
    for key in KEYS:
        new_etcd.delete(key)
    await range_.until(lambda: is_held(range_))
    assert range_.store.count == 5
    assert [len(batch.events) for batch in range_.recorder.batches] == [1] * 5


async def test_what_is_accepted_is_followed(range_: Mirrored, new_etcd: Etcd) -> None:
    """In one step, as a resync; and the next disaster is held again."""
    assert not range_.mirror.accept()
    new_etcd.delete_prefix("/a/")
    new_etcd.put("/a/new", "1")
    # One of none that was there before, but that is what is shown and accepted.
    await range_.until(lambda: (held := range_.mirror.status().held) and held.would_be == 1)
    assert range_.mirror.accept()
    await range_.agrees_with(new_etcd)
    await range_.until_live()
    assert not is_held(range_)
    (batch,) = range_.recorder.batches
    assert batch.resync
    assert len(batch.events) == 11
    assert range_.full_reads == {"initial": 1, "held": 1}
    new_etcd.delete("/a/new")
    await range_.until(lambda: is_held(range_))
    assert range_.store.count == 1


async def test_more_than_was_shown_is_not_accepted(range_: Mirrored, new_etcd: Etcd) -> None:
    """The status tells what etcd has by now; what comes after the word is measured by that."""
    for key in KEYS[:6]:
        new_etcd.delete(key)
    await range_.until(lambda: is_held(range_))
    new_etcd.delete(KEYS[6])
    await range_.until(lambda: (held := range_.mirror.status().held) and held.would_be == 3)
    for key in KEYS[7:]:
        new_etcd.delete(key)
    range_.mirror.accept()  # perhaps it was looked at once more by now, and shown
    await range_.until(lambda: (held := range_.mirror.status().held) is None or held.would_be == 0)
    assert range_.store.count in (0, 5)


async def test_etcd_that_is_away_is_told_while_a_range_is_held(new_etcd: Etcd) -> None:
    """Accepted meanwhile, it stays held until etcd can be read."""
    new_etcd.txn_put([(key, "x") for key in KEYS])
    async with Proxy(new_etcd.port) as proxy, mirrored(proxy.url, guard=HALF) as range_:
        await range_.until_live()
        new_etcd.delete_prefix("/a/")
        await range_.until(lambda: is_held(range_))
        proxy.refuse()
        await range_.until(lambda: "connection" in (range_.mirror.status().error or ""))
        assert range_.mirror.accept()
        assert is_held(range_)
        assert range_.mirror.accept()
        proxy.let_through()
        await range_.agrees_with(new_etcd)
        await range_.until(lambda: not is_held(range_))
        assert range_.store.count == 0


async def test_when_the_keys_are_back_nobody_has_seen_them_go(range_: Mirrored, new_etcd: Etcd) -> None:
    """It needs nobody's word then; readers get only the difference."""
    new_etcd.delete_prefix("/a/")
    await range_.until(lambda: is_held(range_))
    new_etcd.txn_put([(key, "y") for key in KEYS[:-1]])
    await range_.until_live()
    await range_.agrees_with(new_etcd)
    assert not is_held(range_)
    assert [(batch.resync, len(batch.events)) for batch in range_.recorder.batches] == [(True, 10)]


async def test_a_reread_is_held(new_etcd: Etcd) -> None:
    """What went while etcd was out of sight, and whose history is gone, comes only with a read."""
    new_etcd.txn_put([(key, "x") for key in KEYS])
    async with Proxy(new_etcd.port) as proxy, mirrored(proxy.url, guard=HALF) as range_:
        await range_.until_live()
        proxy.refuse()
        new_etcd.delete_prefix("/a/")
        new_etcd.compact(new_etcd.revision())
        proxy.let_through()
        await range_.until(lambda: is_held(range_))
        assert range_.store.count == 10
        assert range_.full_reads == {"initial": 1, "compacted": 1}
        range_.mirror.accept()
        await range_.agrees_with(new_etcd)
        assert range_.store.count == 0


async def test_other_keys_are_no_comfort(new_etcd: Etcd) -> None:
    """As many as before, but none of those that were: a read finds that, and it is held on."""
    new_etcd.txn_put([(key, "x") for key in KEYS])
    async with Proxy(new_etcd.port) as proxy, mirrored(proxy.url, guard=HALF) as range_:
        await range_.until_live()
        proxy.refuse()
        new_etcd.delete_prefix("/a/")
        new_etcd.txn_put([(f"{key}-other", "x") for key in KEYS])
        new_etcd.compact(new_etcd.revision())
        proxy.let_through()
        await range_.until(lambda: is_held(range_))
        await range_.until(lambda: range_.full_reads["compacted"] == 2)  # after a pause, it is read once more
        held = range_.mirror.status().held
        assert held
        assert (held.keys, held.would_be) == (10, 0)
        assert range_.store.count == 10
        range_.mirror.accept()
        await range_.agrees_with(new_etcd)
        await range_.until(lambda: not is_held(range_))


async def test_what_went_while_etcd_was_out_of_sight_is_not_followed(new_etcd: Etcd) -> None:
    """Not the half of it that would be allowed, either, as by the stream, one delete after the other."""
    new_etcd.txn_put([(key, "x") for key in KEYS])
    async with Proxy(new_etcd.port) as proxy, mirrored(proxy.url, guard=HALF) as range_:
        await range_.until_live()
        proxy.refuse()
        for key in KEYS:
            new_etcd.delete(key)
        proxy.let_through()
        await range_.until(lambda: is_held(range_))
        assert range_.store.count == 10
        assert not range_.recorder.batches


async def test_a_wiped_etcd_is_held(range_: Mirrored, new_etcd: Etcd) -> None:
    """The old epoch is served on; accepted, it is a new one."""
    epoch = range_.store.epoch
    new_etcd.begin_anew()
    new_etcd.put("/a/0", "x")
    await range_.until(lambda: is_held(range_))
    assert (range_.store.epoch, range_.store.count) == (epoch, 10)
    range_.mirror.accept()
    await range_.until(lambda: range_.store.epoch != epoch)
    await range_.agrees_with(new_etcd)
    assert range_.store.count == 1


async def test_without_a_guard_everything_is_followed(new_etcd: Etcd) -> None:
    """It is off by default."""
    new_etcd.txn_put([(key, "x") for key in KEYS])
    async with mirrored(new_etcd.endpoint) as range_:
        await range_.until_live()
        new_etcd.delete_prefix("/a/")
        await range_.agrees_with(new_etcd)
        assert range_.store.count == 0
        assert not range_.recorder.resyncs
