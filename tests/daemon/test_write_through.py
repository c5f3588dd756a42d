"""`serve.write_through`: what is written here is written in etcd, and is read here at once."""

from __future__ import annotations

import json
import threading
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest

from syncd.serve.v3.calls import CALLS
from tests.daemon.process import Daemon
from tests.etcd import Etcd
from tests.serve.local import Answer, target, wait_until
from tests.serve.v3.posting import post
from tests.users import PASSWORD, as_root, jwt, simple

ALL = {"key": "AA==", "range_end": "AA=="}


@pytest.fixture
def daemon(new_etcd: Etcd) -> Iterator[Daemon]:
    """One that passes on, with /app/ and /other/ mirrored."""
    with writing(new_etcd) as daemon:
        yield daemon.wait_for("live")
        daemon.assert_no_traceback()


def writing(etcd: Etcd, **more: Any) -> Daemon:
    """A daemon that passes on."""
    daemon = Daemon(etcd.endpoint, prefixes=["/app/", "/other/"], **more)
    daemon.settings["serve"]["write_through"] = True
    daemon.write()
    return daemon


def b64(text: str) -> str:
    """As a key or value stands in JSON."""
    return b64encode(text.encode()).decode()


def put(key: str, value: str, **more: Any) -> dict[str, Any]:
    """A PutRequest."""
    return {"key": b64(key), "value": b64(value), **more}


def told(answer: Answer) -> Any:
    """The whole answer, which is a good one."""
    assert answer.status == 200, answer
    return answer.json


def value(daemon: Daemon, key: str) -> bytes:
    """What is read from memory, as it is now."""
    answer = daemon.ask(target("value", key=key))
    return answer.body if answer.status == 200 else b""


def test_every_version(etcd: Etcd) -> None:
    """What is passed on is understood by all, and so are their answers."""
    with writing(etcd) as daemon:
        daemon.wait_for("live")
        socket = daemon.socket
        for number in range(20):
            answer = told(post(socket, "/kv/put", put("/app/a", str(number), prev_kv=True)))
            assert value(daemon, "/app/a") == str(number).encode()
        assert answer["prev_kv"]["value"] == b64("18")
        assert etcd.range("/app/a").kvs[0].version == 20
        lease = told(post(socket, "/lease/grant", {"TTL": 60}))["ID"]
        asked: dict[str, list[dict[str, Any]]] = {
            "compare": [
                {"key": b64("/app/a"), "target": "VALUE", "result": "EQUAL", "value": b64("19")},
                {"key": b64("/app/none"), "target": "CREATE", "create_revision": 0},
                {"key": b64("/app/a"), "target": "VERSION", "result": "GREATER", "version": "0"},
            ],
            "success": [
                {"request_put": put("/app/leased", "1", lease=lease)},
                {"request_range": {"key": b64("/app/"), "range_end": b64("/app0"), "keys_only": True}},
                {"request_delete_range": {"key": b64("/app/a"), "prev_kv": True}},
            ],
        }
        if etcd.version != "3.3.25":  # which has no transactions in transactions
            asked["success"].append({"request_txn": {"success": [{"request_put": put("/other/a", "1")}]}})
        answer = told(post(socket, "/kv/txn", asked))
        assert answer["succeeded"]
        assert answer["responses"][1]["response_range"]["count"] == "2"
        assert value(daemon, "/app/leased") == b"1"
        assert value(daemon, "/app/a") == b""
        assert "succeeded" not in told(post(socket, "/kv/txn", asked))
        assert told(post(socket, "/lease/keepalive", {"ID": lease}))["result"]["TTL"] == "60"
        assert "keys" not in told(post(socket, "/lease/timetolive", {"ID": lease}))
        assert told(post(socket, "/kv/lease/timetolive", {"ID": lease, "keys": True}))["keys"] == [
            b64("/app/leased")
        ]
        told(post(socket, "/kv/lease/revoke", {"ID": lease}))
        assert value(daemon, "/app/leased") == b""
        answer = post(socket, "/lease/revoke", {"ID": lease})
        assert (answer.status, answer.json["code"]) == (404, 5)
        answer = told(post(socket, "/kv/deleterange", {"key": b64("/app/"), "range_end": b64("/app0")}))
        assert etcd.range_prefix("/app/").kvs == []
        daemon.assert_no_traceback()


def test_what_is_not_mirrored(daemon: Daemon, new_etcd: Etcd) -> None:
    """It is not written, nor taken away with a lease, nor kept by one."""
    lease = int(new_etcd.ask("/lease/grant", {"TTL": 60})["ID"])
    new_etcd.put("/secret", "1", lease)
    before = new_etcd.revision()
    for call, body in (
        ("/kv/put", put("/secret", "2")),
        ("/kv/deleterange", ALL),
        ("/kv/txn", {"success": [{"request_put": put("/app/a", "1")}, {"request_put": put("/secret", "2")}]}),
        ("/lease/revoke", {"ID": lease}),
        ("/lease/keepalive", {"ID": lease}),
        ("/lease/timetolive", {"ID": lease, "keys": True}),
    ):
        answer = post(daemon.socket, call, body)
        assert (answer.status, answer.json["code"]) == (400, 9), call
    assert new_etcd.revision() == before


