"""`serve.access` of a real daemon, for real commands of other users."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from http.client import HTTPConnection
from signal import SIGHUP

import pytest

from tests.cli.command import SECONDS, environment
from tests.daemon.process import Daemon
from tests.etcd import Etcd
from tests.serve.local import target
from tests.serve.others import Other, needs_root, open_to_all

READERS = 4_000_010
ADA, EVE = Other(4_000_001, groups=(READERS,)), Other(4_000_002)

ACCESS = [
    {"groups": [READERS], "prefixes": ["/a/"]},
    {"users": [0], "prefixes": ["/a/secret/"]},
    {"prefixes": ["/public/"]},
]

_COMMAND = """
import json, os, sys
import syncd.cli.get, syncd.cli.list, syncd.cli.snapshot, syncd.cli.status, syncd.cli.watch
from syncd.cli.arguments import parse
from syncd.cli.main import main
parse(sys.argv[2:])
uid, gid, groups = json.loads(sys.argv[1])
os.setgroups(groups)
os.setgid(gid)
os.setuid(uid)
sys.exit(main(sys.argv[2:]))
"""
"""`syncd` as another user, who may not look into the folders of Python and syncd: all is imported before."""


@pytest.fixture
def daemon(new_etcd: Etcd) -> Iterator[Daemon]:
    """A daemon of two ranges with rules, whose socket lets everybody connect."""
    for key in ("/a/1", "/a/secret/1", "/public/1"):
        new_etcd.put(key, key)
    settings = {"serve": {"mode": "0666", "access": ACCESS}}
    with Daemon(new_etcd.endpoint, ["/a/", "/public/"], settings) as daemon:
        open_to_all(daemon.socket)
        yield daemon.wait_for("live")


def syncd(other: Other, daemon: Daemon, *arguments: str) -> tuple[int, str, str]:
    """Run a command as another user: its exit code and what it said."""
    who = json.dumps([other.uid, other.gid, other.groups])
    done = subprocess.run(
        [sys.executable, "-c", _COMMAND, who, *arguments],
        capture_output=True,
        check=False,
        timeout=SECONDS,
        env=environment(daemon.socket),
        text=True,
    )
    return done.returncode, done.stdout, done.stderr


@needs_root
def test_commands_of_other_users(daemon: Daemon) -> None:
    """What is granted works as ever; what is not, ends with a message and the exit code of a failure."""
    assert syncd(ADA, daemon, "get", "/a/1") == (0, "/a/1", "")
    assert syncd(ADA, daemon, "list", "/a/1") == (0, "/a/1\n", "")
    assert syncd(EVE, daemon, "get", "/public/1") == (0, "/public/1", "")
    for arguments in (
        ("get", "/a/secret/1"),
        ("get", "/nowhere"),
        ("list", "/a/"),
        ("snapshot", "/a/"),
        ("watch", "/a/"),
    ):
        code, output, said = syncd(ADA, daemon, *arguments)
        assert (code, output) == (1, "")
        why = f"forbidden: serve.access does not let you read all of {arguments[1]!r}"
        hint = "your user and your groups decide that; after joining a group, log in again"
        assert said == f"syncd: {why} (asked at {daemon.socket}); {hint}\n"
    code, output, _ = syncd(EVE, daemon, "status")
    assert code == 0
    assert "/public/" in output
    assert "/a/" not in output
    assert "http://" not in output
    assert "here is what serve.access lets you read" in output


@needs_root
def test_a_watch_of_another_user(daemon: Daemon, new_etcd: Etcd) -> None:
    """Changes beside what it may read do not reach it; root sees all of them."""
    asked = target("watch", prefix="/a/1", heartbeat_ms=100)
    with ADA.stream(daemon.socket, asked) as stream, daemon.stream("watch", prefix="/a/") as roots:
        new_etcd.put("/a/secret/1", "changed")
        new_etcd.put("/a/1", "changed")
        seen = next(each for each in stream.documents() if "events" in each)
        assert [event["kv"]["key"] for event in seen["events"]] == ["/a/1"]
        batches = (each for each in roots.documents() if "events" in each)
        assert [next(batches)["events"][0]["kv"]["key"] for _ in range(2)] == ["/a/secret/1", "/a/1"]


@needs_root
def test_rules_stay_as_they_are_until_a_restart(daemon: Daemon) -> None:
    """A reload says so; the restart takes them over."""
    assert EVE.get(daemon.socket, "value", key="/a/1").status == 403
    daemon.settings["serve"]["access"] = [{"users": [EVE.uid], "prefixes": [""]}]
    daemon.write()
    daemon.signal(SIGHUP)
    assert daemon.wait_for_log("reload needs a restart")[0]["sections"] == ["serve"]
    assert EVE.get(daemon.socket, "value", key="/a/1").status == 403
    daemon.stop()
    daemon.start()
    daemon.wait_for("live")
    assert EVE.get(daemon.socket, "value", key="/a/1").status == 200
    assert ADA.get(daemon.socket, "value", key="/public/1").status == 403
    daemon.assert_no_traceback()


def test_rules_for_everybody_are_all_that_counts_over_tcp(new_etcd: Etcd, port: int) -> None:
    """Nobody is known there, not even root; a connection that is kept learns nothing more."""
    for key in ("/a/1", "/public/1"):
        new_etcd.put(key, key)
    # Who runs the tests has a rule, too.
    rules = [
        {"users": [os.geteuid()], "groups": [os.getegid()], "prefixes": ["/a/"]},
        {"prefixes": ["/public/"]},
    ]
    settings = {"serve": {"listen": f"127.0.0.1:{port}", "access": rules}}
    with Daemon(new_etcd.endpoint, ["/a/", "/public/"], settings) as daemon:
        daemon.wait_for("live")
        connection = HTTPConnection("127.0.0.1", port, timeout=SECONDS)
        for call, status in (
            (target("value", key="/public/1"), 200),
            (target("value", key="/a/1"), 403),
            (target("snapshot", prefix="/"), 403),
            (target("watch", prefix="/a/"), 403),
            (target("snapshot", prefix="/public/"), 200),
        ):
            connection.request("GET", call)
            response = connection.getresponse()
            assert (response.status, bool(response.read())) == (status, True)
        connection.request("GET", "/v1/status")
        told = json.loads(connection.getresponse().read())
        assert ([each["range"] for each in told["ranges"]], told["etcd"]["endpoints"]) == (["/public/"], [])
        connection.close()
        assert daemon.ask(target("value", key="/a/1")).status == 200


def test_an_unknown_name_starts_nothing() -> None:
    """Not even with the other rules: exit 2, and the line in the file."""
    daemon = Daemon("http://127.0.0.1:1", settings={"serve": {"access": [{"groups": ["no-such-group"]}]}})
    try:
        daemon.launch()
        assert daemon.wait() == 2
        said = daemon.log_text()
        assert 'serve.access[0].groups[0]: this machine has no group "no-such-group"' in said
        assert "serve.access[0].prefixes: missing" in said
        assert not daemon.socket.exists()
    finally:
        daemon.close()
