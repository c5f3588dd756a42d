"""The commands against a real daemon and a real etcd."""

import json
import re
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.command import SECONDS, on_terminal, start, syncd
from tests.cli.watching import watching
from tests.daemon.process import Daemon
from tests.etcd import Etcd
from tests.serve.local import wait_until

MORE_THAN_A_SOCKET_HOLDS = 1_000_000
"""Bytes: a daemon that sends them waits until they are read."""


@pytest.fixture
def daemon(new_etcd: Etcd) -> Iterator[Daemon]:
    """Run a daemon that mirrors `/` of an empty etcd."""
    with Daemon(new_etcd.endpoint) as running:
        yield running.wait_for("live")


def test_any_bytes_come_through(new_etcd: Etcd, daemon: Daemon) -> None:
    """Of keys on the command line and in a list, and of values."""
    key, value = "/käse/".encode() + b"\xff\x01", b"\0\xff\x1b[31m\n"
    revision = str(new_etcd.put(key, value))
    assert syncd("get", key, "--min-revision", revision, socket=daemon.socket).stdout == value
    assert syncd("list", "/käse", socket=daemon.socket).stdout == key + b"\n"
    record = json.loads(syncd("get", key, "--json", socket=daemon.socket).stdout)
    assert (record["key_b64"], record["mod_revision"]) == ("L2vDpHNlL/8B", int(revision))


def test_a_snapshot_is_complete_and_says_so(new_etcd: Etcd, daemon: Daemon) -> None:
    """Head, thousands of records in order, end."""
    keys = [f"/many/{number:05}" for number in range(5000)]
    revision = new_etcd.load((key, "v" * 100) for key in keys)
    done = syncd("snapshot", "/many/", "--min-revision", str(revision), socket=daemon.socket)
    head, *records, end = map(json.loads, done.stdout.splitlines())
    assert (done.returncode, head["revision"], head["count"]) == (0, revision, 5000)
    assert [record["key"] for record in records] == keys
    assert end == {"end": True, "count": 5000}
    listed = syncd("list", "/many/", "--json", socket=daemon.socket).stdout.splitlines()
    assert [json.loads(line)["key"] for line in listed] == keys
    assert "value" not in json.loads(listed[0])


def test_a_reader_that_has_seen_enough_may_leave(new_etcd: Etcd, daemon: Daemon) -> None:
    """`syncd snapshot / | head -1`."""
    revision = new_etcd.load((f"/many/{number}", "v" * 1000) for number in range(5000))
    process = start("snapshot", "/", "--min-revision", str(revision), socket=daemon.socket)
    assert process.stdout is not None
    process.stdout.readline()
    process.stdout.close()
    assert process.stderr is not None
    assert process.stderr.read() == b""
    process.stderr.close()
    assert process.wait(SECONDS) == 141


def test_exit_codes_tell_what_is_missing(new_etcd: Etcd, daemon: Daemon) -> None:
    """No such key, not mirrored, a revision that does not come."""
    assert syncd("get", "/nothing", socket=daemon.socket).returncode == 3
    assert syncd("get", "elsewhere", socket=daemon.socket).returncode == 1
    future = str(new_etcd.revision() + 100)
    options = ["--min-revision", future, "--wait", "50ms"]
    assert syncd("list", "/", *options, socket=daemon.socket).returncode == 4
    assert syncd("list", "/", socket=daemon.socket).returncode == 0


def test_one_reads_ones_own_writes(new_etcd: Etcd, daemon: Daemon) -> None:
    """With the revision of the write, or by asking etcd."""
    revision = str(new_etcd.put("/k", "1"))
    done = syncd("get", "/k", "--min-revision", revision, "--wait", "30s", socket=daemon.socket)
    assert done.stdout == b"1"
    new_etcd.put("/k", "2")
    assert syncd("get", "/k", "--linearizable", socket=daemon.socket).stdout == b"2"


def test_an_outage_is_told_to_those_who_ask(new_etcd: Etcd, daemon: Daemon) -> None:
    """Without etcd values are served, unless one wants them fresh."""
    revision = str(new_etcd.put("/k", "1"))
    assert syncd("get", "/k", "--min-revision", revision, socket=daemon.socket).stdout == b"1"
    new_etcd.kill()
    daemon.wait_for("stale")
    assert syncd("get", "/k", socket=daemon.socket).stdout == b"1"
    done = syncd("get", "/k", "--max-age", "1ms", socket=daemon.socket)
    assert (done.returncode, done.stdout) == (4, b"")
    assert b"too_stale" in done.stderr
    assert syncd("get", "/k", "--linearizable", "--wait", "50ms", socket=daemon.socket).returncode == 4
    shown = syncd("status", socket=daemon.socket).stdout.decode()
    assert "stale" in shown
    assert "/: last error: " in shown


