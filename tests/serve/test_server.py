"""The server and its worst visitors; status and metrics; how it stops."""

import math
import os
import random
import socket
import time
from contextlib import ExitStack
from http.client import parse_headers

import pytest
from prometheus_client.parser import text_string_to_metric_families

from syncd.findings import Finding
from syncd.keyrange import KeyRange, prefix_range
from syncd.serve.patience import MAX_LINE
from syncd.status import CertificateStatus, Counters, EtcdStatus, Syncing
from tests.serve.local import ask, connected, raw, wait_until
from tests.serve.stand import EPOCH, Kept, Stand, serving

HOST = b"Host: localhost\r\n"


def test_status(stand: Stand) -> None:
    """The fields that are promised."""
    stand.on_loop(lambda: setattr(stand.source, "age", 0.0015))
    status = stand.ask("/v1/status").json
    assert status.pop("uptime_seconds") >= 0
    assert status == {
        "version": "1.2.3",
        "pid": os.getpid(),
        "listen": None,
        "readers": 0,
        "etcd": {
            "endpoints": [
                {
                    "url": "http://etcd",
                    "version": "3.5.16",
                    "current": True,
                    "failures": 0,
                    "quarantine": None,
                }
            ],
            "certificates": [],
            "findings": [],
        },
        "ranges": [
            {
                "range": "/",
                "state": "live",
                "revision": 10,
                "epoch": EPOCH,
                "age_ms": 2,
                "lag": 0,
                "keys": 3,
                "bytes": 9,
                "syncing": None,
                "endpoint": None,
                "duplex": None,
                "error": None,
                "history": {"events": 0, "bytes": 0, "oldest_revision": 10},
                "counters": {"events_applied": 0, "full_reads": {}, "watch_reconnects": {}},
                "held": None,
                "cache": None,
            }
        ],
    }


def test_status_of_a_read_under_way() -> None:
    """How far it is, and why it is being done; uptime is by the server's clock."""
    kept = Kept(prefix_range(b"/"))
    kept.syncing, kept.error = Syncing(5, 20, "initial"), "lost"
    with serving(kept) as stand:
        stand.clock.ahead = 1000
        status = stand.ask("/v1/status").json
        assert status["ranges"][0]["syncing"] == {"keys": 5, "count": 20, "reason": "initial"}
        assert status["ranges"][0]["error"] == "lost"
        assert 1000 <= status["uptime_seconds"] < 1000 + 60


def test_status_of_the_way_to_etcd(stand: Stand) -> None:
    """Certificates and findings stand beside the endpoints, field by field."""
    certificate = CertificateStatus("ca", "/etc/syncd/ca.pem", "our CA", "2026-01-02T03:04:05Z", -7)
    finding = Finding("tls.ca_expired", "error", "/etc/syncd/ca.pem", "our CA", "it means", "do that")
    stand.etcd = EtcdStatus((), (certificate,), (finding,))
    assert stand.ask("/v1/status").json["etcd"] == {
        "endpoints": [],
        "certificates": [
            {
                "role": "ca",
                "source": "/etc/syncd/ca.pem",
                "subject": "our CA",
                "not_after": "2026-01-02T03:04:05Z",
                "expires_in_seconds": -7,
            }
        ],
        "findings": [
            {
                "code": "tls.ca_expired",
                "level": "error",
                "subject": "/etc/syncd/ca.pem",
                "seen": "our CA",
                "means": "it means",
                "cure": "do that",
            }
        ],
    }


def test_metrics(monkeypatch: pytest.MonkeyPatch) -> None:
    """Names that people alert on, with values that are right, as Prometheus reads them."""
    one, other = Kept(prefix_range(b'/"one"\\\n')), Kept(KeyRange(b"/two"))
    one.fill({b'/"one"\\\nkey': b"1234"}, 10)
    one.age = 1.25
    counters = Counters(7, {"initial": 1, "compacted": 2}, {"unreachable": 3})
    with serving(one, other) as stand, stand.stream("watch", prefix=b'/"one"\\\n'):
        status = one.status()
        monkeypatch.setattr(one, "status", lambda: _with(status, counters))
        answer = stand.ask("/metrics")
        assert answer.headers["Content-Type"].startswith("text/plain")
        samples = {
            (sample.name, *sample.labels.values()): sample.value
            for family in text_string_to_metric_families(answer.body.decode())
            for sample in family.samples
        }
    name = '/"one"\\\n'
    assert samples["syncd_range_state", name, "live"] == 1
    assert [samples["syncd_range_state", name, state] for state in ("cold", "warm", "stale")] == [0, 0, 0]
    assert samples["syncd_range_state", "/two", "cold"] == 1
    assert samples["syncd_range_revision", name] == 10
    assert samples["syncd_range_age_seconds", name] == 1.25
    assert samples["syncd_range_age_seconds", "/two"] == math.inf  # never proved: older than any limit
    assert samples["syncd_range_keys", name] == 1
    assert samples["syncd_range_keys", "/two"] == 0
    assert samples["syncd_events_applied_total", name] == 7
    assert samples["syncd_full_reads_total", name, "compacted"] == 2
    assert samples["syncd_watch_reconnects_total", name, "unreachable"] == 3
    assert samples[("syncd_readers",)] == 1
    assert samples[("process_resident_memory_bytes",)] > 0


