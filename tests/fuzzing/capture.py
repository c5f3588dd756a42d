"""Writes the corpus: what real servers say, and some inputs as people write them.

    python -m tests.fuzzing.capture

A file a target, in JSON: a name for each input, and its bytes as characters (latin-1).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path
from random import Random
from typing import Any

from tests.calls import RefusedError
from tests.etcd import Etcd, available
from tests.fuzzing.targets import CORPUS
from tests.serve.local import Stream, raw
from tests.serve.stand import Stand, serving

ROOT = Path(__file__).resolve().parents[2]

KEY = "L2E="  # /a
SLASH, BEHIND = "Lw==", "MA=="  # all that begins with /
PASSWORD = "pw"
CHUNKED = b"Transfer-Encoding: chunked"
SILENCE = 1.0
"""Seconds after which nothing more is expected of a watch."""


def main() -> None:
    """Write all of it."""
    stream: dict[str, bytes] = {}
    answers: dict[str, bytes] = {}
    for version in available():
        with Etcd(version) as etcd:
            stream |= {f"{version} {name}": body for name, body in _streams(etcd)}
            answers |= {f"{version} {name}": body for name, body in _answers(etcd)}
    stream["3.5.16 fragments"] = b"".join(_as_fragments(stream["3.5.16 events"]))
    _write("stream", stream)
    _write("answers", answers)
    draw = Random(1)
    _write("store", {f"{size} choices": draw.randbytes(size) for size in (20, 100, 400)})
    _write("query", {query: query.encode() for query in QUERIES})
    _write("server", dict(_requests()))
    with serving() as stand:
        http = dict(_responses(stand))
    _write("http", http)
    _write("lines", {name: _unchunked(answer) for name, answer in http.items() if CHUNKED in answer})
    _write(
        "configuration",
        {
            "the example": (ROOT / "config.example.yaml").read_bytes(),
            "a short one": b"ranges:\n  - prefix: /a/\n  - {key: /b, range_end: /c}\ncache: {}\n",
        },
    )


def _write(target: str, inputs: Mapping[str, bytes]) -> None:
    text = {name: data.decode("latin-1") for name, data in inputs.items()}
    (CORPUS / f"{target}.json").write_text(json.dumps(text, indent=1) + "\n")


def _streams(etcd: Etcd) -> Iterator[tuple[str, bytes]]:
    etcd.put("/a", "1")
    etcd.put("/a", b"\0\xff")
    etcd.txn_put([("/b", "{}"), ("/c", "")])
    etcd.delete("/a")
    yield "events", _watched(etcd, {"start_revision": 1})
    yield "progress", _watched(etcd, {"progress_notify": True}, {"progress_request": {}})
    yield "a revision to come", _watched(etcd, {"start_revision": 99})
    etcd.compact(4)
    yield "compacted", _watched(etcd, {"start_revision": 2})
    yield (
        "canceled",
        _watched(etcd, {"start_revision": 5, "watch_id": 7}, {"cancel_request": {"watch_id": 7}}),
    )
    watching = _watching(etcd, {})
    etcd.stop()
    yield "the end of the server", _rest(watching)
    etcd.start()


def _watching(etcd: Etcd, create: Mapping[str, Any], *more: Mapping[str, Any]) -> HTTPResponse:
    connection = HTTPConnection("127.0.0.1", etcd.port, timeout=SILENCE)
    whole = {"key": SLASH, "range_end": BEHIND, "fragment": True, **create}
    body = "".join(map(json.dumps, ({"create_request": whole}, *more)))
    connection.request("POST", f"{etcd.api_prefix}/watch", body)
    return connection.getresponse()


def _watched(etcd: Etcd, create: Mapping[str, Any], *more: Mapping[str, Any]) -> bytes:
    return _rest(_watching(etcd, create, *more))


def _rest(watching: HTTPResponse) -> bytes:
    body = b""
    with suppress(TimeoutError), watching:
        while some := watching.read1(1 << 16):
            body += some
    return body


def _as_fragments(body: bytes) -> Iterator[bytes]:
    """The events of a watch one by one: etcd itself does so only with 512 KiB and more of them."""
    for line in body.splitlines():
        result = json.loads(line)["result"]
        events = result.pop("events", [])
        for event in events:
            last = {} if event is events[-1] else {"fragment": True}
            yield json.dumps({"result": {**result, **last, "events": [event]}}).encode() + b"\n"
        if not events:
            yield line + b"\n"


def _answers(etcd: Etcd) -> Iterator[tuple[str, bytes]]:
    etcd.put("/b", b"\0\xff")
    etcd.put("/c", "")
    slash = {"key": SLASH, "range_end": BEHIND}
    yield "version", etcd.get("/version")
    yield "status", _asked(etcd, "/maintenance/status", {})
    yield "range", _asked(etcd, "/kv/range", slash)
    yield "page", _asked(etcd, "/kv/range", {**slash, "limit": 1})
    yield "count", _asked(etcd, "/kv/range", {**slash, "count_only": True})
    sample = ({**slash, "count_only": True}, {"key": "L2I="}, {"key": "L25vbmU="})  # /b, /none
    yield "a sample", _asked(etcd, "/kv/txn", {"success": [{"request_range": one} for one in sample]})
    yield "no such key", _asked(etcd, "/kv/range", {"key": KEY})
    yield "a future revision", _asked(etcd, "/kv/range", {"key": KEY, "revision": 99})
    yield "a compacted revision", _asked(etcd, "/kv/range", {"key": KEY, "revision": 1})
    yield "no such call", _asked(etcd, "/kv/nothing", {})
    yield "no JSON", _asked(etcd, "/kv/range", "{")
    etcd.guard("reader", PASSWORD, "/else/")
    yield "no token", _asked(etcd, "/kv/range", slash)
    yield "a bad token", _asked(etcd, "/kv/range", slash, "nonsense")
    yield "a wrong password", _asked(etcd, "/auth/authenticate", {"name": "reader", "password": "?"})
    yield "a token", (told := _asked(etcd, "/auth/authenticate", {"name": "reader", "password": PASSWORD}))
    yield "permission denied", _asked(etcd, "/kv/range", slash, json.loads(told)["token"])


def _asked(etcd: Etcd, path: str, body: object, token: str = "") -> bytes:
    connection = HTTPConnection("127.0.0.1", etcd.port, timeout=10)
    text = body if isinstance(body, str) else json.dumps(body)
    connection.request("POST", etcd.api_prefix + path, text, {"Authorization": token} if token else {})
    try:
        return connection.getresponse().read()
    except OSError as error:  # 3.4.23 answers some errors of authentication by hanging up
        raise RefusedError(path, 0, str(error)) from error
    finally:
        connection.close()


QUERIES = (
    "key=/a",
    "prefix=/&max_age_ms=5000&min_revision=7&wait_ms=10&linearizable=true",
    "key_b64=L2E%3D&linearizable=false",
    "prefix_b64=/w==&from=7&epoch=a11ecf2edac4072e&events=put",
    "k%65y=%2fa%00%ff+b&events=delete",
)


def _requests() -> Iterator[tuple[str, bytes]]:
    for call in CALLS:
        yield call, _request(call)
    yield "a tag", _request("/v1/value?key=/a", 'If-None-Match: W/"10", "11"')
    yield "any tag", _request("/v1/snapshot?prefix=/", "If-None-Match: *")
    yield "a record", _request("/v1/value?key=/b", "Accept: application/json")
    yield "events", _request("/v1/watch?prefix=/", "Accept: text/event-stream", "Last-Event-ID: e/10")
    yield "two requests", _request(CALLS[0]) + _request(CALLS[0])
    yield "a head", _request("/v1/value?key=/a", method="HEAD")
    yield "a body", _request("/v1/value?key=/a", "Content-Length: 5", method="POST") + b"hello"
    yield "chunks", _request("/", "Transfer-Encoding: chunked") + b"5\r\nhello\r\n0\r\nA: b\r\n\r\n"
    yield "expecting", _request("/v1/value?key=/a", "Expect: 100-continue", "Content-Length: 1") + b"x"
    yield "upgrading", _request("/v1/watch?prefix=/", "Connection: Upgrade", "Upgrade: websocket")
    yield "another host", _request("http://[::1]:80/v1/value?key=/a#x")
    yield "a tunnel", _request("localhost:1", method="CONNECT")
    yield "all of it", _request("*", method="OPTIONS")
    yield "HTTP/1.0", b"GET /healthz HTTP/1.0\r\n\r\n"
    yield "bytes", b"GET /\xff?\xff HTTP/1.1\r\nHost: \xff\r\n\r\n"


CALLS = (
    "/v1/value?key=/a",
    "/v1/value?key_b64=L/8=",
    "/v1/value?key=/none",
    "/v1/value?key=elsewhere",
    "/v1/value?key=/a&max_age_ms=1&min_revision=10",
    "/v1/snapshot?prefix=/&keys_only=true",
    "/v1/watch?prefix=/&snapshot=true&prev_kv=true&heartbeat_ms=100",
    "/v1/watch?key=/a&from=10&epoch=e&events=put",
    "/v1/watch?prefix=/&from=3",
    "/v1/status",
    "/healthz",
    "/readyz",
    "/metrics",
    "/nothing",
)


def _request(target: str, *headers: str, method: str = "GET") -> bytes:
    return "\r\n".join([f"{method} {target} HTTP/1.1", "Host: localhost", *headers, "", ""]).encode()


def _responses(stand: Stand) -> Iterator[tuple[str, bytes]]:
    bye = "Connection: close"
    stand.write((b"/\xff", b"\0\xff"), (b"/a", b"2"))
    for call in ("/v1/value?key=/a", "/v1/snapshot?prefix=/", "/v1/status", "/v1/value?key=x", "/healthz"):
        yield call, raw(stand.socket, _request(call, bye), hang_up=False)
    yield "unchanged", raw(stand.socket, _request(CALLS[0], bye, "If-None-Match: *"), hang_up=False)
    yield "not HTTP", raw(stand.socket, b"?\r\n\r\n", hang_up=False)
    for call in (
        "/v1/watch?prefix=/&heartbeat_ms=100&snapshot=true",
        "/v1/watch?prefix=/&heartbeat_ms=100&from=10&prev_kv=true",
    ):
        with Stream(stand.socket, call) as stream:
            head = "".join(f"{name}: {value}\r\n" for name, value in stream.headers.items())
            lines = []
            for line in stream.lines():
                lines.append(line + b"\n")
                if len(lines) == 1:
                    stand.write((b"/new", b"{}"))
                    stand.write((b"/new", None))
                if b'"progress":true' in line:
                    break
        chunks = b"".join(b"%x\r\n%b\r\n" % (len(line), line) for line in lines)
        yield call, f"HTTP/1.1 200 OK\r\n{head}\r\n".encode() + chunks + b"0\r\n\r\n"


def _unchunked(answer: bytes) -> bytes:
    body, rest = b"", answer.partition(b"\r\n\r\n")[2]
    while rest:
        size, _, rest = rest.partition(b"\r\n")
        body, rest = body + rest[: int(size, 16)], rest[int(size, 16) + 2 :]
    return body


if __name__ == "__main__":
    main()
