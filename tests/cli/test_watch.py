"""`syncd watch` across interruptions, against a stand-in for the daemon that can be made to lose things."""

import signal
import subprocess
from pathlib import Path

import pytest

from tests.cli.command import SECONDS, SYNCD, Terminal, environment, syncd
from tests.cli.watching import watching
from tests.client.fake import CHUNKED, FakeDaemon, chunks, head, refusal, streamed

PUT_8 = b'{"revision":8,"events":[{"type":"put","kv":{"key":"/a","value":"one\\ttwo","mod_revision":8}}]}\n'
DELETE_9 = b'{"revision":9,"events":[{"type":"delete","kv":{"key":"/a","mod_revision":9}}]}\n'
PROGRESS_12 = b'{"revision":12,"progress":true,"state":"live","age_ms":1}\n'
STALE_12 = b'{"revision":12,"progress":true,"state":"stale","age_ms":60000}\n'
RESYNC_20 = (
    b'{"revision":20,"resync":true,"epoch":"e2","events":'
    b'[{"type":"put","kv":{"key":"/b","value":"","mod_revision":19}}]}\n'
)
CLOSING = b'{"error":{"code":"closing","message":"the daemon stops"}}\n'
SNAPSHOT_30 = (
    b'{"revision":30,"epoch":"e1","count":2,"state":"live","age_ms":1}\n',
    b'{"key":"/old","value":"x","create_revision":5,"mod_revision":5,"version":1,"lease":0}\n',
    b'{"key":"/new","value":"y","create_revision":25,"mod_revision":25,"version":1,"lease":0}\n',
    b'{"end":true,"count":2}\n',
)