def test_metrics_of_certificates(stand: Stand) -> None:
    """When each expires; of two with one name in one file, the earlier one; nothing without TLS."""
    name = "syncd_certificate_expiry_timestamp_seconds"
    assert name not in stand.ask("/metrics").body.decode()
    strange = 'a "CA"\n'
    stand.etcd = EtcdStatus(
        (),
        (
            CertificateStatus("ca", "/ca.pem", strange, "2026-01-02T03:04:05Z", 1),
            CertificateStatus("ca", "/ca.pem", strange, "2001-09-09T01:46:40Z", 1),
            CertificateStatus("ca", "/ca.pem", strange, "2026-01-02T03:04:05Z", 1),
            CertificateStatus("server", "https://etcd", "etcd", "1970-01-01T00:01:00Z", 1),
        ),
    )
    [family] = (
        family
        for family in text_string_to_metric_families(stand.ask("/metrics").body.decode())
        if family.name == name
    )
    assert [(sample.labels, sample.value) for sample in family.samples] == [
        ({"role": "ca", "source": "/ca.pem", "subject": strange}, 1e9),
        ({"role": "server", "source": "https://etcd", "subject": "etcd"}, 60),
    ]


def _with(status: object, counters: Counters) -> object:
    import msgspec

    return msgspec.structs.replace(status, counters=counters)  # type: ignore[type-var]


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "HEAD", "BREW"])
def test_other_methods(stand: Stand, method: str) -> None:
    """Only GET is there (and HEAD where it makes sense)."""
    answer = stand.ask("/v1/snapshot?prefix=/", method)
    assert answer.status in (400, 404)
    if method not in ("HEAD", "BREW"):
        assert answer.error["code"] == "bad_request"
        assert "only GET is understood" in answer.error["message"]
        assert answer.revision == 10


def test_a_body_is_ignored(stand: Stand) -> None:
    """What nobody asked for is not kept, however long."""
    body = b"x" * 1_000_000
    request = b"GET /v1/value?key=/a HTTP/1.1\r\n%bConnection: close\r\nContent-Length: %d\r\n\r\n%b"
    head, _, value = raw(stand.socket, request % (HOST, len(body), body)).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200")
    assert value == b"1"


GARBAGE = random.Random(1).randbytes(10_000)


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"\r\n\r\n",
        b"GET",
        b"GET /v1/value?key=/a HTTP/1.1\r\n",
        b"GET /v1/value?key=/a HTTP/1.1\r\nHost: localhost\r\n",
        b"GET /v1/value?key=/a HTTP/9.9\r\n\r\n",
        b"GET /v1/value?key=/a\r\n\r\n",
        b"GET  HTTP/1.1\r\n\r\n",
        b"GET /\xff\xfe HTTP/1.1\r\n\r\n",
        b"GET /%00%ff%zz HTTP/1.1\r\n" + HOST + b"\r\n",
        b"GET //..//%2e%2e HTTP/1.1\r\n" + HOST + b"\r\n",
        b"GET http://[::1 HTTP/1.1\r\n" + HOST + b"\r\n",
        b"GET http://h:99999/ HTTP/1.1\r\n" + HOST + b"\r\n",
        b"CONNECT h:1 HTTP/1.1\r\n" + HOST + b"\r\n",
        b"GET / HTTP/1.1\r\nHost\r\n\r\n",
        b"GET / HTTP/1.1\r\n: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nContent-Length: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"GET / HTTP/1.1\r\n" + HOST + b"Expect: miracles\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + HOST + b"Expect: \xcc\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + HOST + b"Upgrade: h2c\r\nConnection: Upgrade\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 100_000 + b"\r\n",
        b"GET / HTTP/1.1\r\nX: " + b"y" * 1_000_000 + b"\r\n\r\n",
        b"GET /" + b"a" * 1_000_000 + b" HTTP/1.1\r\n" + HOST + b"\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + GARBAGE,
        GARBAGE,
        b"\0" * 100_000,
    ],
    ids=range(29),
)
def test_not_http(stand: Stand, sent: bytes) -> None:
    """Whatever is sent: an answer or none, never a wait, never an accident in the log, and others go on."""
    received = raw(stand.socket, sent)
    if received:
        first = received.partition(b"\r\n")[0]
        assert first.split()[1][:1] != b"5", received
    assert stand.get("value", key="/a").body == b"1"


