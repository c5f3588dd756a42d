"""Unary calls against every real version of etcd."""

from __future__ import annotations

import asyncio

import aiohttp
import pytest

from syncd.gateway import (
    Compacted,
    FutureRevision,
    Gateway,
    GatewayError,
    MessageTooLarge,
    NoGateway,
    Page,
    Unavailable,
    Unreachable,
)
from syncd.gateway.transport import translated
from syncd.keyrange import KeyRange, prefix_range
from tests.etcd import Cluster, Etcd
from tests.gateway.conftest import Connect

KEYS = prefix_range(b"/")
ALL = prefix_range(b"")


async def test_the_version_and_its_prefix_are_found(etcd: Etcd, connect: Connect) -> None:
    """Once, at the first call."""
    gateway = connect(etcd.endpoint)
    assert (await gateway.revision(KEYS)).revision == 1
    endpoint = gateway.endpoints.current
    assert (endpoint.version, endpoint.prefix) == (etcd.version, etcd.api_prefix)
    assert endpoint.failures == 0


async def test_a_configured_prefix_is_taken_or_found_wrong(etcd: Etcd, connect: Connect) -> None:
    """Every version answers to its own; and no version is asked under another than the configured one."""
    assert (await connect(etcd.endpoint, api_prefix=etcd.api_prefix).revision(KEYS)).revision == 1
    wrong = "/v3" if etcd.api_prefix == "/v3beta" else "/v3alpha"
    with pytest.raises(NoGateway, match=wrong):
        await connect(etcd.endpoint, api_prefix=wrong).revision(KEYS)


async def test_pages_of_one_revision_make_up_the_range(etcd: Etcd, connect: Connect) -> None:
    """Whatever is written between them; the first one's count is the whole range's."""
    etcd.txn_put([(f"/{i}", str(i)) for i in range(10)] + [("other", "")])
    gateway = connect(etcd.endpoint)
    page = await gateway.range_page(KEYS, limit=4, revision=0)
    revision = page.header.revision
    assert (page.count, len(page), page.more, page.url) == (10, 4, True, etcd.endpoint)
    records, counts = page.records(), [page.count]
    while page.more:
        etcd.delete(records[-1].key)
        etcd.put("/99", "too late")
        rest = KeyRange(page.key(-1) + b"\0", KEYS.range_end)
        page = await gateway.range_page(rest, limit=4, revision=revision)
        assert page.header.revision > revision
        records += page.records()
        counts.append(page.count)
    assert [(r.key, r.value) for r in records] == [(b"/%d" % i, b"%d" % i) for i in range(10)]
    assert counts == [10, 6, 2]


async def test_bytes_and_numbers_are_etcds(etcd: Etcd, connect: Connect) -> None:
    """Keys and values that are no text, an empty value, versions and a lease."""
    etcd.put(b"\x00", b"")
    etcd.put(b"\xff\xfe", b"\x00\xff")
    etcd.put(b"\xff\xfe", b"\xff" * 1000)
    lease = int(etcd.ask("/lease/grant", {"TTL": 600, "ID": 2**62 + 1})["ID"])
    etcd.put("/leased", "x", lease)
    page = await connect(etcd.endpoint).range_page(ALL, limit=0, revision=0)
    held = etcd.range_prefix("").kvs
    assert [
        (r.key, r.value, r.create_revision, r.mod_revision, r.version, r.lease) for r in page.records()
    ] == held
    assert held[1].lease == 2**62 + 1


async def test_a_revision_that_etcd_does_not_have_is_refused(etcd: Etcd, connect: Connect) -> None:
    """Compacted and not yet there are told apart, and neither is the endpoint's fault."""
    for i in range(5):
        etcd.put("/a", str(i))
    etcd.compact(4)
    gateway = connect(etcd.endpoint)
    with pytest.raises(Compacted, match=etcd.endpoint):
        await gateway.range_page(KEYS, limit=1, revision=3)
    with pytest.raises(FutureRevision, match=etcd.endpoint):
        await gateway.range_page(KEYS, limit=1, revision=99)
    assert len(await gateway.range_page(KEYS, limit=1, revision=4)) == 1
    assert gateway.endpoints.current.failures == 0


async def test_the_revision_is_asked_without_reading_a_key(etcd: Etcd, connect: Connect) -> None:
    """It is that of the whole key space, and moves with every write anywhere."""
    gateway = connect(etcd.endpoint)
    before = await gateway.revision(KEYS)
    assert etcd.put("elsewhere", "x") == before.revision + 1 == (await gateway.revision(KEYS)).revision
    assert before.cluster_id != 0


async def test_how_long_the_road_is(new_etcd: Etcd, connect: Connect) -> None:
    """As long as the quickest connection to the endpoint took to make; unknown before the first."""
    with Etcd() as other:
        gateway = connect(new_etcd.endpoint, other.endpoint)
        for _ in range(2):
            assert gateway.road == 0
            await gateway.revision(KEYS)
            assert 0 < gateway.road < 1
            gateway.avoid(gateway.endpoints.current.url)


async def test_a_stream_is_not_blamed_for_another_endpoint(new_etcd: Etcd, connect: Connect) -> None:
    """Whoever follows a watch may have asked elsewhere, and failed there."""
    with Etcd() as other:
        gateway = connect(new_etcd.endpoint, other.endpoint)
        home = gateway.endpoints.current
        away = next(endpoint for endpoint in gateway.endpoints if endpoint is not home)
        with pytest.raises(Unreachable):
            async with gateway.watch(KEYS, 1):
                raise Unreachable(away.url, "refused")
        assert gateway.endpoints.current is home
        assert home.failures == 0
        with pytest.raises(Unreachable):
            async with gateway.watch(KEYS, 1):
                raise Unreachable(home.url, "the watch is silent")
        assert gateway.endpoints.current is away
        assert home.failures == 1


