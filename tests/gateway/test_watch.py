"""Watch streams against every real version of etcd."""

from __future__ import annotations

import asyncio
import os
import re
import signal

import pytest

from syncd.gateway import Compacted, Unavailable, Unreachable, WatchEvent, WatchResult, WatchStream
from syncd.keyrange import KeyRange, prefix_range
from tests.etcd import Etcd
from tests.gateway.conftest import Connect
from tests.gateway.proxy import buffering_proxy

KEYS = prefix_range(b"/")
SOON = 5.0  # everything here takes milliseconds


async def following(stream: WatchStream) -> WatchResult:
    """The next result, soon."""
    async with asyncio.timeout(SOON):
        return await anext(stream)


async def events(stream: WatchStream, count: int) -> list[WatchEvent]:
    """The next so many events."""
    found: list[WatchEvent] = []
    while len(found) < count:
        found += (await following(stream)).events
    assert len(found) == count
    return found


async def until_it_ends(stream: WatchStream) -> None:
    """Read to the error; 3.5.30 lets a watch go on for 5 s after SIGTERM."""
    async with asyncio.timeout(4 * SOON):
        while True:
            await anext(stream)


@pytest.mark.parametrize("duplex", ["auto", "on", "off"])
async def test_what_happened_and_what_happens(etcd: Etcd, connect: Connect, duplex: str) -> None:
    """First `created`, then the past from the start revision on, then what comes; only of the range."""
    etcd.put("/a", "1")
    etcd.put("/a", "2")
    etcd.put("0", "x")
    async with connect(etcd.endpoint, duplex=duplex).watch(KEYS, 3) as stream:
        assert stream.duplex is (duplex != "off")
        assert stream.url == etcd.endpoint
        created = await following(stream)
        assert created.created
        assert not created.is_progress
        assert created.header.revision == 4
        (old,) = await events(stream, 1)
        assert (old.type, old.kv.value, old.kv.create_revision, old.kv.mod_revision) == ("PUT", b"2", 2, 3)
        etcd.txn_put([("/b", ""), ("/c", "3")])
        both = (await following(stream)).events
        assert [(e.kv.key, e.kv.value, e.kv.mod_revision, e.kv.version) for e in both] == [
            (b"/b", b"", 5, 1),
            (b"/c", b"3", 5, 1),
        ]
        etcd.delete_prefix("/")
        gone = (await following(stream)).events
        assert {(e.type, e.kv.key, e.kv.value, e.kv.mod_revision) for e in gone} == {
            ("DELETE", key, b"", 6) for key in (b"/a", b"/b", b"/c")
        }


async def test_a_progress_request_is_answered_at_once(etcd: Etcd, connect: Connect) -> None:
    """With the revision of the whole key space, though nothing happened in the range."""
    # Not from the past: from 3.5.13 on, the request is dropped while the watch is catching up.
    async with connect(etcd.endpoint).watch(KEYS, 2) as stream:
        assert stream.duplex
        assert (await following(stream)).created
        for _ in range(3):
            revision = etcd.put("elsewhere", "x")
            begin = asyncio.get_running_loop().time()
            stream.request_progress()
            result = await following(stream)
            while result.header.revision < revision:  # not synchronised before 3.4.25 and 3.5.8
                stream.request_progress()
                result = await following(stream)
            assert asyncio.get_running_loop().time() - begin < 1
            assert result.is_progress
            assert result.watch_id == -1
            assert result.header.revision == revision
            assert stream.synchronised is (etcd.version in {"3.5.16", "3.5.30"})


async def test_behind_one_url_there_may_be_several_members(etcd: Etcd, connect: Connect) -> None:
    """What one of them told of its version says nothing about another."""
    gateway = connect(etcd.endpoint)
    await gateway.revision(KEYS)
    endpoint = gateway.endpoints.current
    assert endpoint.member_id
    assert endpoint.version == etcd.version
    async with gateway.watch(KEYS, 1) as stream:
        assert (await following(stream)).created
        assert stream.synchronised is endpoint.synchronised
    endpoint.member_id += 1
    async with gateway.watch(KEYS, 1) as stream:
        assert (await following(stream)).created
        assert not stream.synchronised