def cut(*lines: bytes) -> bytes:
    """Write the beginning of a stream that is then cut."""
    return head(headers=CHUNKED) + chunks(*lines)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Give a place for a socket."""
    return tmp_path / "s"


def test_events_are_lines_with_tabs_in_a_pipe(path: Path) -> None:
    """Revision, kind, key and value; a tab inside a value is none that separates."""
    with FakeDaemon(path, [cut(PUT_8, DELETE_9, PROGRESS_12)]), watching(path) as watch:
        assert watch.stdout.readline() == b"8\tput\t/a\tone\\x09two\n"
        assert watch.stdout.readline() == b"9\tdelete\t/a\n"
        assert b"the watch ended: " in watch.stderr.readline()
        assert watch.end()[0] == b""


def test_json_is_the_daemons_lines(path: Path) -> None:
    """Batches and progress as they are."""
    with FakeDaemon(path, [cut(PUT_8, PROGRESS_12)]), watching(path, "--json") as watch:
        assert watch.stdout.readline() == PUT_8
        assert watch.stdout.readline() == PROGRESS_12
        watch.end()


def test_from_begins_after_a_revision(path: Path) -> None:
    """Without an epoch, for the command line knows none."""
    with FakeDaemon(path, [cut(PUT_8)]) as daemon, watching(path, "--from", "7") as watch:
        watch.stdout.readline()
        assert "&from=7 " in daemon.requests[0]
        watch.end()


@pytest.mark.parametrize("ending", [streamed(PUT_8, PROGRESS_12, CLOSING), cut(PUT_8, PROGRESS_12)])
def test_a_restart_of_the_daemon_is_survived(path: Path, ending: bytes) -> None:
    """The watch resumes after the last revision it knows of, in its epoch."""
    with FakeDaemon(path, [ending], [cut(RESYNC_20)]) as daemon, watching(path) as watch:
        assert watch.stdout.readline().startswith(b"8\t")
        assert watch.stdout.readline() == b"19\tput\t/b\t\n"
        assert "&from=12&epoch=e1 " in daemon.requests[1]
        assert b"the watch ended: " in watch.stderr.readline()
        assert watch.stderr.readline() == b"syncd: watching again after revision 12\n"
        assert watch.stderr.readline().startswith(b"syncd: resync: ")
        watch.end()


def test_a_daemon_that_is_not_ready_yet_is_waited_for(path: Path) -> None:
    """After a restart it may take a while."""
    not_ready = refusal(503, "not_ready", {"Retry-After": "1"})
    with FakeDaemon(path, [cut(PUT_8)], [not_ready], [], [cut(DELETE_9)]), watching(path) as watch:
        assert watch.stdout.readline().startswith(b"8\t")
        assert watch.stdout.readline() == b"9\tdelete\t/a\n"
        watch.end()


def test_lost_history_is_announced_and_what_was_put_since_is_printed(path: Path) -> None:
    """The keys that were put after what was seen, and then changes as before."""
    compacted = refusal(410, "compacted", oldest_revision=29)
    after = b'{"revision":31,"events":[{"type":"delete","kv":{"key":"/new","mod_revision":31}}]}\n'
    with FakeDaemon(path, [cut(PUT_8)], [compacted], [cut(*SNAPSHOT_30, after)]), watching(path) as watch:
        assert watch.stdout.readline().startswith(b"8\t")
        assert watch.stdout.readline() == b"25\tput\t/new\ty\n"
        assert watch.stdout.readline() == b"31\tdelete\t/new\n"
        watch.stderr.readline()
        said = watch.stderr.readline()
        assert b"no longer has the changes after revision 8" in said
        assert b"deletions are not known" in said
        watch.end()


def test_after_a_new_epoch_all_keys_may_be_new(path: Path) -> None:
    """Revisions of another epoch cannot tell what was put since."""
    compacted = refusal(410, "compacted")
    snapshot = chunks(SNAPSHOT_30[0].replace(b"e1", b"e2"), *SNAPSHOT_30[1:])
    begun = head(headers={**CHUNKED, "Syncd-Epoch": "e2"}) + snapshot
    with FakeDaemon(path, [cut(PUT_8)], [compacted], [begun]), watching(path) as watch:
        lines = [watch.stdout.readline() for _ in range(3)]
        assert lines[1:] == [b"5\tput\t/old\tx\n", b"25\tput\t/new\ty\n"]
        watch.stderr.readline()
        said = watch.stderr.readline()
        assert b"what changed after revision 8 cannot be known: revisions are of another epoch" in said
        assert b"all keys that there are now follow (deletions are not known)" in said
        watch.end()


def test_lost_history_puts_a_snapshot_into_the_json(path: Path) -> None:
    """A program gets everything it needs to go on."""
    compacted = refusal(410, "compacted")
    with FakeDaemon(path, [cut(PUT_8)], [compacted], [cut(*SNAPSHOT_30)]), watching(path, "--json") as watch:
        assert [watch.stdout.readline() for _ in range(5)] == [PUT_8, *SNAPSHOT_30]
        watch.end()


def test_a_snapshot_that_is_cut_is_not_resumed_after(path: Path) -> None:
    """Half a snapshot proves nothing: another one follows, and the gap stays announced."""
    compacted = refusal(410, "compacted")
    scripts = [[cut(PUT_8)], [compacted], [cut(*SNAPSHOT_30[:2])], [cut(*SNAPSHOT_30)]]
    with FakeDaemon(path, *scripts) as daemon, watching(path) as watch:
        assert watch.stdout.readline().startswith(b"8\t")
        assert watch.stdout.readline() == b"25\tput\t/new\ty\n"
        assert "&snapshot=true " in daemon.requests[3]
        watch.end()


def test_a_refusal_that_stays_ends_the_watch(path: Path) -> None:
    """After a restart with another configuration, the prefix may be forbidden."""
    with FakeDaemon(path, [cut(PUT_8)], [refusal(403, "forbidden")]):
        done = syncd("watch", "/", socket=path)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith(b"syncd: forbidden: ")


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (refusal(503, "not_ready"), 4),
        (refusal(410, "compacted"), 1),
        (refusal(404, "not_mirrored"), 1),
        (b"", 1),
    ],
)
def test_a_watch_that_never_began_is_not_tried_again(path: Path, answer: bytes, code: int) -> None:
    """A wrong socket or prefix is told at once."""
    with FakeDaemon(path, [answer]) as daemon:
        assert syncd("watch", "/", "--from", "3", socket=path).returncode == code
        assert len(daemon.requests) == 1


def test_a_range_that_goes_stale_is_announced(path: Path) -> None:
    """Silence on standard output would look like peace."""
    with FakeDaemon(path, [cut(STALE_12, PROGRESS_12)]), watching(path) as watch:
        said = b"syncd: the range is stale now: etcd has not confirmed it of late; `syncd status` tells why\n"
        assert watch.stderr.readline() == said
        assert watch.stderr.readline() == b"syncd: the range is live now\n"
        watch.end()


def test_on_a_terminal_each_event_is_one_safe_line(path: Path) -> None:
    """Colours are ours; a long value is cut to the line."""
    event = b'{"type":"put","kv":{"key":"/\\u001b[2J[red]","value":"%s","mod_revision":8}}' % (b"v" * 500)
    terminal = Terminal()
    with FakeDaemon(path, [cut(b'{"revision":8,"events":[%s]}\n' % event)]):
        process = subprocess.Popen(
            [*SYNCD, "watch", "/"],
            stdout=terminal.slave,
            stderr=terminal.slave,
            env=environment(path, {"TERM": "xterm-256color", "COLUMNS": "80"}),
        )
        terminal.leave()
        terminal.wait_for("the watch ended")
        process.send_signal(signal.SIGINT)
        line = terminal.finish().splitlines()[0]
        assert process.wait(SECONDS) == 130
    assert "\x1b[32mput" in line
    assert "/\\x1b[2J[red]" in line
    assert line.rstrip("\x1b[0m").endswith("v…")
    assert 30 < line.count("v") < 60
