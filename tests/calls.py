"""Blocking calls to a real etcd's HTTP/JSON gateway, to prepare and to check what syncd is tested with.

Only `http.client`, and no code of syncd: what is tested must not be what tests it.
"""

import itertools
import json
import ssl
from base64 import b64decode, b64encode
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPSConnection
from math import inf
from typing import Any, NamedTuple

Text = str | bytes
"""A key or a value: a str stands for its UTF-8."""

TXN_OPS = 128  # etcd's default for --max-txn-ops
LOAD_TXN_OPS = 2_000  # what `load` uses; `tests.etcd` starts its servers so that they allow it
LOAD_TXN_BYTES = 512 << 10  # of values; etcd refuses requests above 1.5 MiB by default
LOAD_CONNECTIONS = 3  # one body is encoded here, one parsed by the gateway, one applied
CALL_SECONDS = 60.0


class RefusedError(Exception):
    """The gateway's answer was not 200."""

    def __init__(self, path: str, status: int, text: str) -> None:
        super().__init__(f"{path}: HTTP {status}: {text}")
        self.status = status
        self.text = text


class KeyValue(NamedTuple):
    """A key as etcd holds it."""

    key: bytes
    value: bytes
    create_revision: int
    mod_revision: int
    version: int
    lease: int


@dataclass(frozen=True, slots=True)
class Contents:
    """What a range held at `revision`. `count` is its whole size, also when a limit gave fewer `kvs`."""

    revision: int
    kvs: list[KeyValue]
    count: int


