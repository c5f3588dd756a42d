"""What a moment with a range shows: of real servers, through a proxy, and of what old ones cannot send."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from syncd.config import Config
from syncd.diagnosis.ranges import range_findings
from syncd.keyrange import KeyRange, prefix_range
from tests.diagnosis.gateways import alone, ranged
from tests.etcd import VERSIONS, Etcd, reason_missing
from tests.gateway.fake import HEADER, Answer, answer, chunked, fake_gateway, silence
from tests.gateway.proxy import buffering_proxy
from tests.proxy import Proxy

MIB = 1 << 20

LIMITED = "3.3.25"
"""The version with the limit of 4 MiB."""


@pytest.fixture(scope="module", params=VERSIONS)
def server(request: pytest.FixtureRequest) -> Iterator[Etcd]:
    """Run one server of each version for all tests of it; each test has a prefix of its own."""
    if reason := reason_missing(request.param):
        pytest.skip(f"NOT TESTED with etcd {request.param}: {reason}")
    with Etcd(request.param) as etcd:
        yield etcd


@pytest.fixture(scope="module")
def limited() -> Iterator[Etcd]:
    """Run the version whose gateway takes no more than 4 MiB from etcd; etcd itself takes larger keys."""
    if reason := reason_missing(LIMITED):
        pytest.skip(f"NOT TESTED with etcd {LIMITED}: {reason}")
    with Etcd(LIMITED, ["--max-request-bytes=10000000"]) as etcd:
        yield etcd


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait less for what never comes."""
    monkeypatch.setattr("syncd.diagnosis.ranges.WATCH_PATIENCE", 0.2)
    monkeypatch.setattr("syncd.diagnosis.ranges.DUPLEX_PATIENCE", 0.2)


async def test_all_is_well(server: Etcd) -> None:
    """Keys are counted, a watch begins, and the stream can be asked for its progress; on every version."""
    server.txn_put([(f"/well/{i}", "") for i in range(1200)])
    found = await ranged(server.endpoint, "/well/")
    assert list(found) == ["range.ok", "watch.ok", "gateway.duplex"]
    assert found["range.ok"].seen == f"1,200 keys at revision {server.revision()}"
    assert found["range.ok"].subject == f"{server.endpoint} /well/"
    assert found["watch.ok"].seen == f"a watch began at revision {server.revision()}"
    assert {finding.level for finding in found.values()} == {"ok"}


async def test_while_others_write_too(server: Etcd) -> None:
    """Events come before the progress; that takes a moment more, and nothing else changes."""
    done = False

    def write() -> None:
        while not done:
            server.put("/busy/a", "1")

    server.put("/busy/a", "0")
    writing = asyncio.get_running_loop().run_in_executor(None, write)
    try:
        assert list(await ranged(server.endpoint, "/busy/")) == ["range.ok", "watch.ok", "gateway.duplex"]
    finally:
        done = True
        await writing


async def test_a_range_without_keys_is_worth_a_note(new_etcd: Etcd) -> None:
    """Most likely it is a slip of the pen; yet it can be watched."""
    new_etcd.put("/apisix/routes/1", "")
    found = await ranged(new_etcd.endpoint, "apisix/")
    assert found["range.empty"].level == "note"
    assert found["range.empty"].seen == "no keys at revision 2"
    assert "watch.ok" in found


async def test_one_key_may_be_the_range(new_etcd: Etcd) -> None:
    """Its neighbours do not count."""
    new_etcd.txn_put([("/a", ""), ("/b", "")])
    found = await ranged(new_etcd.endpoint, KeyRange(b"/b"))
    assert found["range.ok"].seen == "1 key at revision 2"


async def test_a_range_that_the_user_may_not_read(etcd_version: str, tmp_path: Path) -> None:
    """Nothing else is tried there; the range beside it is well."""
    password = tmp_path / "password"
    password.write_text("secret")
    with Etcd(etcd_version, [] if etcd_version == "3.3.25" else ["--bcrypt-cost=4"]) as etcd:
        etcd.put("/mine/a", "")
        etcd.guard("reader", "secret", "/mine/")
        found = await ranged(etcd.endpoint, "/others/", user="reader", password_file=password)
        assert list(found) == ["auth.permission_denied"]
        assert "--prefix=true read /others/" in found["auth.permission_denied"].cure
        found = await ranged(etcd.endpoint, "/mine/", user="reader", password_file=password)
        assert list(found) == ["range.ok", "watch.ok", "gateway.duplex"]


