"""What is to be seen of endpoints that are hardly there."""

from __future__ import annotations

import socket
import threading

import pytest

from syncd.config import TLS
from syncd.config import Etcd as EtcdConfig
from syncd.diagnosis import look as look_module
from syncd.diagnosis.look import look
from syncd.diagnosis.why import why
from syncd.gateway.errors import MalformedAnswer
from tests.etcd import Etcd


async def test_a_name_without_an_address() -> None:
    """The resolver's own words."""
    sight = await look("https://nowhere.invalid:2379", TLS())
    assert sight.error
    assert sight.error.why == "unresolved"
    assert "nowhere.invalid" in str(sight.error)


async def test_a_name_server_that_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits for it, not even the program's end."""
    release = Releaser()
    monkeypatch.setattr(look_module, "PATIENCE", 0.05)
    monkeypatch.setattr(socket, "getaddrinfo", release.hang)
    sight = await look("http://slow.example:2379", TLS())
    release.now()
    assert sight.error
    assert sight.error.why == "unresolved"
    assert "no name server" in str(sight.error)


class Releaser:
    """A call that hangs until it is released."""

    def __init__(self) -> None:
        self._event = threading.Event()

    def hang(self, *_: object, **__: object) -> list[object]:
        """Stand in for a resolver whose server is down."""
        self._event.wait(10)
        return []

    def now(self) -> None:
        """Let it go on."""
        self._event.set()


async def test_nobody_listens() -> None:
    """The address and port are named."""
    sight = await look("https://127.0.0.1:1", TLS())
    assert sight.error
    assert sight.error.why == "refused"
    assert "127.0.0.1 port 1: Connection refused" in str(sight.error)


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_one_that_takes_connections_and_says_nothing(
    scheme: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each step has its deadline."""
    monkeypatch.setattr(look_module, "PATIENCE", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        sight = await look(f"{scheme}://127.0.0.1:{silent.getsockname()[1]}", TLS())
    assert sight.connected == "127.0.0.1"
    assert sight.handshake
    assert "no answer" in sight.handshake.failed
    assert not sight.plain


async def test_what_an_http_server_tells_of_its_clock(new_etcd: Etcd) -> None:
    """The date of its answer."""
    sight = await look(new_etcd.endpoint, TLS())
    assert sight.plain
    assert sight.date
    assert not sight.handshake


async def test_an_answer_that_makes_no_sense_stays_what_it_is(new_etcd: Etcd) -> None:
    """A look at a good endpoint shows nothing that would explain it."""
    error = MalformedAnswer(new_etcd.endpoint, "not JSON")
    [finding] = await why(error, EtcdConfig(endpoints=(new_etcd.endpoint,)))
    assert finding.code == "gateway.malformed"