def test_nothing_to_serve_yet(new_etcd: Etcd) -> None:
    """Exit 4 for reads; the status is there all the same."""
    new_etcd.stop()
    with Daemon(new_etcd.endpoint) as daemon:
        for command in ("get", "list", "snapshot", "watch"):
            done = syncd(command, "/k", socket=daemon.socket)
            assert (done.returncode, done.stdout) == (4, b"")
        done = syncd("status", socket=daemon.socket)
        assert done.returncode == 0
        assert b"cold" in done.stdout
        assert b"never" in done.stdout


def test_status_for_people_and_programs(new_etcd: Etcd, daemon: Daemon) -> None:
    """Aligned lines in a pipe, a table on a terminal, JSON on demand."""
    lines = syncd("status", socket=daemon.socket).stdout.decode().splitlines()
    assert lines[1] == f"etcd {new_etcd.endpoint}, {new_etcd.version}, in use"
    assert re.split(" {2,}", lines[3])[-3:] == ["SIZE", "ON DISK", "ENDPOINT"]
    assert lines[4].split()[:2] == ["/", "live"]
    code, shown = on_terminal("status", socket=daemon.socket)
    assert code == 0
    assert "\x1b[32mlive" in shown
    assert json.loads(syncd("status", "--json", socket=daemon.socket).stdout)["ranges"][0]["range"] == "/"


def test_watch_prints_each_event_once_and_in_order(new_etcd: Etcd, daemon: Daemon) -> None:
    """Puts and deletions, those of one revision together."""
    with watching(daemon.socket, "--from", str(new_etcd.revision())) as watch:
        one = new_etcd.txn_put([("/a", "1"), ("/b", "2")])
        two = new_etcd.delete("/a")
        assert watch.stdout.readline() == b"%d\tput\t/a\t1\n" % one
        assert watch.stdout.readline() == b"%d\tput\t/b\t2\n" % one
        assert watch.stdout.readline() == b"%d\tdelete\t/a\n" % two
        assert watch.end() == (b"", b"")


def test_watch_json_is_a_stream_of_batches(new_etcd: Etcd, daemon: Daemon) -> None:
    """Each line as soon as it happens."""
    with watching(daemon.socket, "--json", "--from", str(new_etcd.revision())) as watch:
        for count in range(5):
            revision = new_etcd.put("/k", str(count))
            batch = json.loads(watch.stdout.readline())
            while batch.get("progress"):
                batch = json.loads(watch.stdout.readline())
            assert batch["revision"] == revision
            assert batch["events"][0]["kv"]["value"] == str(count)
        watch.end()


@pytest.mark.parametrize("how", ["stop", "kill"])
def test_watch_survives_a_restart_of_the_daemon(new_etcd: Etcd, daemon: Daemon, how: str) -> None:
    """The new daemon cannot know what changed: all that it holds is printed, and deletions called unknown."""
    new_etcd.put("/gone", "x")
    old = new_etcd.put("/old", "x")
    with watching(daemon.socket, "--from", str(old)) as watch:
        first = new_etcd.put("/k", "1")
        assert watch.stdout.readline() == b"%d\tput\t/k\t1\n" % first
        getattr(daemon, how)()
        assert watch.stderr.readline().startswith(b"syncd: the watch ended: ")
        new_etcd.delete("/gone")
        second = new_etcd.put("/k", "2")
        daemon.start()
        said = watch.stderr.readline()
        assert said.startswith(b"syncd: what changed after revision %d cannot be known: " % first)
        assert b"all keys that there are now follow (deletions are not known)" in said
        assert watch.stdout.readline() == b"%d\tput\t/k\t2\n" % second
        assert watch.stdout.readline() == b"%d\tput\t/old\tx\n" % old
        third = new_etcd.put("/k", "3")
        assert watch.stdout.readline() == b"%d\tput\t/k\t3\n" % third
        assert watch.end() == (b"", b"")