@pytest.mark.usefixtures("hasty")
async def test_behind_a_proxy_that_reads_requests_to_their_end(server: Etcd) -> None:
    """A watch begins nevertheless, and what nginx needs is told."""
    server.put("/behind/a", "")
    async with buffering_proxy(server.port) as url:
        found = await ranged(url, "/behind/")
    assert list(found) == ["range.ok", "watch.ok", "gateway.no_duplex"]
    assert found["gateway.no_duplex"].level == "warning"
    assert found["gateway.no_duplex"].subject == url
    assert "  proxy_request_buffering off;\n" in found["gateway.no_duplex"].cure


@pytest.mark.usefixtures("hasty")
async def test_such_a_proxy_stops_syncd_where_duplex_is_demanded(new_etcd: Etcd) -> None:
    """And is no matter where nobody wants it."""
    new_etcd.put("/a", "")
    async with buffering_proxy(new_etcd.port) as url:
        found = await ranged(url, duplex="on")
        assert list(found) == ["range.ok", "watch.failed"]
        assert found["watch.failed"].level == "error"
        assert "proxy_request_buffering off" in found["watch.failed"].cure
        assert "etcd.duplex: auto" in found["watch.failed"].cure
        assert list(await ranged(url, duplex="off")) == ["range.ok", "watch.ok"]


@pytest.mark.usefixtures("hasty")
@pytest.mark.parametrize(("duplex", "code"), [("auto", "gateway.no_duplex"), ("on", "watch.failed")])
async def test_ranges_of_one_endpoint_are_told_the_same(new_etcd: Etcd, duplex: str, code: str) -> None:
    """Also when one comes after another, and the gateway remembers what that has found."""
    async with buffering_proxy(new_etcd.port) as url:
        gateway, etcd = alone(url, duplex=duplex)
        async with gateway:
            for prefix in (b"/a/", b"/b/"):
                keys = prefix_range(prefix)
                config, clock = Config(etcd=etcd, ranges=(keys,)), asyncio.get_running_loop().time
                codes = [finding.code for finding in await range_findings(gateway, keys, config, clock)]
                assert codes[0] == "range.empty"
                assert codes[-1] == code


@pytest.mark.parametrize(
    ("version", "duplex", "heartbeat", "short"),
    [
        ("3.4.23", "auto", 2.9, True),
        ("3.4.23", "auto", 3.0, False),
        ("3.5.30", "auto", 1.0, False),
        ("3.5.30", "off", 2.9, True),
    ],
)
async def test_a_heartbeat_may_be_too_short_for_a_proof(
    version: str, duplex: str, heartbeat: float, short: bool
) -> None:
    """Where progress may be told early, or cannot be asked for, a proof needs a quiet second and more."""
    if reason := reason_missing(version):
        pytest.skip(f"NOT TESTED with etcd {version}: {reason}")
    with Etcd(version) as etcd:
        found = await ranged(etcd.endpoint, duplex=duplex, heartbeat=heartbeat)
    assert ("gateway.heartbeat_short" in found) is short
    if short:
        assert found["gateway.heartbeat_short"].seen.startswith(
            "etcd.timeouts.heartbeat is 2.9 s; two answers"
        )
        assert found["gateway.heartbeat_short"].cure == "set etcd.timeouts.heartbeat to 3s or more"


async def test_a_heartbeat_may_be_too_short_for_the_road() -> None:
    """A question and its answer take long on a thin line."""
    with Etcd("3.5.30") if not reason_missing("3.5.30") else Etcd() as etcd:
        etcd.put("/a", "")
        async with Proxy(etcd.port) as thin:
            thin.slow_down(2 << 10)  # in pieces of 256 bytes; a question has more, and so has its answer
            found = await ranged(thin.url, heartbeat=0.2)
        assert "one question takes" in found["gateway.heartbeat_short"].seen


async def test_the_limit_of_old_gateways_is_seen(limited: Etcd) -> None:
    """Only where the range has more than 4 MiB: a smaller one is never asked for that much."""
    limited.load([(f"/small/{i:04}", "v" * 1000) for i in range(4000)])
    limited.load([(f"/large/{i:04}", "v" * 1000) for i in range(6000)])
    async with Proxy(limited.port) as road:
        assert "gateway.message_limit" not in await ranged(road.url, "/small/")
        assert road.bytes_down < 100_000
    found = await ranged(limited.endpoint, "/large/")
    assert found["gateway.message_limit"].level == "note"
    assert "larger than max" in found["gateway.message_limit"].seen
    assert "4194304" in found["gateway.message_limit"].seen


