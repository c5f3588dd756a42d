"""What a real etcd cannot be made to do: everything becomes a GatewayError that names the endpoint, soon."""

from __future__ import annotations

import asyncio
import gc
from typing import Any

import aiohttp
import pytest

from syncd.gateway import (
    AnswerTooLong,
    EtcdError,
    Gateway,
    GatewayError,
    MalformedAnswer,
    NoGateway,
    Unavailable,
    Unreachable,
    WatchResult,
    framing,
)
from syncd.keyrange import prefix_range
from tests.etcd import Etcd
from tests.gateway.conftest import Connect
from tests.gateway.fake import (
    HEADER,
    HTML,
    NOT_FOUND,
    Answer,
    answer,
    chunked,
    fake_gateway,
    silence,
    whole,
)
from tests.proxy import Proxy

KEYS = prefix_range(b"/")
SOON = 8.0  # far more than any of them takes

RANGE, WATCH = "/v3/kv/range", "/v3/watch"
PAGE = answer({"header": HEADER, "kvs": [{"key": "YQ=="}], "count": "1"})
CREATED = b'{"result":{"header":{"revision":"7"},"created":true}}\n'

faults = pytest.mark.parametrize(
    ("scripted", "kind"),
    [
        pytest.param(b"", Unreachable, id="closed without a word"),
        pytest.param(b"HTTP/1.1 200", Unreachable, id="closed within the status line"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-", Unreachable, id="closed within the headers"),
        pytest.param(silence, Unreachable, id="no header ever"),
        pytest.param(b"SSH-2.0-OpenSSH_9.2\r\n", MalformedAnswer, id="another protocol"),
        pytest.param(b"\x15\x03\x01\x00\x02\x02\x16" * 3, MalformedAnswer, id="a TLS alert"),
        pytest.param(HTML, (MalformedAnswer, Unreachable), id="HTML"),
        pytest.param(NOT_FOUND, NoGateway, id="not found"),
        pytest.param(whole(b"<html>", "502 Bad Gateway"), Unreachable, id="a proxy's 502"),
        pytest.param(whole(b"", "503 Service Unavailable"), Unreachable, id="an empty 503"),
        pytest.param(answer({"message": "x"}, "503 No"), Unreachable, id="JSON of a proxy"),
        pytest.param(answer({"code": 14, "message": "x"}, "503 No"), Unavailable, id="etcd's 503"),
        pytest.param(answer({"code": 13, "message": "x"}, "500 No"), EtcdError, id="etcd's 500"),
        pytest.param(whole(b"teapot", "418 No"), MalformedAnswer, id="a status of its own"),
        pytest.param(
            b"HTTP/1.1 307 No\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n",
            MalformedAnswer,
            id="a redirection",
        ),
        pytest.param(whole(b""), (MalformedAnswer, Unreachable), id="an empty body"),
        pytest.param(whole(b'{"header":'), (MalformedAnswer, Unreachable), id="truncated JSON"),
        pytest.param(whole(b'{"x":' * 50_000), (MalformedAnswer, Unreachable), id="deep nesting"),
        pytest.param(whole(b'{"result":7}')[:-4], Unreachable, id="a body shorter than promised"),
        pytest.param(chunked(b'{"header":'), Unreachable, id="cut between chunks"),
        pytest.param(chunked(b'{"result":')[:-5], Unreachable, id="cut within a chunk"),
        pytest.param(
            chunked() + b"zz\r\n{}\r\n", (MalformedAnswer, Unreachable), id="a chunk without a size"
        ),
        pytest.param(
            b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
            (MalformedAnswer, Unreachable),
            id="two lengths",
        ),
        pytest.param(b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100_000, MalformedAnswer, id="endless headers"),
    ],
)


async def follow(gateway: Gateway, seen: list[WatchResult]) -> None:
    """Watch until it breaks."""
    async with gateway.watch(KEYS, 1) as stream:
        while True:
            seen.append(await anext(stream))


@faults
async def test_a_broken_answer_to_a_call(
    connect: Connect, scripted: Answer, kind: type[GatewayError] | tuple[type[GatewayError], ...]
) -> None:
    """It is told for what it is, and the next call goes to another endpoint unless etcd itself said no."""
    async with fake_gateway({RANGE: scripted}) as fake, asyncio.timeout(SOON):
        gateway = connect(fake.url, request=0.3)
        with pytest.raises(kind, match=fake.url) as caught:
            (await gateway.range_page(KEYS, limit=10, revision=0)).records()
        assert caught.value.endpoint == fake.url
        assert fake.paths() == ["/version", "/v3/maintenance/status", RANGE]
        assert gateway.endpoints.current.failures == (type(caught.value) is not EtcdError)


@faults
@pytest.mark.parametrize("duplex", ["auto", "on", "off"])
async def test_a_broken_answer_to_a_watch(
    connect: Connect,
    monkeypatch: pytest.MonkeyPatch,
    scripted: Answer,
    kind: type[GatewayError] | tuple[type[GatewayError], ...],
    duplex: str,
) -> None:
    """The same, with each kind of stream; where there is nothing to fall back on, nothing is remembered."""
    monkeypatch.setattr("syncd.gateway.watch.DUPLEX_PATIENCE", 0.1)
    async with fake_gateway({WATCH: scripted}) as fake, asyncio.timeout(SOON):
        gateway = connect(fake.url, connect=0.5, request=0.3, duplex=duplex)
        with pytest.raises(kind, match=fake.url) as caught:
            async with gateway.watch(KEYS, 1) as stream:
                await anext(stream)
        assert caught.value.endpoint == fake.url
        assert gateway.endpoints.current.failures == (type(caught.value) is not EtcdError)
        assert gateway.endpoints.current.duplex_refusals == 0


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        pytest.param(b'{"result":{"hea', Unreachable, id="cut within a document"),
        pytest.param(b"", Unreachable, id="cut between documents"),
        pytest.param(b'{"result":{"hea\n', MalformedAnswer, id="half a document as a line"),
        pytest.param(b"<html>\n", MalformedAnswer, id="no JSON"),
        pytest.param(b'"text"\n', MalformedAnswer, id="another JSON"),
        pytest.param(b"\xff\xfe\n", MalformedAnswer, id="no text"),
        pytest.param(b"x" * 3000, MalformedAnswer, id="a document beyond the limit"),
        pytest.param(b"x" * 3000 + b"\n", MalformedAnswer, id="a line beyond the limit"),
        pytest.param(
            b'{"error":{"grpc_code":14,"http_code":503,"message":"etcdserver: server stopped"}}',
            Unavailable,
            id="etcd's last error, without a newline",
        ),
    ],
)
@pytest.mark.parametrize("end", [False, True])
async def test_a_stream_that_breaks(
    connect: Connect, monkeypatch: pytest.MonkeyPatch, line: bytes, kind: type[GatewayError], end: bool
) -> None:
    """What came before it is delivered; an error that was cut off with the connection may be lost."""
    if kind is Unavailable and not end:
        kind = Unreachable
    monkeypatch.setattr(framing.Documents.__init__, "__defaults__", (2000,))
    parts = [CREATED, *([line] if line else [])]
    async with fake_gateway({WATCH: chunked(*parts, end=end)}) as fake, asyncio.timeout(SOON):
        gateway = connect(fake.url)
        seen: list[WatchResult] = []
        with pytest.raises(kind, match=fake.url) as caught:
            await follow(gateway, seen)
        assert len(seen) == ("is longer than 2000 bytes" not in str(caught.value))
        assert gateway.endpoints.current.failures == 1