@pytest.mark.parametrize("how", ["stop", "kill"])
def test_watch_goes_on_without_a_gap_when_the_daemon_keeps_a_copy(new_etcd: Etcd, how: str) -> None:
    """Each change comes once, also those from while it was down, and however little it had time to write."""
    new_etcd.put("/gone", "x")
    daemon = Daemon(new_etcd.endpoint)
    daemon.settings["cache"]["directory"] = str(daemon.directory / "cache")
    daemon.write()
    with daemon:
        daemon.wait_for("live")
        wait_until(lambda: daemon.range_status()["cache"]["revision"], "a copy")
        with watching(daemon.socket, "--from", str(new_etcd.revision())) as watch:
            first = new_etcd.put("/k", "1")
            assert watch.stdout.readline() == b"%d\tput\t/k\t1\n" % first
            getattr(daemon, how)()
            assert watch.stderr.readline().startswith(b"syncd: the watch ended: ")
            second, third = new_etcd.delete("/gone"), new_etcd.put("/k", "2")
            new_etcd.kill()
            daemon.start().wait_for("stale")
            new_etcd.start()
            assert watch.stdout.readline() == b"%d\tdelete\t/gone\n" % second
            assert watch.stdout.readline() == b"%d\tput\t/k\t2\n" % third
            rest, said = watch.end()
            assert rest == b""
            assert b"syncd: watching again after revision %d\n" % first in said
            assert not re.search(rb"cannot be known|no longer|lost one by one", said)
        assert daemon.range_status()["counters"]["full_reads"] == {}


def test_watch_prints_what_was_put_while_it_stood_still(new_etcd: Etcd) -> None:
    """A reader that misses more than the history holds; in the same epoch, revisions tell what is new."""
    deleted = [f"/gone/{number}" for number in range(10)]
    new_etcd.load([("/old", "x"), *((key, "x") for key in deleted)])
    with Daemon(new_etcd.endpoint, settings={"history": {"events": 3}}) as daemon:
        daemon.wait_for("live")
        with watching(daemon.socket, "--from", str(new_etcd.revision())) as watch:
            new_etcd.put("/k", "1")
            assert watch.stdout.readline().endswith(b"\tput\t/k\t1\n")
            watch.signal(signal.SIGSTOP)
            large = new_etcd.put("/large", "x" * MORE_THAN_A_SOCKET_HOLDS)
            daemon.wait_for_revision(large)
            for key in deleted:
                new_etcd.delete(key)
            second = new_etcd.put("/k", "2")
            daemon.wait_for_revision(second)
            watch.signal(signal.SIGCONT)
            assert watch.stdout.readline().startswith(b"%d\tput\t/large\t" % large)
            said = watch.stderr.readline()
            assert said.startswith(b"syncd: the daemon no longer has the changes after revision %d; " % large)
            assert b"the keys put since then follow (deletions are not known)" in said
            assert watch.stdout.readline() == b"%d\tput\t/k\t2\n" % second
            third = new_etcd.put("/k", "3")
            assert watch.stdout.readline() == b"%d\tput\t/k\t3\n" % third
            assert watch.end() == (b"", b"")


def test_watch_from_a_revision_that_is_gone_is_refused(new_etcd: Etcd, daemon: Daemon) -> None:
    """At once, with what helps."""
    new_etcd.put("/k", "1")
    daemon.stop()
    daemon.start().wait_for("live")
    done = syncd("watch", "/", "--from", "1", socket=daemon.socket)
    assert done.returncode == 1
    assert b"compacted: " in done.stderr
    assert b"watch without --from" in done.stderr


def test_watch_says_when_etcd_is_lost(new_etcd: Etcd, daemon: Daemon) -> None:
    """And when it is back."""
    with watching(daemon.socket) as watch:
        new_etcd.pause()
        daemon.wait_for("stale")
        assert b"stale" in watch.stderr.readline()
        new_etcd.resume()
        assert watch.stderr.readline() == b"syncd: the range is live now\n"
        watch.end()


def test_run_refuses_a_bad_configuration_with_2(tmp_path: Path) -> None:
    """Every mistake with its line, and nothing started."""
    config = tmp_path / "config.yaml"
    config.write_text("etcd: {endpoint: x}\nranges: []\n")
    done = syncd("run", "-c", str(config))
    assert done.returncode == 2
    assert b"Traceback" not in done.stderr
    assert done.stderr.count(b"config.yaml") >= 2


def test_run_ends_with_0_when_it_is_told_to(new_etcd: Etcd) -> None:
    """SIGTERM and Ctrl-C are both an orderly end."""
    with Daemon(new_etcd.endpoint) as daemon:
        assert daemon.stop() == 0
        daemon.start()
        assert daemon.stop(signal.SIGINT) == 0
