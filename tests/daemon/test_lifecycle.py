"""How the daemon starts, refuses to start, and ends."""

import grp
import os
import socket
import stat
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from signal import SIGHUP, SIGINT, SIGTERM, Signals

import pytest

from tests.daemon.process import Daemon, command
from tests.etcd import Etcd
from tests.serve.local import CutError, ask, connected, raw, wait_until

NOWHERE = "http://127.0.0.1:1"


def test_the_whole_way(etcd: Etcd) -> None:
    """With every version of etcd: read, watch, serve, tell changes, lose etcd, find it again, end."""
    etcd.put("/app/a", "1")
    etcd.put("/other", "x")
    with Daemon(etcd.endpoint, ["/app/"], {"etcd": {"endpoints": [etcd.endpoint]}}) as daemon:
        daemon.wait_for("live")
        assert daemon.ask("/v1/value?key=/app/a").body == b"1"
        assert daemon.ask("/v1/value?key=/other").error["code"] == "not_mirrored"
        with daemon.stream("watch", prefix="/app/", snapshot=True) as stream:
            lines = (line for line in stream.documents() if "progress" not in line)
            assert [next(lines).get("count") for _ in range(3)] == [1, None, 1]
            revision = etcd.txn_put([("/app/b", b"\xff"), ("/app/c", "3")])
            batch = next(lines)
            assert (batch["revision"], len(batch["events"])) == (revision, 2)
            etcd.kill()
            wait_until(lambda: daemon.range_status()["error"], "the outage is noticed")
            assert daemon.ask("/v1/value?key=/app/c").body == b"3"
            etcd.start()
            revision = etcd.delete("/app/a")
            assert daemon.ask(f"/v1/value?key=/app/a&wait_ms=60000&min_revision={revision}").status == 404
            assert next(lines)["events"] == [
                {"type": "delete", "kv": {"key": "/app/a", "mod_revision": revision}}
            ]
            assert daemon.stop() == 0
            for _ in lines:
                pytest.fail("there was nothing more to tell")
            assert stream.ended
        assert not daemon.socket.exists()
        daemon.assert_no_traceback()


@pytest.mark.parametrize("number", [SIGTERM, SIGINT])
@pytest.mark.parametrize("etcd_is_there", [True, False])
def test_signals_end_it(new_etcd: Etcd, number: Signals, etcd_is_there: bool) -> None:
    """Exit code 0 at once, warm or cold, and no socket left."""
    with Daemon(new_etcd.endpoint if etcd_is_there else NOWHERE) as daemon:
        if etcd_is_there:
            daemon.wait_for("live")
        began = time.monotonic()
        assert daemon.stop(number) == 0
        assert time.monotonic() - began < 2
        assert not daemon.socket.exists()
        assert [line["event"] for line in daemon.log()][-2:] == ["stopping", "stopped"]
        daemon.assert_no_traceback()


def test_streams_end_properly(daemon: Daemon, new_etcd: Etcd) -> None:
    """Within two seconds: who reads sees the end of his answer, who doesn't is cut off."""
    value = b"x" * 100_000
    with daemon.stream("watch", prefix="/") as good, daemon.stream("watch", prefix="/") as stuck:
        for _ in range(30):
            revision = new_etcd.put("/big", value)
        documents = good.documents()
        while next(documents)["revision"] < revision:
            pass
        began = time.monotonic()
        daemon.signal(SIGTERM)
        last = list(documents)[-1]
        assert (last["revision"], last["state"]) == (revision, "live")
        assert good.ended
        assert daemon.wait() == 0
        assert time.monotonic() - began < 2.5  # two, and the time that Python takes to end
        with pytest.raises((CutError, ConnectionResetError)):
            list(stuck.documents())
    daemon.assert_no_traceback()


def test_who_comes_while_it_stops(daemon: Daemon) -> None:
    """Whoever connects in that moment is answered, refused or cut off, but never left waiting."""
    with daemon.stream("watch", prefix="/"):
        daemon.signal(SIGTERM)
        for _ in range(20):
            with suppress(OSError, CutError), daemon.stream("watch", prefix="/") as stream:
                list(stream.lines())
    assert daemon.wait() == 0
    daemon.assert_no_traceback()


def test_a_killed_one_is_replaced(daemon: Daemon) -> None:
    """What is left of a daemon that was killed is in nobody's way."""
    daemon.kill()
    assert daemon.socket.is_socket()
    daemon.start().wait_for("live")


def test_a_living_one_is_not(daemon: Daemon) -> None:
    """A second daemon with the same socket ends with 1, says why, and the first one serves on."""
    second = _run(daemon.config)
    assert second.returncode == 1
    assert f"another syncd (pid {daemon.pid}) serves there" in second.stderr
    assert daemon.ask("/healthz").status == 200