async def test_an_idle_etcd_may_owe_a_progress_answer(etcd: Etcd, connect: Connect) -> None:
    """3.5.30 gives none before its revision has reached the start: not to who waits for the next change.

    So since etcd's pull request 20229. A watch from a revision that is there already is answered, but only
    when it has caught up, within 100 ms.
    """
    assert etcd.put("/a", "1") == 2
    gateway = connect(etcd.endpoint)
    async with gateway.watch(KEYS, 3) as stream:
        assert (await following(stream)).created
        stream.request_progress()
        if etcd.version == "3.5.30":
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.2):
                    await anext(stream)
            etcd.put("elsewhere", "x")
            stream.request_progress()
        assert (await following(stream)).is_progress
    async with gateway.watch(KEYS, 2) as stream:
        assert (await following(stream)).created
        assert [e.kv.key for e in await events(stream, 1)] == [b"/a"]
        stream.request_progress()
        result = await following(stream)
        assert result.is_progress
        assert result.header.revision == etcd.revision()


async def test_large_events_come_in_fragments(etcd: Etcd, connect: Connect) -> None:
    """Past 4 MiB also on 3.3.25; all but the last piece say that more belongs to them."""
    etcd.txn_put(((f"/{i}", b"%d" % i * (1 << 20)) for i in range(6)), ops=1)
    async with connect(etcd.endpoint).watch(KEYS, 1) as stream:
        assert (await following(stream)).created
        found: list[WatchEvent] = []
        fragments = []
        while len(found) < 6:
            result = await following(stream)
            found += result.events
            fragments.append(result.fragment)
        assert [event.kv.value[:1] for event in found] == [b"%d" % i for i in range(6)]
        assert [event.kv.mod_revision for event in found] == list(range(2, 8))
        assert fragments[0]
        assert not fragments[-1]
        etcd.put("/after", "")
        assert not (await following(stream)).fragment


async def test_a_compacted_start_tells_what_is_left(etcd: Etcd, connect: Connect) -> None:
    """etcd leaves the stream open after that; the client does not wait on it."""
    for i in range(5):
        etcd.put("/a", str(i))
    etcd.compact(5)
    gateway = connect(etcd.endpoint)
    async with gateway.watch(KEYS, 2) as stream:
        assert (await following(stream)).created
        with pytest.raises(Compacted, match=etcd.endpoint) as caught:
            await following(stream)
        assert caught.value.revision == 5
    assert gateway.endpoints.current.failures == 0


async def test_a_future_start_is_seen_by_the_first_header(etcd: Etcd, connect: Connect) -> None:
    """etcd accepts it silently."""
    async with connect(etcd.endpoint).watch(KEYS, 100) as stream:
        created = await following(stream)
        assert created.created
        assert created.header.revision == 1
        assert created.header.cluster_id != 0


async def test_a_stopping_etcd_says_so(etcd: Etcd, connect: Connect) -> None:
    """With its last error, or by closing; and the next watch on it fails at once."""
    gateway = connect(etcd.endpoint)

    async def watch_while_it_stops() -> None:
        async with gateway.watch(KEYS, 1) as stream:
            await following(stream)
            os.kill(etcd.pid, signal.SIGTERM)
            await until_it_ends(stream)

    with pytest.raises((Unavailable, Unreachable), match=etcd.endpoint):
        await watch_while_it_stops()
    etcd.stop()
    assert gateway.endpoints.current.failures == 1
    with pytest.raises(Unreachable):
        await gateway.watch(KEYS, 1).__aenter__()


async def test_a_killed_etcd_is_noticed(new_etcd: Etcd, connect: Connect) -> None:
    """The kernel closes its connections."""
    gateway = connect(new_etcd.endpoint)
    async with gateway.watch(KEYS, 1) as stream:
        await following(stream)
        new_etcd.kill()
        with pytest.raises(Unreachable, match=new_etcd.endpoint):
            await until_it_ends(stream)
        with pytest.raises(Unreachable):
            await following(stream)


