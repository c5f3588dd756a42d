"""What etcd answers to a write that is passed on: how much of it is looked at, and what is refused."""

from __future__ import annotations

import threading
from typing import Any

import msgspec
import pytest

from syncd.serve.v3 import write
from syncd.serve.v3.errors import Code, EtcdError
from tests.serve.local import wait_until
from tests.serve.stand import Stand
from tests.serve.v3.posting import post

LONG = b"[" * (8 << 20)
"""Of what takes long to be understood, and can't be."""

PUT: dict[str, Any] = {"key": "L2E="}


@pytest.fixture
def through(stand: Stand) -> Stand:
    """A server of `/` that passes on."""
    stand.context.write_through = True
    return stand


@pytest.mark.parametrize(
    "begins",
    [
        b'{"header":{"cluster_id":"1","revision":"10"},"x":',
        b' {\n "header" : {"revision" : 10 } ,"x":',
        b'{"header":{},"x":',
    ],
)
def test_of_a_long_answer_only_the_header_is_looked_at(through: Stand, begins: bytes) -> None:
    """It is passed on as it is; whatever follows takes no time."""
    through.upstream.answer = (200, begins + LONG)
    answer = post(through.socket, "/kv/put", PUT)
    assert (answer.status, answer.body) == through.upstream.answer


def test_a_long_answer_comes_when_it_can_be_read_here(through: Stand) -> None:
    """The revision in its header is waited for."""
    through.upstream.answer = (200, b'{"header":{"revision":"11"},"x":' + LONG)
    statuses: list[int] = []
    writer = threading.Thread(target=lambda: statuses.append(post(through.socket, "/kv/put", PUT).status))
    writer.start()
    wait_until(lambda: through.source.hurried, "somebody waits")
    assert not statuses
    through.write((b"/a", b""))
    writer.join()
    assert statuses == [200]


@pytest.mark.parametrize("page", [b"<html>", b'{"x":{"header":{"revision":"10"}}}', b'{"header":{"revision"'])
def test_a_long_answer_that_is_not_etcds(through: Stand, page: bytes) -> None:
    """Nobody knows whether it was done."""
    through.upstream.answer = (200, page + LONG)
    answer = post(through.socket, "/kv/put", PUT)
    assert (answer.status, answer.json["code"]) == (503, 14)
    with pytest.raises(msgspec.MsgspecError):
        write._revision(page + LONG)


@pytest.mark.parametrize("code", [Code.RESOURCE_EXHAUSTED, Code.UNKNOWN])
def test_what_is_known_is_told(through: Stand, code: Code) -> None:
    """Whether etcd was not asked, or has done it: that is more than `it may have done it, or not`."""
    through.upstream.answer = EtcdError(code, "so it is")
    answer = post(through.socket, "/kv/put", PUT)
    assert (answer.status, answer.json["code"]) == (through.upstream.answer.status, code)
    assert answer.json["message"] == "so it is"