async def test_a_document_in_many_pieces(connect: Connect) -> None:
    """The framing sees the chunks as they come, and unknown fields do no harm."""
    document = b'{"result":{"header":{"revision":"9","new":{}},"events":[{"kv":{"key":"YQ=="}}],"x":1}}\n'
    pieces = [bytes([byte]) for byte in CREATED + document]
    async with (
        fake_gateway({WATCH: chunked(*pieces)}) as fake,
        connect(fake.url).watch(KEYS, 1) as stream,
        asyncio.timeout(SOON),
    ):
        assert (await anext(stream)).created
        assert (await anext(stream)).events[0].kv.key == b"a"


async def test_an_answer_beyond_the_limit_is_not_read_to_its_end(connect: Connect) -> None:
    """A server that never stops sending is left; asked for fewer keys, it may do better."""

    async def endless(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(chunked())
        while True:
            writer.write(b"10000\r\n" + b"x" * 0x10000 + b"\r\n")
            await writer.drain()

    async with fake_gateway({RANGE: endless}) as fake, asyncio.timeout(SOON):
        with pytest.raises(AnswerTooLong, match="1048576 bytes"):
            await connect(fake.url).range_page(KEYS, limit=1, revision=0, most=1 << 20)


@pytest.mark.parametrize("page", [NOT_FOUND, answer({"error": "Not Found"}, "404 No")])
async def test_a_server_that_is_not_etcd(connect: Connect, page: bytes) -> None:
    """All prefixes are tried, and the message says so."""
    async with fake_gateway({"/version": page, "/v3/maintenance/status": page}) as fake:
        for prefix in ("/v3beta", "/v3alpha"):
            fake.answers[prefix + "/maintenance/status"] = page
        with pytest.raises(NoGateway, match="/v3, /v3beta, /v3alpha; is this etcd's client URL"):
            await connect(fake.url).revision(KEYS)


@pytest.mark.parametrize(
    "version", [HTML, whole(b'{"x":' * 50_000), whole(b"\xff"), NOT_FOUND, answer({}), answer([])]
)
async def test_a_version_hidden_by_a_proxy(connect: Connect, version: bytes) -> None:
    """It is taken from the gateway's own status then."""
    async with fake_gateway({"/version": version, RANGE: PAGE}) as fake:
        gateway = connect(fake.url)
        assert (await gateway.revision(KEYS)).revision == 7
        assert gateway.endpoints.current.version == "3.5.16"


async def test_credentials_do_not_follow_a_redirection(connect: Connect) -> None:
    """Neither token nor request goes where the configuration does not send it."""
    async with fake_gateway({RANGE: PAGE}) as other, fake_gateway() as fake:
        there = f"HTTP/1.1 307 No\r\nLocation: {other.url}{RANGE}\r\nContent-Length: 0\r\n\r\n"
        fake.answers[RANGE] = there.encode()
        with pytest.raises(MalformedAnswer, match="307"):
            await connect(fake.url).range_page(KEYS, limit=1, revision=0)
        assert other.requests == []


async def test_a_broken_endpoint_is_left_for_a_good_one(connect: Connect) -> None:
    """Also when its answer is 200, but nonsense."""
    async with fake_gateway({RANGE: HTML}) as bad, fake_gateway({RANGE: PAGE}) as good:
        gateway = connect(bad.url, good.url)
        while gateway.endpoints.current.url != bad.url:
            gateway.avoid(gateway.endpoints.current.url)
        with pytest.raises(MalformedAnswer):
            await gateway.range_page(KEYS, limit=1, revision=0)
        page = await gateway.range_page(KEYS, limit=1, revision=0)
        assert page.url == good.url


async def test_many_calls_wait_for_a_silent_endpoint_only_once(connect: Connect) -> None:
    """They do not queue up to find out, one deadline after the other, that it is silent."""
    async with fake_gateway({"/version": silence}) as fake, asyncio.timeout(SOON):
        gateway = connect(fake.url, request=0.5)
        begin = asyncio.get_running_loop().time()
        results = await asyncio.gather(*(gateway.revision(KEYS) for _ in range(6)), return_exceptions=True)
        assert all(isinstance(result, Unreachable) for result in results)
        assert asyncio.get_running_loop().time() - begin < 1.5


@pytest.mark.parametrize("status", ["417 Expectation Failed", "411 Length Required"])
async def test_a_proxy_that_refuses_the_duplex_request(connect: Connect, status: str) -> None:
    """The watch is opened with a closed body, and the endpoint remembered."""

    async def picky(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        duplex = "100-continue" in fake.requests[-1]
        writer.write(whole(b"no", status) if duplex else chunked(CREATED))

    async with fake_gateway({WATCH: picky}) as fake, asyncio.timeout(SOON):
        gateway = connect(fake.url)
        async with gateway.watch(KEYS, 1) as stream:
            assert not stream.duplex
            assert (await anext(stream)).created
        assert gateway.endpoints.current.duplex_refusals == 1


async def test_a_slow_answer_may_take_its_time_but_a_trickle_may_not(
    connect: Connect, monkeypatch: pytest.MonkeyPatch, new_etcd: Etcd
) -> None:
    """The deadline is for silence: a page over a thin line takes longer than that, and is no failure."""
    new_etcd.txn_put([(f"/a/{i:02}", b"x" * 2_000) for i in range(40)])
    async with Proxy(new_etcd.port) as proxy:
        gateway = connect(proxy.url, request=0.5)
        await gateway.revision(KEYS)
        proxy.slow_down(100 << 10)
        began = asyncio.get_running_loop().time()
        assert len(await gateway.range_page(KEYS, limit=100, revision=0)) == 40
        assert asyncio.get_running_loop().time() - began > 0.5
        monkeypatch.setattr("syncd.gateway.transport.SLOWEST", 200 << 10)
        with pytest.raises(Unreachable, match="too slow a one"):
            await gateway.range_page(KEYS, limit=100, revision=0)


async def test_a_connection_lost_before_anything_was_written_leaves_nothing_behind(
    connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever waits for the answer is told; no task of the HTTP library ends with an error nobody takes."""
    unheeded: list[dict[str, object]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: unheeded.append(context))
    write = aiohttp.ClientRequest.write_bytes

    async def write_too_late(request: Any, writer: Any, conn: Any, length: int | None = None) -> None:
        conn.transport.abort()
        await write(request, writer, conn, length)

    async with fake_gateway({RANGE: PAGE}) as fake, asyncio.timeout(SOON):
        gateway = connect(fake.url, duplex="on")
        await gateway.revision(KEYS)
        monkeypatch.setattr(aiohttp.ClientRequest, "write_bytes", write_too_late)
        with pytest.raises(Unreachable):
            await gateway.watch(KEYS, 1).__aenter__()
        gc.collect()
        assert not unheeded