class Calls:
    """The calls, on connections that are kept between them. Threads may share one object.

    All of them raise RefusedError, or OSError when nothing answers.
    """

    def __init__(self, port: int, api_prefix: str, tls: ssl.SSLContext | None = None) -> None:
        self.port = port
        self.api_prefix = api_prefix
        self.tls = tls
        self._idle: list[HTTPConnection] = []

    @property
    def endpoint(self) -> str:
        """The client URL, as it stands in syncd's configuration."""
        return f"{'https' if self.tls else 'http'}://127.0.0.1:{self.port}"

    def ask(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """POST `body` to a path without the prefix, such as `/kv/range`, and return the answer as it is."""
        answer: dict[str, Any] = json.loads(self._post(path, json.dumps(body)))
        return answer

    def revision(self) -> int:
        """Ask for the current revision."""
        return self.range("\0", limit=1).revision

    def put(self, key: Text, value: Text, lease: int = 0) -> int:
        """Put one key; the revision of that."""
        return _revision(self.ask("/kv/put", {"key": _b64(key), "value": _b64(value), "lease": lease}))

    def use_up_space(self, key: Text) -> None:
        """Overwrite `key` until etcd has come to its --quota-backend-bytes, which must be small."""
        try:
            while True:
                self.put(key, "v" * 20_000)
        except RefusedError as error:
            if "space exceeded" not in error.text:
                raise

    def delete(self, key: Text) -> int:
        """Delete one key, or nothing when it doesn't exist; the revision afterwards."""
        return _revision(self.ask("/kv/deleterange", {"key": _b64(key)}))

    def delete_prefix(self, prefix: Text) -> int:
        """Delete, in one revision, all keys with this prefix ('' means all keys); that revision."""
        key, range_end = _interval(prefix)
        return _revision(self.ask("/kv/deleterange", {"key": key, "range_end": range_end}))

    def txn_put(self, pairs: Iterable[tuple[Text, Text]], ops: int = TXN_OPS) -> int:
        """Put pairs in their order, `ops` of them in each transaction (= revision); the last revision.

        etcd refuses a transaction that has a key twice, or more than 1.5 MiB.
        """
        answers = [self._post("/kv/txn", _txn(chunk)) for chunk in _chunks(pairs, ops)]
        return _revision(json.loads(answers[-1])) if answers else self.revision()

    def load(self, pairs: Iterable[tuple[Text, Text]]) -> int:
        """Put many *different* keys fast, in large transactions without an order; the revision afterwards."""
        with ThreadPoolExecutor(LOAD_CONNECTIONS) as pool:
            chunks = _chunks(pairs, LOAD_TXN_OPS, LOAD_TXN_BYTES)
            # A handful at a time: 500,000 keys should not wait in a queue as text.
            while some := list(itertools.islice(chunks, 4 * LOAD_CONNECTIONS)):
                list(pool.map(lambda chunk: self._post("/kv/txn", _txn(chunk)), some))
        return self.revision()

    def compact(self, revision: int) -> None:
        """Forget all history before `revision`, and return when it is gone from the backend too."""
        self.ask("/kv/compaction", {"revision": revision, "physical": True})

    def guard(self, user: str, password: str, prefix: Text) -> None:
        """Switch authentication on: `root` may do all, `user` read `prefix`, both with that password."""
        key, range_end = _interval(prefix)
        permission = {"permType": "READ", "key": key, "range_end": range_end}
        for name, role in (("root", "root"), (user, "reading")):
            self.ask("/auth/user/add", {"name": name, "password": password})
            self.ask("/auth/role/add", {"name": role})
            self.ask("/auth/user/grant", {"user": name, "role": role})
        self.ask("/auth/role/grant", {"name": "reading", "perm": permission})
        self.ask("/auth/enable", {})

    def range(self, key: Text, range_end: Text = b"", *, revision: int = 0, limit: int = 0) -> Contents:
        r"""Read a key, or the keys from `key` to before `range_end` (`b"\0"`: to the last key)."""
        body = {"key": _b64(key), "range_end": _b64(range_end), "revision": revision, "limit": limit}
        return _contents(self.ask("/kv/range", body))

    def range_prefix(self, prefix: Text, *, revision: int = 0) -> Contents:
        """Read all keys with this prefix ('' means all keys)."""
        key, range_end = _interval(prefix)
        return _contents(self.ask("/kv/range", {"key": key, "range_end": range_end, "revision": revision}))

    def get(self, path: str, timeout: float = CALL_SECONDS) -> bytes:
        """GET a path that doesn't belong to the gateway (`/health`, `/version`, `/metrics`): the body."""
        connection = self._connect(timeout)
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            body = response.read()
        finally:
            connection.close()
        if response.status != 200:
            raise RefusedError(path, response.status, body.decode(errors="replace"))
        return body

    def hang_up(self) -> None:
        """Close the idle connections; a later call opens its own."""
        while self._idle:
            self._idle.pop().close()

    def _post(self, path: str, body: str) -> bytes:
        try:
            connection = self._idle.pop()
        except IndexError:
            connection = self._connect(CALL_SECONDS)
        try:
            connection.request("POST", self.api_prefix + path, body.encode())
            response = connection.getresponse()
            answer = response.read()
        except BaseException:
            connection.close()
            raise
        self._idle.append(connection)
        if response.status != 200:
            raise RefusedError(path, response.status, answer.decode(errors="replace"))
        return answer

    def _connect(self, timeout: float) -> HTTPConnection:
        if self.tls:
            return HTTPSConnection("127.0.0.1", self.port, timeout=timeout, context=self.tls)
        return HTTPConnection("127.0.0.1", self.port, timeout=timeout)


def prefix_end(prefix: bytes) -> bytes:
    r"""Return the first key after all keys with this prefix, or `b"\0"` (no end) when there is none."""
    stem = prefix.rstrip(b"\xff")
    return stem[:-1] + bytes([stem[-1] + 1]) if stem else b"\0"


def _interval(prefix: Text) -> tuple[str, str]:
    prefix = _bytes(prefix)
    return _b64(prefix or b"\0"), _b64(prefix_end(prefix))


def _chunks(
    pairs: Iterable[tuple[Text, Text]], ops: int, value_bytes: float = inf
) -> Iterator[list[tuple[Text, Text]]]:
    chunk: list[tuple[Text, Text]] = []
    size = 0
    for pair in pairs:
        if chunk and (len(chunk) == ops or size + len(pair[1]) > value_bytes):
            yield chunk
            chunk, size = [], 0
        chunk.append(pair)
        size += len(pair[1])
    if chunk:
        yield chunk


def _txn(pairs: Iterable[tuple[Text, Text]]) -> str:
    # Written by hand: half the time of json.dumps over nested dicts, which counts with 500,000 keys.
    puts = ",".join(
        f'{{"request_put":{{"key":"{_b64(key)}","value":"{_b64(value)}"}}}}' for key, value in pairs
    )
    return f'{{"success":[{puts}]}}'


def key_value(kv: Mapping[str, Any]) -> KeyValue:
    """A key as etcd's JSON has it; fields that are zero or empty are left out there."""
    return KeyValue(
        b64decode(kv["key"]),
        b64decode(kv.get("value", "")),
        int(kv["create_revision"]),
        int(kv["mod_revision"]),
        int(kv["version"]),
        int(kv.get("lease", 0)),
    )


def _contents(answer: Mapping[str, Any]) -> Contents:
    kvs = [key_value(kv) for kv in answer.get("kvs", ())]
    return Contents(_revision(answer), kvs, int(answer.get("count", 0)))


def _revision(answer: Mapping[str, Any]) -> int:
    return int(answer["header"]["revision"])


def _bytes(text: Text) -> bytes:
    return text.encode() if isinstance(text, str) else text


def _b64(text: Text) -> str:
    return b64encode(_bytes(text)).decode()
