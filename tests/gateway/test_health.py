"""Members that fail: others are asked meanwhile, and a failed one comes back when a probe finds it well."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from syncd.gateway import Gateway, GatewayError, Unreachable
from syncd.gateway.endpoints import Endpoint
from syncd.keyrange import prefix_range
from tests.etcd import Cluster, Etcd
from tests.gateway.conftest import Connect
from tests.gateway.fake import answer, fake_gateway
from tests.proxy import Proxy
from tests.until import PATIENCE, until

KEYS = prefix_range(b"/")


@pytest.fixture(autouse=True)
def _haste(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make quarantines and deadlines short."""
    monkeypatch.setattr("syncd.gateway.endpoints.QUARANTINE_FIRST", 0.1)
    monkeypatch.setattr("syncd.gateway.endpoints.QUARANTINE_MOST", 0.4)
    monkeypatch.setattr("syncd.gateway.identity.ANSWER_PATIENCE", 0.5)
    monkeypatch.setattr("syncd.gateway.watch.DUPLEX_PATIENCE", 0.5)


@asynccontextmanager
async def probing(gateway: Gateway) -> AsyncIterator[None]:
    """Probe as the daemon does."""
    async with asyncio.TaskGroup() as group:
        probes = group.create_task(gateway.probe(KEYS), name="probes")
        yield
        probes.cancel()


async def answers(gateway: Gateway) -> int:
    """Ask until etcd's revision is told."""
    async with asyncio.timeout(PATIENCE):
        while True:
            with suppress(GatewayError):
                return (await gateway.revision(KEYS)).revision


def member_at(cluster: Cluster, endpoint: Endpoint) -> Etcd:
    """The member behind an endpoint."""
    return next(member for member in cluster.members if member.endpoint == endpoint.url)


@pytest.mark.parametrize(("way", "back"), [("kill", "start"), ("pause", "resume")])
async def test_a_member_that_fails_is_left_until_it_is_well(connect: Connect, way: str, back: str) -> None:
    """One call fails, all others go elsewhere; the log tells when it is left and when it is back, once."""
    with Cluster() as cluster, capture_logs() as log:
        gateway = connect(*cluster.endpoints, connect=0.3, request=3.0)
        home = gateway.endpoints.current
        async with probing(gateway):
            await gateway.revision(KEYS)
            getattr(member_at(cluster, home), way)()
            with pytest.raises(Unreachable, match=home.url):
                await gateway.revision(KEYS)
            assert gateway.endpoints.current is not home
            assert not home.well
            assert await answers(gateway) == 1
            other = gateway.endpoints.current
            await until(lambda: home.failures >= 4)
            assert await gateway.revision(KEYS)
            assert gateway.endpoints.current is other
            getattr(member_at(cluster, home), back)()
            await until(lambda: home.well)
            assert (home.failures, gateway.endpoints.current) == (0, other)
        told = [
            line["event"] for line in log if line.get("endpoint") == home.url and "endpoint" in line["event"]
        ]
        assert told == ["endpoint left", "endpoint well again"]


async def test_a_black_hole_is_left_and_comes_back(connect: Connect, new_etcd: Etcd) -> None:
    """A watch there costs two short deadlines, not that of a request; ten of them are one failure."""
    async with Proxy(new_etcd.port) as one, Proxy(new_etcd.port) as two:
        gateway = connect(one.url, two.url, connect=0.3, request=60.0)
        home = gateway.endpoints.current
        hole = one if home.url == one.url else two
        await gateway.revision(KEYS)
        hole.black_hole()
        begin = asyncio.get_running_loop().time()
        results = await asyncio.gather(*(opened(gateway) for _ in range(10)), return_exceptions=True)
        assert 1.0 < asyncio.get_running_loop().time() - begin < 5.0
        assert all(isinstance(result, Unreachable) for result in results)
        assert home.failures == 1
        assert await opened(gateway) != home.url
        async with probing(gateway):
            await until(lambda: home.failures >= 3)
            hole.let_through()
            await until(lambda: home.well)


async def opened(gateway: Gateway) -> str:
    """Open a watch, and see it begin; where."""
    async with gateway.watch(KEYS, 1) as stream:
        assert (await anext(stream)).created
        return stream.url