def test_a_file_in_the_way(daemon: Daemon) -> None:
    """A file that is not a socket is left alone, exit code 1."""
    daemon.stop()
    daemon.socket.write_text("precious")
    second = _run(daemon.config)
    assert (second.returncode, daemon.socket.read_text()) == (1, "precious")
    assert "not a socket" in second.stderr


def test_socket_mode() -> None:
    """As configured, and the group with it."""
    group = grp.getgrgid(os.getgid()).gr_name
    daemon = Daemon(NOWHERE)
    daemon.settings["serve"] |= {"mode": "0640", "group": group}
    daemon.write()
    with daemon:
        found = daemon.socket.stat()
        assert stat.S_IMODE(found.st_mode) == 0o640
        assert found.st_gid == os.getgid()


def test_all_mistakes_at_once(tmp_path: Path) -> None:
    """A configuration that cannot be used: exit code 2, every mistake with its line, nothing started."""
    config = tmp_path / "config.yaml"
    config.write_text(
        "etcd:\n  endpoint: x\n  timeouts: {connect: soon}\nranges: []\n"
        f"serve: {{socket: {tmp_path}/s, mode: 9}}\n"
    )
    done = _run(config)
    assert done.returncode == 2
    for mistake in ("etcd.endpoint", "etcd.timeouts.connect", "ranges", "serve.mode"):
        assert mistake in done.stderr
    assert "Traceback" not in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["config.yaml"]
    missing = _run(tmp_path / "missing.yaml")
    assert missing.returncode == 2
    assert "missing.yaml" in missing.stderr


def test_unusable_credentials(tmp_path: Path) -> None:
    """A certificate that is none: refused before anything is served."""
    (tmp_path / "ca.pem").write_text("nothing of the kind")
    daemon = Daemon("https://127.0.0.1:1")
    try:
        daemon.settings["etcd"]["tls"] = {"ca_file": str(tmp_path / "ca.pem")}
        daemon.write()
        done = _run(daemon.config)
        assert done.returncode in (1, 2)
        assert "ca.pem" in done.stderr
        assert "Traceback" not in done.stderr
        assert not daemon.socket.exists()
    finally:
        daemon.close()


def test_a_log_that_nobody_reads_any_more(new_etcd: Etcd) -> None:
    """The other end of the log's pipe goes away: the daemon serves on, and ends as usual."""
    daemon = Daemon(new_etcd.endpoint)
    process = subprocess.Popen(command(daemon.config), stderr=subprocess.PIPE)
    try:
        assert process.stderr
        assert b"started" in process.stderr.readline()
        process.stderr.close()
        wait_until(lambda: ask(daemon.socket, "/readyz").status == 200)
        new_etcd.kill()  # something to log
        wait_until(lambda: ask(daemon.socket, "/v1/status").json["ranges"][0]["error"])
        process.send_signal(SIGHUP)
        assert ask(daemon.socket, "/healthz").status == 200
        process.terminate()
        assert process.wait(10) == 0
    finally:
        process.kill()
        process.wait()
        daemon.close()


def test_more_connections_than_files(new_etcd: Etcd) -> None:
    """Where few files may be open, there are fewer connections still, and etcd's changes go on arriving."""
    daemon = Daemon(new_etcd.endpoint)
    with daemon.log_file.open("wb") as log:
        process = subprocess.Popen(["prlimit", "--nofile=64:64", *command(daemon.config)], stderr=log)
    connections: list[socket.socket] = []
    try:
        wait_until(daemon.socket.exists)
        wait_until(lambda: _can(daemon))
        wait_until(lambda: ask(daemon.socket, "/readyz").status == 200)
        connections += [connected(daemon.socket) for _ in range(150)]
        daemon.wait_for_log("connections turned away")
        new_etcd.put("/a", "1")
        connections[0].sendall(b"GET /v1/value?key=/a&linearizable=true HTTP/1.0\r\n\r\n")
        assert b"\r\n\r\n1" in connections[0].recv(65536)
        for connection in connections:
            connection.close()
        request = b"GET /healthz HTTP/1.0\r\n\r\n"
        wait_until(lambda: b" 200 " in raw(daemon.socket, request, hang_up=False))
        assert not [line for line in daemon.log() if line["level"] == "error"]
        process.terminate()
        assert process.wait(10) == 0
    finally:
        for connection in connections:
            connection.close()
        process.kill()
        process.wait()
        daemon.close()


def _can(daemon: Daemon) -> bool:
    try:
        return ask(daemon.socket, "/healthz").status == 200
    except ConnectionRefusedError:
        return False


def _run(config: Path) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(command(config), capture_output=True, text=True, check=False, timeout=30)
