"""The judge against real servers: whatever befalls them, its history is what was written."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest

from tests.etcd import Cluster, Etcd
from tests.reliability.history import Change, Generation, History, Record
from tests.reliability.judge import Judge, JudgeError
from tests.serve.local import wait_until

PASSWORD = "correct horse battery staple"
PATIENCE = 30.0


@asynccontextmanager
async def judging(history: History, *members: Etcd, user: str = "") -> AsyncIterator[Judge]:
    """Watch `members` meanwhile."""
    endpoints = [member.endpoint for member in members]
    judge = Judge(history, endpoints, members[0].api_prefix, user, PASSWORD)
    async with asyncio.TaskGroup() as group:
        task = group.create_task(judge.run(), name="judge")
        try:
            async with asyncio.timeout(PATIENCE):
                yield judge
        finally:
            task.cancel()


def same_as(etcd: Etcd, generation: Generation, first: int = 1) -> None:
    """At every revision from `first` on, the history's state is what etcd says it was."""
    assert generation.head == etcd.revision()
    for revision in range(first, generation.head + 1):
        kvs = etcd.range_prefix("", revision=revision).kvs
        assert list(generation.state(b"", revision).values()) == [Record(*kv) for kv in kvs]


def write(etcd: Etcd, text: str) -> int:
    """All kinds of writes; the last one's revision."""
    etcd.put("/c/a", text)
    etcd.put(b"/c/\xff", b"\xfe" + text.encode())
    etcd.txn_put([("/c/b", text), ("/c/a", ""), ("/o", text)])
    etcd.delete("/c/b")
    lease = int(etcd.ask("/lease/grant", {"TTL": 3600})["ID"])
    etcd.put("/c/leased", text, lease)
    etcd.txn_put([("/c/x/1", text), ("/c/x/2", text)])
    etcd.delete_prefix("/c/x/")
    return etcd.put("/c/b", text + "!")


async def test_the_history_is_what_was_written(etcd: Etcd) -> None:
    """With each version: from the first revision on, what was there before and what comes."""
    history = History()
    before = write(etcd, "before")
    async with judging(history, etcd) as judge:
        await judge.caught_up(before)
        await judge.caught_up(write(etcd, "after"))
    same_as(etcd, history.current)


async def test_a_long_history_is_caught_up_with(new_etcd: Etcd) -> None:
    """More revisions than etcd sends in one document, each of several events, which may not be torn."""
    history = History()
    pairs = [(f"/c/{i % 700}", str(i)) for i in range(2500 * 3)]
    last = new_etcd.txn_put(pairs, ops=3)
    async with judging(history, new_etcd) as judge:
        await judge.caught_up(last)
    assert last > 2500
    assert {len(history.current.events(revision)) for revision in range(2, last + 1)} == {3}
    same_as(new_etcd, history.current, last - 20)


async def test_a_killed_and_a_paused_server_is_watched_on(new_etcd: Etcd) -> None:
    """Nothing is lost and nothing comes twice."""
    history = History()
    async with judging(history, new_etcd) as judge:
        await judge.caught_up(write(new_etcd, "1"))
        new_etcd.kill()
        await asyncio.to_thread(new_etcd.start)
        await judge.caught_up(write(new_etcd, "2"))
        new_etcd.pause()
        new_etcd.resume()
        await judge.caught_up(write(new_etcd, "3"))
    assert judge.streams >= 2
    same_as(new_etcd, history.current)


async def test_a_compaction_takes_nothing_away(new_etcd: Etcd) -> None:
    """What the judge knows it keeps, also when it has to begin its watch anew."""
    history = History()
    async with judging(history, new_etcd) as judge:
        revision = write(new_etcd, "1")
        await judge.caught_up(revision)
        new_etcd.compact(revision)
        new_etcd.kill()
        await asyncio.to_thread(new_etcd.start)
        await judge.caught_up(write(new_etcd, "2"))
    same_as(new_etcd, history.current, revision)
    assert history.current.record(b"/c/a", 2)


async def test_what_was_compacted_unseen_is_an_error(new_etcd: Etcd, monkeypatch: pytest.MonkeyPatch) -> None:
    """A history with a hole is none: the judge says so instead of going on."""
    monkeypatch.setattr("tests.reliability.judge.COMPACTED_SECONDS", 0.3)
    new_etcd.compact(write(new_etcd, "1"))
    with pytest.raises(JudgeError, match="compacted everything before"):
        await asyncio.wait_for(Judge(History(), [new_etcd.endpoint], "/v3", "", "").run(), PATIENCE)


async def test_a_wiped_server_is_another_generation(new_etcd: Etcd) -> None:
    """The old one stays; a wait for what it will never have ends."""
    history = History()
    async with judging(history, new_etcd) as judge:
        await judge.caught_up(write(new_etcd, "1"))
        states = [new_etcd.range_prefix("", revision=r).kvs for r in range(1, history.current.head + 1)]
        never = asyncio.gather(judge.caught_up(10_000), return_exceptions=True)
        await asyncio.sleep(0)
        new_etcd.kill()
        assert history.begin(0) == 1
        new_etcd.wipe()
        await asyncio.to_thread(new_etcd.start)
        await judge.caught_up(write(new_etcd, "2"))
        [error] = await never
        assert isinstance(error, JudgeError)
    same_as(new_etcd, history.current)
    old = history.of(0)
    for revision, kvs in enumerate(states, start=1):
        assert list(old.state(b"", revision).values()) == [Record(*kv) for kv in kvs]