async def test_a_member_without_quorum_is_found_leaderless(connect: Connect, etcd_version: str) -> None:
    """By its own word, while it answers all the time; and it comes back when its peers do."""
    with Cluster(etcd_version) as cluster:
        alone, *peers = cluster.members
        gateway = connect(*cluster.endpoints, connect=0.3, request=1.0)
        endpoint = gateway.endpoints.at(alone.endpoint)
        await gateway.revision(KEYS)
        for peer in peers:
            peer.kill()
        gateway.endpoints.current = endpoint
        with pytest.raises(GatewayError, match=alone.endpoint):
            await gateway.revision(KEYS)
        async with probing(gateway):
            await until(lambda: endpoint.error == "it has no leader")
            assert not endpoint.well
            for peer in peers:
                peer.launch()
            await until(lambda: all(one.well for one in gateway.endpoints))


async def test_a_wiped_cluster_does_not_lag_for_ever(
    connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All are behind what was seen; the first one that answers for the cluster shows that so it is now."""
    monkeypatch.setattr("syncd.gateway.seen.LAG_PATIENCE", 0.01)
    with Cluster() as cluster:
        gateway = connect(*cluster.endpoints, connect=0.3, request=3.0)
        cluster.members[0].txn_put([(f"/{i}", "") for i in range(50)], ops=1)
        assert (await gateway.revision(KEYS)).revision == 51
        async with probing(gateway):
            for member in cluster.members:
                member.kill()
                member.wipe()
            for endpoint in gateway.endpoints:
                gateway.avoid(endpoint.url)
            await asyncio.to_thread(cluster.start)
            lags = "it lags: at revision 1, but 51 was seen already"
            await until(lambda: all(endpoint.error == lags for endpoint in gateway.endpoints))
            assert not any(endpoint.well for endpoint in gateway.endpoints)
            assert await answers(gateway) == 1
            await until(lambda: all(endpoint.well for endpoint in gateway.endpoints))


async def test_a_member_of_another_cluster_stays_away(connect: Connect, new_etcd: Etcd) -> None:
    """A mistake in the configuration; the status tells it as the reason."""
    with Etcd() as stranger:
        stranger.put("/a", "1")
        gateway = connect(new_etcd.endpoint, stranger.endpoint)
        foreign = gateway.endpoints.at(stranger.endpoint)
        await gateway.revision(KEYS, new_etcd.endpoint)
        gateway.avoid(stranger.endpoint, "for some reason")
        assert foreign.error == "for some reason"
        async with probing(gateway):
            await until(lambda: foreign.failures >= 3)
            assert foreign.error.startswith("it belongs to cluster")
            assert gateway.endpoints.current.url == new_etcd.endpoint


async def test_a_learner_is_not_asked(connect: Connect) -> None:
    """Unless nothing else is left, it refuses what it is asked for; and says itself what it is."""
    with Cluster(size=1) as cluster:
        [voter] = cluster.members
        learner = Etcd(flags=("--initial-cluster-state=existing",), name="learner")
        try:
            learner.initial_cluster = f"{voter.initial_cluster},learner={learner.peer_url}"
            learner.cluster_token = voter.cluster_token
            voter.ask("/cluster/member/add", {"peerURLs": [learner.peer_url], "isLearner": True})
            learner.launch()
            gateway = connect(voter.endpoint, learner.endpoint)
            async with probing(gateway):
                gateway.avoid(learner.endpoint)
                await until(lambda: gateway.endpoints.at(learner.endpoint).error == "it is a learner")
                assert await answers(gateway) == 1
        finally:
            learner.close()


async def test_a_member_that_lags_stays_away_until_it_has_caught_up(
    connect: Connect, monkeypatch: pytest.MonkeyPatch, new_etcd: Etcd
) -> None:
    """Real members catch up too fast to be seen lagging: this one is made up."""
    monkeypatch.setattr("syncd.gateway.seen.LAG_PATIENCE", 0.01)
    before = new_etcd.ask("/maintenance/status", {})
    async with fake_gateway({"/v3/maintenance/status": answer(before)}) as fake:
        gateway = connect(new_etcd.endpoint, fake.url)
        lagging = gateway.endpoints.at(fake.url)
        new_etcd.put("/a", "1")
        await gateway.revision(KEYS, new_etcd.endpoint)
        gateway.avoid(fake.url)
        async with probing(gateway):
            await until(lambda: lagging.error == "it lags: at revision 1, but 2 was seen already")
            assert not lagging.well
            fake.answers["/v3/maintenance/status"] = answer(new_etcd.ask("/maintenance/status", {}))
            await until(lambda: lagging.well)


@pytest.mark.parametrize("may_read", [True, False])
async def test_with_authentication_an_endpoint_comes_back_too(
    connect: Connect, etcd_version: str, tmp_path: Path, may_read: bool
) -> None:
    """3.5.30 tells its status to administrators alone: there, a read of the user's own has to do."""
    password = tmp_path / "password"
    password.write_text("secret")
    with Etcd(etcd_version, [] if etcd_version == "3.3.25" else ["--bcrypt-cost=4"]) as etcd:
        etcd.guard("reader", "secret", "/" if may_read else "/else/")
        async with Proxy(etcd.port) as one, Proxy(etcd.port) as two:
            gateway = connect(one.url, two.url, user="reader", password_file=password)
            one.refuse()
            gateway.avoid(one.url)
            endpoint = gateway.endpoints.at(one.url)
            async with probing(gateway):
                await until(lambda: endpoint.failures >= 3)
                one.let_through()
                await until(lambda: endpoint.well)


async def test_an_endpoint_to_avoid_is_avoided_once(connect: Connect) -> None:
    """Several mirrors find out that it lags, one after the other; where nothing else is left, each counts."""
    gateway = connect("http://127.0.0.1:1", "http://127.0.0.1:2")
    home = gateway.endpoints.current
    for _ in range(3):
        gateway.avoid(home.url, "it lags")
    assert (home.failures, home.error) == (1, "it lags")
    other = gateway.endpoints.current
    assert other is not home
    for _ in range(10):
        current = gateway.endpoints.current
        before = current.failures
        gateway.avoid(current.url, "it lags")
        assert current.failures == before + 1


async def test_where_connections_come_to_nothing_a_watch_is_tried_only_once(connect: Connect) -> None:
    """Packets that are dropped: another kind of request would not be heard either."""
    with socket.socket() as deaf, socket.socket() as filling:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen(0)
        filling.connect(deaf.getsockname())  # the queue is full now: the kernel drops what else comes
        gateway = connect(f"http://127.0.0.1:{deaf.getsockname()[1]}", connect=1.5)
        gateway.endpoints.current.prefix = "/v3"
        begin = asyncio.get_running_loop().time()
        with pytest.raises(Unreachable, match="no connection in time"):
            await opened(gateway)
        assert 1.4 < asyncio.get_running_loop().time() - begin < 2.9


async def test_everything_goes_home_when_home_has_been_well_for_long(
    connect: Connect, monkeypatch: pytest.MonkeyPatch, new_etcd: Etcd
) -> None:
    """Calls by themselves; of an open stream it is told that it had better be opened anew."""
    monkeypatch.setattr("syncd.gateway.endpoints.HOME_AFTER", 1.0)
    async with Proxy(new_etcd.port) as one, Proxy(new_etcd.port) as two:
        gateway = connect(one.url, two.url)
        home = gateway.endpoints.current
        door = one if home.url == one.url else two
        door.refuse()
        with pytest.raises(Unreachable, match=home.url):
            await gateway.revision(KEYS)
        async with probing(gateway), gateway.watch(KEYS, 1) as stream:
            assert stream.url != home.url
            assert not gateway.outdated(stream)
            door.let_through()
            await until(lambda: home.well)
            assert not gateway.outdated(stream)
            page = await gateway.range_page(KEYS, limit=1, revision=0)
            assert page.url == stream.url
            await until(lambda: gateway.outdated(stream))
            page = await gateway.range_page(KEYS, limit=1, revision=0)
            assert page.url == home.url
            assert gateway.outdated(stream)


async def test_a_pause_ends_when_an_endpoint_is_well_again(connect: Connect, new_etcd: Etcd) -> None:
    """Whoever backs off need not sleep on when it is known that another try is worth it."""
    async with Proxy(new_etcd.port) as one, Proxy(new_etcd.port) as other:
        gateway = connect(one.url, other.url)
        async with probing(gateway), asyncio.timeout(20):
            for road in (one, other):
                road.refuse()
                with suppress(Unreachable):
                    await gateway.revision(KEYS)
            other.let_through()
            await gateway.pause(60)
            assert [endpoint.url for endpoint in gateway.endpoints if endpoint.well] == [other.url]