async def test_a_certain_endpoint_is_asked_for_the_revision(new_etcd: Etcd, connect: Connect) -> None:
    """Whichever is current; whether its failure is a reason to leave it, whoever asked has to say."""
    with Etcd() as other:
        other.put("/a", "1")
        gateway = connect(new_etcd.endpoint, other.endpoint)
        assert (await gateway.revision(KEYS, new_etcd.endpoint)).revision == 1
        assert (await gateway.revision(KEYS, other.endpoint)).revision == 2
        current = gateway.endpoints.current
        idle = next(endpoint for endpoint in gateway.endpoints if endpoint is not current)
        (new_etcd if idle.url == new_etcd.endpoint else other).kill()
        with pytest.raises(Unreachable, match=idle.url) as caught:
            await gateway.revision(KEYS, idle.url)
        assert gateway.endpoints.current is current
        assert (idle.failures, current.failures) == (0, 0)
        gateway.avoid(idle.url, caught.value.message)
        assert (idle.failures, current.failures) == (1, 0)
        assert idle.error == caught.value.message


async def test_an_answer_past_4_mib(etcd: Etcd, connect: Connect) -> None:
    """3.3.25 refuses it and says why; smaller pages pass. Later versions give it."""
    etcd.txn_put(((f"/{i}", b"x" * (1 << 20)) for i in range(5)), ops=1)
    gateway = connect(etcd.endpoint)
    if etcd.version == "3.3.25":
        with pytest.raises(MessageTooLarge, match="larger than max"):
            await gateway.range_page(KEYS, limit=0, revision=0)
    else:
        assert len((await gateway.range_page(KEYS, limit=0, revision=0)).records()) == 5
    assert len((await gateway.range_page(KEYS, limit=3, revision=0)).records()) == 3
    assert gateway.endpoints.current.failures == 0


@pytest.mark.parametrize("way", ["stop", "kill"])
async def test_etcd_may_go_and_come_back(new_etcd: Etcd, connect: Connect, way: str) -> None:
    """While it is away, calls fail at once; afterwards the same client goes on."""
    new_etcd.put("/a", "1")
    gateway = connect(new_etcd.endpoint)
    await gateway.revision(KEYS)
    getattr(new_etcd, way)()
    for _ in range(2):
        async with asyncio.timeout(1):
            with pytest.raises(Unreachable, match=new_etcd.endpoint):
                await gateway.revision(KEYS)
    new_etcd.start()
    assert (await gateway.revision(KEYS)).revision == 2
    assert gateway.endpoints.current.failures == 0


async def test_a_paused_etcd_is_given_up_after_the_deadline(new_etcd: Etcd, connect: Connect) -> None:
    """It accepts connections, and says nothing; known before or not."""
    gateway = connect(new_etcd.endpoint, request=0.3)
    await gateway.revision(KEYS)
    new_etcd.pause()
    for _ in range(2):
        async with asyncio.timeout(2):
            with pytest.raises(Unreachable, match=r"no answer within 0\.3 s"):
                await gateway.revision(KEYS)
    new_etcd.resume()
    assert (await gateway.revision(KEYS)).revision == 1


async def test_the_other_endpoint_is_asked_when_one_is_dead(new_etcd: Etcd, connect: Connect) -> None:
    """Whichever is drawn first: at most one call fails, and later ones stay with the good one."""
    with Etcd() as other:
        dead = other.endpoint
        other.kill()
        for urls in ((dead, new_etcd.endpoint), (new_etcd.endpoint, dead)):
            gateway = connect(*urls)
            assert gateway.endpoints.current.url == urls[0]
            if urls[0] == dead:
                with pytest.raises(Unreachable, match=dead):
                    await gateway.revision(KEYS)
            for _ in range(2):
                page: Page = await gateway.range_page(KEYS, limit=1, revision=0)
                assert page.url == new_etcd.endpoint


def test_causes_may_go_in_a_circle() -> None:
    """The error of a library is understood all the same."""
    first, second = aiohttp.ClientPayloadError("first"), ZeroDivisionError("second")
    first.__cause__, second.__cause__ = second, first
    with (
        pytest.raises(Unreachable, match=r"in the middle of an answer: (ClientPayload|ZeroDivision)Error$"),
        translated("http://etcd:2379", ""),
    ):
        raise first


async def test_a_member_without_its_peers_does_not_answer(connect: Connect) -> None:
    """Neither a read nor a watch: what it has may be old."""
    with Cluster() as cluster:
        alone, *peers = cluster.members
        gateway = connect(alone.endpoint, request=1.0)
        assert (await gateway.revision(KEYS)).revision >= 1
        for peer in peers:
            peer.kill()
        with pytest.raises((Unavailable, Unreachable)):
            await gateway.revision(KEYS)
        async with asyncio.timeout(20):
            with pytest.raises(Unavailable, match="no leader"):
                await watch_until_it_fails(gateway)


async def watch_until_it_fails(gateway: Gateway) -> None:
    """Watch; a stream that was opened before the loss was noticed ends with the error, too."""
    try:
        async with gateway.watch(KEYS, 1) as stream:
            while True:
                await anext(stream)
    except GatewayError as error:
        if isinstance(error, Unreachable):
            await watch_until_it_fails(gateway)
        raise
