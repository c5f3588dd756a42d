"""etcd's answers to single calls, and its errors in all their shapes."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

import msgspec
import orjson

from syncd.gateway import GatewayError
from syncd.gateway.endpoints import parse_version
from syncd.gateway.errors import unary_error
from syncd.gateway.messages import AuthAnswer, Page, StatusAnswer, VersionAnswer, decode, sample_of
from tests.fuzzing.inputs import linear_time

URL = "http://etcd:2379"
STATUSES = (200, 302, 400, 401, 403, 404, 408, 417, 429, 500, 501, 502, 503, 504)

_status = msgspec.json.Decoder(StatusAnswer, strict=False)
_version = msgspec.json.Decoder(VersionAnswer, strict=False)
_auth = msgspec.json.Decoder(AuthAnswer, strict=False)


def answers(data: bytes) -> None:
    """Any bytes as any answer: it is understood, or it is a GatewayError whose text can be told."""
    with linear_time(data):
        for understand in (_page, _sample, _server, _token):
            with suppress(GatewayError):
                _told(understand, data)
        for status in STATUSES:
            _tellable(unary_error(URL, "/v3/kv/range", status, data))


def _told(understand: Callable[[bytes], None], data: bytes) -> None:
    try:
        understand(data)
    except GatewayError as error:
        _tellable(error)
        raise


def _tellable(error: GatewayError) -> None:
    orjson.dumps(str(error))  # in the log and in the status
    assert len(str(error)) < 2000


def _page(data: bytes) -> None:
    page = Page(URL, data)
    assert 0 <= page.header.cluster_id < 1 << 64  # it is going to be the epoch, in a header of every answer
    records = page.records()
    assert len(records) == len(page) <= page.count
    if records:
        assert page.key(-1) == records[-1].key
        assert page.records(0, 1) == records[:1]


def _sample(data: bytes) -> None:
    sample = sample_of(URL, data, [b"/b", b"/none"])
    assert sample.count >= 0
    assert all(record is None or record.key == key for key, record in sample.records.items())


def _server(data: bytes) -> None:
    for version in (decode(URL, _version, data).etcdserver, decode(URL, _status, data).version):
        assert all(number >= 0 for number in parse_version(version))


def _token(data: bytes) -> None:
    orjson.dumps(decode(URL, _auth, data).token)