async def test_few_large_keys_show_the_limit_too(limited: Etcd) -> None:
    """Each of them gets through by itself: by default etcd takes no more than 1.5 MiB."""
    for i in range(4):
        limited.put(f"/few/{i}", b"v" * (3 * MIB // 2))
    assert "gateway.message_limit" in await ranged(limited.endpoint, "/few/")
    assert list(await ranged(limited.endpoint, "/few/1")) == ["range.ok", "watch.ok", "gateway.duplex"]


async def test_a_key_that_old_gateways_cannot_send_stops_syncd(limited: Etcd) -> None:
    """Where etcd was told to take larger ones, its own gateway still does not."""
    limited.put("/huge/1", b"v" * (5 * MIB))
    found = await ranged(limited.endpoint, "/huge/")
    assert list(found) == ["gateway.message_limit_key"]
    assert found["gateway.message_limit_key"].level == "error"
    assert "3.4.17" in found["gateway.message_limit_key"].cure


async def test_newer_gateways_send_large_answers_and_little_of_them_is_taken(new_etcd: Etcd) -> None:
    """The page of 4.5 MiB is made, but only its beginning comes over the network."""
    new_etcd.load([(f"/{i:05}", "v" * 1000) for i in range(20_000)])
    async with Proxy(new_etcd.port) as road:
        found = await ranged(road.url)
        assert list(found) == ["range.ok", "watch.ok", "gateway.duplex"]
        assert road.bytes_down < 5 * MIB


async def test_an_endpoint_that_is_gone(new_etcd: Etcd) -> None:
    """The error is explained as anywhere."""
    new_etcd.kill()
    assert list(await ranged(new_etcd.endpoint)) == ["tcp.refused"]


READ = {"/v3/kv/range": answer({"header": HEADER, "kvs": [{"key": "YQ=="}], "count": "1"})}
NO_WATCH = b'{"error":{"grpc_code":12,"http_code":501,"message":"not implemented"}}'


@pytest.mark.parametrize(
    ("watch", "code", "said"),
    [
        (silence, "gateway.timeout", "no answer to a watch within"),
        (chunked(b'{"result":{"header":{"revision":"7"}}}\n'), "gateway.malformed", "`created`"),
        (chunked(NO_WATCH, end=True), "watch.failed", "not implemented"),
    ],
)
@pytest.mark.usefixtures("hasty")
async def test_a_range_that_can_be_read_but_not_watched(watch: Answer, code: str, said: str) -> None:
    """No real etcd does so: what came of the reading stays told."""
    async with fake_gateway({**READ, "/v3/watch": watch}) as fake:
        found = await ranged(fake.url)
    assert list(found) == ["range.ok", code]
    assert found[code].level == "error"
    assert said in found[code].seen


@pytest.mark.usefixtures("hasty")
async def test_a_stream_that_never_tells_its_progress_is_not_duplex() -> None:
    """A proxy may let the beginning of a request through, and keep what follows."""

    async def created(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(chunked(b'{"result":{"header":{"revision":"7"},"created":true}}\n'))
        await silence(reader, writer)

    async with fake_gateway({**READ, "/v3/watch": created}) as fake:
        found = await ranged(fake.url)
    assert "not answered within 0.2 s" in found["gateway.no_duplex"].seen


async def test_a_large_page_that_does_not_come_is_no_fault_of_the_range() -> None:
    """No mirror asks for it; that it could not be looked at is told, and no more."""
    value = "A" * 40_000
    kvs = [{"key": "YQ==", "value": value} for _ in range(32)]
    pages = [
        answer({"header": HEADER, "kvs": kvs[:1], "count": "999"}),
        answer({"header": HEADER, "count": "999"}),
        answer({"header": HEADER, "kvs": kvs, "count": "999", "more": True}),
    ]

    async def page(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if pages:
            writer.write(pages.pop(0))
        else:
            await silence(reader, writer)

    watched = (
        b'{"result":{"header":{"revision":"7"},"created":true}}\n{"result":{"header":{"revision":"7"}}}\n'
    )
    async with fake_gateway({"/v3/kv/range": page, "/v3/watch": chunked(watched)}) as fake:
        found = await ranged(fake.url, request=0.3)
    assert list(found) == ["range.ok", "watch.ok", "gateway.duplex", "check.skipped"]
    assert found["check.skipped"].level == "note"
    assert "4 MiB" in found["check.skipped"].seen