async def test_a_restored_server_goes_on_from_the_snapshot(new_etcd: Etcd) -> None:
    """What came after the snapshot is of the old generation only."""
    history = History()
    async with judging(history, new_etcd) as judge:
        since = write(new_etcd, "1")
        file = new_etcd.directory / "saved"
        new_etcd.etcdctl("snapshot", "save", str(file))
        lost = write(new_etcd, "2")
        await judge.caught_up(lost)
        new_etcd.kill()
        history.begin(since)
        await asyncio.to_thread(new_etcd.restore, file)
        await asyncio.to_thread(new_etcd.start)
        await judge.caught_up(write(new_etcd, "3"))
    same_as(new_etcd, history.current)
    value = history.of(0).record(b"/c/b", lost)
    assert value
    assert value.value == b"2!"


async def test_the_history_is_held_against_what_etcd_holds(
    new_etcd: Etcd, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Read page by page at one revision; a history that says otherwise is an error that names the keys."""
    monkeypatch.setattr("tests.reliability.direct.PAGE_KEYS", 3)
    history = History()
    write(new_etcd, "1")
    new_etcd.txn_put([(f"/c/{i}", str(i)) for i in range(7)])
    async with judging(history, new_etcd) as judge:
        assert await judge.compare_with_etcd() == 12
        [key, *_] = history.current.keys(b"/c/3")
        past = history.current._pasts[key]
        past.records[-1] = None
        with pytest.raises(JudgeError, match=r"1 of 12 keys otherwise.*b'/c/3'.*known is None"):
            await judge.compare_with_etcd()


async def test_a_wait_for_what_nobody_tells_ends(new_etcd: Etcd, monkeypatch: pytest.MonkeyPatch) -> None:
    """It says what is known, and what is missing."""
    monkeypatch.setattr("tests.reliability.judge.PATIENCE", 0.2)
    async with judging(History(), new_etcd) as judge:
        with pytest.raises(JudgeError, match=r"known up to 1, not to 9"):
            await judge.caught_up(9)


async def test_an_etcd_that_cannot_be_read_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """It says why."""
    monkeypatch.setattr("tests.reliability.judge.PATIENCE", 0.2)
    judge = Judge(History(), ["http://127.0.0.1:1"], "/v3", "", "")
    with pytest.raises(JudgeError, match=r"could not be read within 0.2 s.*127.0.0.1:1"):
        await judge.compare_with_etcd()


@pytest.fixture
def guarded() -> Iterator[Cluster]:
    """Run a cluster of three that only root may read."""
    with Cluster(flags=["--bcrypt-cost=4", "--auth-token-ttl=2"]) as cluster:
        etcd = cluster.members[0]
        etcd.ask("/auth/user/add", {"name": "root", "password": PASSWORD})
        etcd.ask("/auth/role/add", {"name": "root"})
        etcd.ask("/auth/user/grant", {"user": "root", "role": "root"})
        yield cluster


def put(etcd: Etcd, key: str) -> int:
    """Put a key, as root; its revision."""
    said = etcd.etcdctl(f"--user=root:{PASSWORD}", "--write-out=json", "put", key, "")
    return int(json.loads(said)["header"]["revision"])


async def test_the_members_of_a_guarded_cluster_tell_one_history(guarded: Cluster) -> None:
    """Killed one after the other, each forgets the token that it gave; the last one alone told of the end."""
    first, second, third = guarded.members
    first.ask("/auth/enable", {})
    history = History()
    async with judging(history, *guarded.members, user="root") as judge:
        for number, (down, up) in enumerate(((second, third), (third, first), (first, second))):
            if number == 1:
                down.pause()
            else:
                down.kill()
            await asyncio.to_thread(wait_until, up.is_healthy, "a leader")
            last = put(up, f"/c/{number}")
            await judge.caught_up(last)
            if number == 1:
                down.resume()
            else:
                down.launch()
                await asyncio.to_thread(down.wait_until_ready)
        assert await judge.compare_with_etcd() == 3
    assert [event.key for r in range(2, last + 1) for event in history.current.events(r)] == [
        b"/c/0",
        b"/c/1",
        b"/c/2",
    ]
    assert judge.streams >= 5


async def test_members_that_contradict_each_other_are_an_error() -> None:
    """Two servers that are no cluster, under the names of one."""
    with Etcd() as one, Etcd() as other:
        one.put("/c/a", "1")
        other.put("/c/a", "2")
        judge = Judge(History(), [one.endpoint, other.endpoint], "/v3", "", "")
        with pytest.raises(JudgeError, match="another member told"):
            await asyncio.wait_for(judge.run(), PATIENCE)


async def test_a_revision_that_cannot_follow_is_an_error() -> None:
    """Whoever told it has lost an event."""
    judge = Judge(history := History(), [], "/v3", "", "")
    changes = [Change(b"k", Record(b"k", b"", 2, 2, 2, 0), None)]
    with pytest.raises(JudgeError, match="an event was lost"):
        await judge.take(history.current, "member", 2, changes)