def test_many_writers(daemon: Daemon, new_etcd: Etcd) -> None:
    """Each reads what it wrote, whoever writes beside."""
    failures: list[BaseException] = []

    def write(name: int) -> None:
        try:
            for number in range(10):
                told(post(daemon.socket, "/kv/put", put(f"/app/{name}", str(number))))
                assert value(daemon, f"/app/{name}") == str(number).encode()
        except BaseException as error:  # noqa: BLE001 - told to the test below
            failures.append(error)

    writers = [threading.Thread(target=write, args=(name,)) for name in range(8)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert not failures
    assert [kv.version for kv in new_etcd.range_prefix("/app/").kvs] == [10] * 8


def test_a_counter(daemon: Daemon) -> None:
    """Compare and swap from several sides: no increment is lost, and none is done twice."""
    told(post(daemon.socket, "/kv/put", put("/app/n", "0")))
    wins: list[int] = []

    def increment() -> None:
        while len(wins) < 30:
            held = value(daemon, "/app/n").decode()
            swap = {
                "compare": [{"key": b64("/app/n"), "target": "VALUE", "value": b64(held)}],
                "success": [{"request_put": put("/app/n", str(int(held) + 1))}],
            }
            if told(post(daemon.socket, "/kv/txn", swap)).get("succeeded"):
                wins.append(int(held))

    threads = [threading.Thread(target=increment) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(wins) == list(range(len(wins)))
    assert int(value(daemon, "/app/n")) == len(wins)


@pytest.fixture(params=["simple", "jwt"])
def guarded(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Etcd]:
    """An etcd that lets the user `reader` read /app/, with tokens of either kind; it holds /app/a."""
    flags = simple("3.5.16") if request.param == "simple" else jwt("3.5.16", tmp_path)
    with Etcd(flags=flags) as etcd:
        etcd.put("/app/a", "1")
        etcd.guard("reader", PASSWORD, "/app/")
        yield etcd


def test_what_etcd_does_not_let_syncd_do(guarded: Etcd, tmp_path: Path) -> None:
    """syncd's user may only read: etcd's own refusal comes back. When it may write, its token is renewed."""
    password = tmp_path / "password"
    password.write_text(PASSWORD)
    password.chmod(0o600)
    user = {"endpoints": [guarded.endpoint], "user": "reader", "password_file": str(password)}
    settings = {"etcd": user, "ranges": [{"prefix": "/app/"}]}
    with writing(guarded, settings=settings) as daemon:
        daemon.wait_for("live")
        answer = post(daemon.socket, "/kv/put", put("/app/a", "2"))
        assert (answer.status, answer.json["code"]) == (403, 7)
        assert answer.json["message"] == "etcdserver: permission denied"
        as_root(guarded, "role", "grant-permission", "reading", "readwrite", "--prefix=true", "/app/")
        told(post(daemon.socket, "/kv/put", put("/app/a", "3")))
        assert value(daemon, "/app/a") == b"3"
        daemon.assert_no_traceback()


def test_without_etcd(daemon: Daemon, new_etcd: Etcd) -> None:
    """A write fails, and is at most done once; reads go on."""
    told(post(daemon.socket, "/kv/put", put("/app/a", "1")))
    new_etcd.pause()
    answer = post(daemon.socket, "/kv/put", put("/app/a", "2"))
    assert (answer.status, answer.json["code"]) == (503, 14)
    assert value(daemon, "/app/a") == b"1"
    assert "may have done it, or not" in answer.json["message"]
    new_etcd.resume()
    wait_until(lambda: post(daemon.socket, "/kv/put", put("/app/b", "1")).status == 200, "it writes again")
    held = new_etcd.range("/app/a").kvs[0]
    assert (held.value, held.version) in ((b"1", 1), (b"2", 2))
    new_etcd.kill()
    assert post(daemon.socket, "/kv/put", put("/app/a", "3")).json["code"] == 14
    new_etcd.start()
    wait_until(lambda: post(daemon.socket, "/kv/put", put("/app/a", "4")).status == 200, "writes again")
    assert value(daemon, "/app/a") == b"4"


def test_off(new_etcd: Etcd) -> None:
    """Unless it is wished for, nothing gets through."""
    with Daemon(new_etcd.endpoint) as daemon:
        daemon.wait_for("live")
        before = new_etcd.revision()
        for call in ("/kv/put", "/kv/deleterange", "/lease/grant"):
            answer = post(daemon.socket, call, json.dumps(put("/app/a", "1")).encode())
            assert (answer.status, answer.json["code"]) == (501, 12)
        assert new_etcd.revision() == before


def test_what_is_refused_is_known(new_etcd: Etcd) -> None:
    """Every call that is answered here, if with a refusal, is one of etcd 3.5's."""
    streams = {
        "/watch",
        "/maintenance/snapshot",
        "/election/campaign",
        "/election/observe",
        "/lock/lock",
        "/lease/keepalive",
    }
    for call in CALLS.keys() - streams:
        with pytest.raises(HTTPError) as refused:
            urlopen(f"{new_etcd.endpoint}/v3{call}", b"no JSON")
        with refused.value as answer:
            assert (answer.status, json.load(answer)["code"]) == (400, 3), call
