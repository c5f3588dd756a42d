"""`serve.listen`: the same answers over TCP, for programs, not for browsers."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from http.client import HTTPConnection

import pytest

from tests.daemon.process import Daemon
from tests.etcd import Etcd
from tests.serve.local import Answer, target


@pytest.fixture
def daemon(new_etcd: Etcd, port: int) -> Iterator[Daemon]:
    """A daemon that listens on TCP, too, and has read its etcd, which holds /a."""
    new_etcd.put("/a", "1")
    with Daemon(new_etcd.endpoint, settings=listening(port)) as daemon:
        yield daemon.wait_for("live")


def listening(port: int, host: str = "127.0.0.1") -> dict[str, dict[str, str]]:
    """The settings."""
    return {"serve": {"listen": f"{host}:{port}"}}


def ask(port: int, target: str, method: str = "GET", **headers: str) -> Answer:
    """One request over TCP."""
    connection = HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request(method, target, headers=headers)
        response = connection.getresponse()
        return Answer(response.status, response.headers, response.read())
    finally:
        connection.close()


def test_the_same_answers(daemon: Daemon, port: int) -> None:
    """What is read over TCP is what is read on the socket; log and status tell of it."""
    [started] = daemon.log("started")
    assert started["listen"] == daemon.status()["listen"] == f"127.0.0.1:{port}"
    for call in (target("value", key="/a"), "/healthz", "/nothing", target("value", key="elsewhere")):
        over_tcp, over_unix = ask(port, call), daemon.ask(call)
        assert (over_tcp.status, over_tcp.body) == (over_unix.status, over_unix.body)
    daemon.stop()
    daemon.assert_no_traceback()


def test_nobody_accepts_over_tcp(daemon: Daemon, port: int) -> None:
    """The call for those who run the daemon is not for whoever can connect to a port."""
    answer = ask(port, "/v1/accept?range=/", "POST")
    assert (answer.status, answer.error["code"]) == (403, "forbidden")
    assert daemon.ask("/v1/accept?range=/", "POST").status == 200


def test_programs_say_where_they_ask(daemon: Daemon, port: int) -> None:
    """An address, localhost, or nothing at all, with a port or without."""
    for host in ("127.0.0.1", "127.0.0.1:9", "localhost", "LOCALHOST:80", "[::1]", "[::1]:9379", "::1", ""):
        assert ask(port, target("value", key="/a"), Host=host).status == 200, host
    assert daemon.ask("/healthz", Host="anything", Origin="anywhere").status == 200  # no page can ask there


def test_browsers_are_refused(daemon: Daemon, port: int) -> None:
    """A page whose name leads here, or any page's request, gets 403 and is told nothing, whatever it asks."""
    del daemon
    names = (
        "rebound.example",
        "rebound.example:9379",
        "localhost.rebound.example",
        "127.0.0.1.example",
        "[e]",
    )
    pages = ("http://page.example", "null", "http://127.0.0.1")
    for headers in (*({"Host": name} for name in names), *({"Origin": page} for page in pages)):
        for call in ("/v1/value?key=/a", "/v3/kv/range", "/version", "/healthz", "/nothing"):
            for method in ("GET", "POST", "OPTIONS"):
                answer = ask(port, call, method, **headers)
                assert (answer.status, answer.error["code"]) == (403, "forbidden"), (headers, call)
                assert not [name for name in answer.headers if name.startswith(("Syncd-", "Access-Control-"))]


def test_ipv6(new_etcd: Etcd, port: int) -> None:
    """[::1] is loopback, too."""
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError as error:
        pytest.skip(f"NOT TESTED: serve.listen on IPv6, which this machine does not have: {error}")
    with Daemon(new_etcd.endpoint, settings=listening(port, "[::1]")):
        connection = HTTPConnection("::1", port, timeout=30)
        connection.request("GET", "/healthz")
        assert connection.getresponse().status == 200
        connection.close()


def test_a_port_that_is_taken(daemon: Daemon, port: int) -> None:
    """One line, the exit code of a socket that is taken, and nothing was started."""
    other = Daemon("http://127.0.0.1:1", settings=listening(port))
    try:
        other.launch()
        assert other.wait() == 1
        text = other.log_text()
        assert text.count("\n") == 1, text
        assert f"serve.listen 127.0.0.1:{port}: cannot be had: Address already in use" in text
        assert not other.socket.exists()
    finally:
        other.close()
    assert ask(port, "/healthz").status == 200


def test_it_comes_back(daemon: Daemon, port: int) -> None:
    """After kill -9 with connections open, the next daemon has the port at once."""
    connection = HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request("GET", "/healthz")
    connection.getresponse().read()
    daemon.kill()
    daemon.start().wait_for("live")
    connection.close()
    status = json.loads(ask(port, "/v1/status").body)
    assert [each["state"] for each in status["ranges"]] == ["live"]