async def test_a_paused_etcd_is_given_up_after_the_deadlines(
    new_etcd: Etcd, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And that is not taken for a proxy that cannot do duplex."""
    monkeypatch.setattr("syncd.gateway.watch.DUPLEX_PATIENCE", 0.1)
    gateway = connect(new_etcd.endpoint, connect=0.1, request=0.2)
    await gateway.revision(KEYS)
    new_etcd.pause()
    async with asyncio.timeout(SOON):
        with pytest.raises(Unreachable, match="no answer to the watch"):
            await gateway.watch(KEYS, 1).__aenter__()
    assert gateway.endpoints.current.duplex_refusals == 0


async def test_waiting_can_be_given_up_without_losing_anything(new_etcd: Etcd, connect: Connect) -> None:
    """As a heartbeat does, many times."""
    async with connect(new_etcd.endpoint).watch(KEYS, 1) as stream:
        await following(stream)
        for _ in range(20):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.001):
                    await anext(stream)
        for i in range(20):
            new_etcd.put("/a", str(i))
            try:
                async with asyncio.timeout(0):
                    result = await anext(stream)
            except TimeoutError:
                result = await following(stream)
            assert [event.kv.value for event in result.events] == [b"%d" % i]


async def test_watches_share_a_client(new_etcd: Etcd, connect: Connect) -> None:
    """Each has its own connection, and its own keys."""
    gateway = connect(new_etcd.endpoint)
    async with gateway.watch(KeyRange(b"/a"), 1) as one, gateway.watch(KeyRange(b"/b", b"/d"), 1) as other:
        await following(one)
        await following(other)
        new_etcd.txn_put([("/a", ""), ("/aa", ""), ("/b", ""), ("/c", ""), ("/d", "")])
        assert [e.kv.key for e in (await following(one)).events] == [b"/a"]
        assert [e.kv.key for e in (await following(other)).events] == [b"/b", b"/c"]


@pytest.mark.parametrize("duplex", ["on", "off"])
async def test_etcd_is_rid_of_a_watch_that_was_left(etcd: Etcd, connect: Connect, duplex: str) -> None:
    """It counts its watchers, and there is none soon after."""

    def watchers() -> int:
        found = re.search(rb"(?m)^etcd_debugging_mvcc_watcher_total (\d+)$", etcd.get("/metrics"))
        assert found
        return int(found[1])

    gateway = connect(etcd.endpoint, duplex=duplex)
    async with gateway.watch(KEYS, 1) as stream:
        await following(stream)
        assert watchers() == 1
    async with asyncio.timeout(SOON):
        while watchers():
            await gateway.revision(KEYS)  # something to do meanwhile
    assert (await gateway.revision(KEYS)).revision == 1


async def test_behind_a_proxy_that_buffers_requests(
    etcd: Etcd, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The watch falls back on a closed body, works, and the endpoint is remembered."""
    monkeypatch.setattr("syncd.gateway.watch.DUPLEX_PATIENCE", 0.2)
    async with buffering_proxy(etcd.port) as url:
        gateway = connect(url, connect=0.1)
        assert (await gateway.revision(KEYS)).revision == 1
        async with gateway.watch(KEYS, 1) as stream:
            assert not stream.duplex
            assert (await following(stream)).created
            stream.request_progress()  # does nothing, and no harm
            etcd.put("/a", "1")
            assert [e.kv.key for e in await events(stream, 1)] == [b"/a"]
        assert gateway.endpoints.current.duplex_refusals == 1
        begin = asyncio.get_running_loop().time()
        async with gateway.watch(KEYS, 1) as stream:
            assert not stream.duplex
            assert asyncio.get_running_loop().time() - begin < 0.2
            assert (await following(stream)).created
            assert [e.kv.key for e in await events(stream, 1)] == [b"/a"]
            assert gateway.endpoints.current.duplex_refusals == 1
            assert not gateway.outdated(stream)
            monkeypatch.setattr("syncd.gateway.endpoints.DUPLEX_RETRY", 0.0)
            assert gateway.outdated(stream)
        async with gateway.watch(KEYS, 1) as stream:
            assert not stream.duplex
            assert gateway.endpoints.current.duplex_refusals == 2


async def test_duplex_on_does_not_fall_back(
    new_etcd: Etcd, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever insists is told that it does not work."""
    monkeypatch.setattr("syncd.gateway.watch.DUPLEX_PATIENCE", 0.1)
    async with buffering_proxy(new_etcd.port) as url:
        gateway = connect(url, connect=0.1, duplex="on")
        with pytest.raises(Unreachable, match="no answer to the watch"):
            await gateway.watch(KEYS, 1).__aenter__()