def test_random_requests(stand: Stand) -> None:
    """A request with some of its bytes changed is answered or refused."""
    draw = random.Random(7)
    whole = (
        b"GET /v1/snapshot?prefix=/&wait_ms=1 HTTP/1.1\r\n%bAccept: */*\r\nConnection: close\r\n\r\n" % HOST
    )
    for _ in range(300):
        sent = bytearray(whole)
        for _ in range(draw.randint(1, 4)):
            at = draw.randrange(len(sent))
            sent[at : at + draw.randint(0, 2)] = draw.randbytes(draw.randint(0, 3))
        received = raw(stand.socket, bytes(sent))
        assert not received or received.split()[1] != b"500", (bytes(sent), received)


def test_a_long_key(stand: Stand) -> None:
    """Up to 64 KiB of request line; beyond that it is a bad request."""
    key = b"/" + b"k" * 60_000
    stand.write((key, b"x"))
    assert stand.get("value", key=key).body == b"x"
    assert ask(stand.socket, "/v1/value?key=/" + "k" * MAX_LINE).status == 400


def test_byte_by_byte(stand: Stand) -> None:
    """A request that trickles in is a request."""
    with connected(stand.socket) as connection:
        for byte in b"GET /v1/value?key=/a HTTP/1.1\r\n%bConnection: close\r\n\r\n" % HOST:
            connection.sendall(bytes([byte]))
        assert connection.recv(65536).endswith(b"\r\n\r\n1")


def test_many_requests_on_one_connection(stand: Stand) -> None:
    """Kept alive, and pipelined: answers come whole and in order."""
    with connected(stand.socket) as connection:
        connection.sendall(
            b"".join(b"GET /v1/value?key=/%c HTTP/1.1\r\n%b\r\n" % (c, HOST) for c in b"abcabx" * 50)
        )
        file = connection.makefile("rb")
        for name in "abcabx" * 50:
            status = int(file.readline().split()[1])
            headers = parse_headers(file)
            body = file.read(int(headers["Content-Length"]))
            assert (status, body) == (
                (404, body) if name == "x" else (200, b"%d" % (ord(name) - ord("a") + 1))
            )
        file.close()


def test_idle_connections(stand: Stand) -> None:
    """Hundreds that say nothing, or only half of something, are no hindrance, not even to stopping."""
    with ExitStack() as stack:
        for i in range(400):
            connection = stack.enter_context(connected(stand.socket))
            if i % 2:
                connection.sendall(b"GET /v1/value?key=/a HTTP/1.1\r\n")
        began = time.monotonic()
        for _ in range(20):
            assert stand.get("value", key="/a").status == 200
        assert time.monotonic() - began < 2
        stand.stop()
        wait_until(lambda: not stand.socket.exists())
        assert time.monotonic() - began < 4


def test_stopping_with_readers_that_do_not_read(stand: Stand) -> None:
    """Within two seconds, however many don't read; who reads gets his end."""
    with ExitStack() as stack:
        good = stack.enter_context(stand.stream("watch", prefix="/", heartbeat_ms=100))
        for _ in range(5):
            stack.enter_context(stand.stream("watch", prefix="/"))
        for i in range(20):
            stand.write((b"/a", b"%d" % i + b"x" * 100_000))
        documents = good.documents()
        while next(documents)["revision"] < 30:
            pass
        began = time.monotonic()
        stand.stop()
        assert list(documents)[-1]["progress"]
        assert good.ended
        wait_until(lambda: not stand.socket.exists())
        assert time.monotonic() - began < 2


def test_a_reader_behind_a_closed_half(stand: Stand) -> None:
    """Who closes its own sending side gets its answer or is taken for gone; nothing hangs."""
    with connected(stand.socket) as connection:
        connection.sendall(b"GET /v1/watch?prefix=/ HTTP/1.1\r\n%b\r\n" % HOST)
        stand.wait_for_readers(1)
        connection.shutdown(socket.SHUT_WR)
        stand.wait_for_readers(0)
