"""The commands against a stand-in for the daemon: the faults, and what each kind of output looks like."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from syncd import __version__
from tests.cli.command import SECONDS, SYNCD, environment, on_terminal, start, syncd
from tests.client.fake import CHUNKED, RECORD, FakeDaemon, chunks, head, refusal, streamed, whole

HEAD = b'{"revision":7,"epoch":"e1","count":2,"state":"live","age_ms":3}\n'
A = b'{"key":"/a","value":"x","create_revision":5,"mod_revision":5,"version":1,"lease":0}\n'
B = b'{"key_b64":"L/8bCg==","value":"\xc2\x9b","create_revision":6,"mod_revision":7,"version":2,"lease":0}\n'
END = b'{"end":true,"count":2}\n'


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Give a place for a socket."""
    return tmp_path / "s"


def test_get_prints_the_bytes_of_the_value(path: Path) -> None:
    """Nothing is added in a pipe, whatever the bytes are."""
    value = b"\0\xff\x1b[31m no newline"
    with FakeDaemon(path, [whole(value, headers=RECORD)]) as daemon:
        done = syncd("get", b"/k\xff", socket=path)
        assert (done.returncode, done.stdout, done.stderr) == (0, value, b"")
        assert daemon.requests[0].startswith("GET /v1/value?key=/k%FF HTTP/1.1\r\n")


def test_get_shows_a_value_safely_on_a_terminal(path: Path) -> None:
    """Escape sequences are seen, not obeyed; lines remain lines; a newline ends it."""
    with FakeDaemon(path, [whole(b"one\n\ttwo \x1b]0;owned\x07", headers=RECORD)]):
        assert on_terminal("get", "/k", socket=path) == (0, "one\n\ttwo \\x1b]0;owned\\x07\n")


def test_get_json_prints_the_record_as_served(path: Path) -> None:
    """One line of JSON."""
    with FakeDaemon(path, [whole(A.rstrip(), headers=RECORD)]) as daemon:
        done = syncd("get", "/a", "--json", socket=path)
        assert (done.returncode, done.stdout) == (0, A)
        assert "Accept: application/json" in daemon.requests[0]


def test_list_prints_keys_as_they_are(path: Path) -> None:
    """In a pipe, a key's bytes and a newline."""
    with FakeDaemon(path, [streamed(HEAD, A, B, END)]) as daemon:
        done = syncd("list", "/", socket=path)
        assert (done.returncode, done.stdout) == (0, b"/a\n/\xff\x1b\n\n")
        assert "keys_only=true" in daemon.requests[0]


def test_list_shows_keys_safely_on_a_terminal(path: Path) -> None:
    """One line a key, whatever is in it."""
    with FakeDaemon(path, [streamed(HEAD, A, B, END)]):
        assert on_terminal("list", "/", socket=path) == (0, "/a\n/\\xff\\x1b\\x0a\n")


def test_list_json_prints_records_only(path: Path) -> None:
    """Neither head nor end, so that each line is a key."""
    with FakeDaemon(path, [streamed(HEAD, A, B, END)]):
        assert syncd("list", "/", "--json", socket=path).stdout == A + B


def test_snapshot_prints_what_is_served(path: Path) -> None:
    """Head, records and end as they are."""
    with FakeDaemon(path, [streamed(HEAD + A, B, END)]):
        done = syncd("snapshot", "/", socket=path)
        assert (done.returncode, done.stdout, done.stderr) == (0, HEAD + A + B + END, b"")


def test_snapshot_is_still_json_on_a_terminal(path: Path) -> None:
    """Controls inside it are escaped as JSON does."""
    with FakeDaemon(path, [streamed(HEAD, A, B, END)]):
        code, shown = on_terminal("snapshot", "/", socket=path)
    assert code == 0
    assert [json.loads(line) for line in shown.splitlines()] == [
        json.loads(line) for line in (HEAD, A, B, END)
    ]
    assert "\\u009b" in shown


@pytest.mark.parametrize(
    "answer",
    [
        head(headers=CHUNKED) + chunks(HEAD + A),
        head(headers=CHUNKED) + chunks(HEAD + A + B + END),
        streamed(HEAD + A + B),
        streamed(HEAD + A + END),
    ],
    ids=["cut", "cut after its end line", "no end line", "wrong count"],
)
@pytest.mark.parametrize("command", ["snapshot", "list"])
def test_what_is_cut_fails(path: Path, command: str, answer: bytes) -> None:
    """Exit 1 and one line on standard error, however much was printed."""
    with FakeDaemon(path, [answer]):
        done = syncd(command, "/", socket=path)
    assert done.returncode == 1
    assert done.stderr.count(b"\n") == 1
    assert b"Traceback" not in done.stderr


def test_snapshot_shows_a_bar_where_a_person_waits(path: Path) -> None:
    """Standard error is a terminal, standard output is not: the bar and the data don't meet."""
    from tests.cli.command import Terminal

    terminal = Terminal()
    with FakeDaemon(path, [streamed(HEAD, A, B, END)]):
        process = subprocess.Popen(
            [*SYNCD, "snapshot", "/"],
            stdout=subprocess.PIPE,
            stderr=terminal.slave,
            env=environment(path, {"TERM": "xterm"}),
        )
        terminal.leave()
        shown = terminal.finish()
        output, _ = process.communicate(timeout=SECONDS)
    assert process.returncode == 0
    assert output == HEAD + A + B + END
    assert "2/2" in shown


@pytest.mark.parametrize(
    ("answer", "code", "said"),
    [
        (refusal(404, "not_found"), 3, b"not_found"),
        (refusal(404, "not_mirrored"), 1, b"`syncd status` lists"),
        (refusal(503, "not_ready"), 4, b"nothing to serve yet"),
        (refusal(503, "too_stale"), 4, b"too_stale"),
        (refusal(403, "forbidden"), 1, b"your groups decide"),
        (refusal(400, "bad_request"), 2, b"bad_request"),
        (whole(b"oops", 500), 1, b"HTTP status 500: oops"),
        (b"220 mail\r\n\r\n", 1, b"is this the socket of a syncd"),
    ],
)
def test_refusals_end_with_their_code_and_one_line(path: Path, answer: bytes, code: int, said: bytes) -> None:
    """What, where, and what helps."""
    with FakeDaemon(path, [answer]):
        done = syncd("get", "/k", "--max-age", "5s", socket=path)
    assert (done.returncode, done.stdout) == (code, b"")
    assert said in done.stderr
    assert str(path).encode() in done.stderr
    assert done.stderr.count(b"\n") == 1


def test_a_message_cannot_control_the_terminal(path: Path) -> None:
    """What the daemon says about a key has the key in it."""
    with FakeDaemon(path, [whole(b'{"error":{"code":"not_found","message":"\\u001b[2J\\n/k"}}', 404)]):
        done = syncd("get", "/k", socket=path)
    assert b"\\x1b[2J\\x0a/k" in done.stderr


def test_no_daemon_is_one_line(path: Path) -> None:
    """The socket is named, and how to name another."""
    done = syncd("status", "--socket", str(path))
    assert done.returncode == 1
    assert done.stderr.count(b"\n") == 1
    assert str(path).encode() in done.stderr
    assert b"is the daemon running" in done.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["get"],
        ["frobnicate"],
        ["get", "/k", "--max-age", "5"],
        ["get", "/k", "--min-revision", "-1"],
        ["get", "/k", "--min-revision", "99999999999999999999"],
        ["get", "/k", "--wait", "5s"],
        ["watch", "/k", "--from", "now"],
        ["run"],
    ],
)
def test_wrong_usage_ends_with_2(arguments: list[str]) -> None:
    """And says how it is used."""
    done = syncd(*arguments)
    assert done.returncode == 2
    assert b"usage: syncd" in done.stderr


def test_conditions_reach_the_daemon(path: Path) -> None:
    """Durations become milliseconds."""
    options = ["--max-age", "1.5s", "--min-revision", "7", "--wait", "250ms", "--linearizable"]
    with FakeDaemon(path, *([whole(b"", headers=RECORD)],)) as daemon:
        syncd("get", "/k", *options, socket=path)
        assert "max_age_ms=1500&min_revision=7&wait_ms=250&linearizable=true" in daemon.requests[0]


def test_version() -> None:
    """`syncd --version`."""
    assert syncd("--version").stdout == f"syncd {__version__}\n".encode()


def test_status_json_is_the_daemons(path: Path) -> None:
    """Not a field less."""
    with FakeDaemon(path, [whole(b'{"version":"9","moon":"full"}')]):
        assert syncd("status", "--json", socket=path).stdout == b'{"version":"9","moon":"full"}\n'


def test_status_on_a_terminal_is_a_table_with_colours(path: Path) -> None:
    """A full read that is under way has a bar, and nothing controls the terminal but us."""
    body = json.dumps(
        {
            "version": "1",
            "ranges": [
                {
                    "range": "/a[bold]\x1b[2J",
                    "state": "stale",
                    "keys": 5,
                    "syncing": {"keys": 5, "count": 10, "reason": "initial"},
                }
            ],
        }
    ).encode()
    with FakeDaemon(path, [whole(body)]):
        code, shown = on_terminal("status", socket=path)
    assert code == 0
    assert "/a[bold]\\x1b[2J" in shown
    assert "\x1b[31mstale" in shown
    assert "5 of 10 keys" in shown
    assert "━" in shown


def test_a_reader_that_leaves_ends_the_command_quietly(path: Path) -> None:
    """As with `| head`."""
    records = A * 200_000
    with FakeDaemon(path, [streamed(HEAD, records)]):
        process = start("list", "/", socket=path)
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == b"/a\n"
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(SECONDS) == 141
        process.stderr.close()


def test_output_that_cannot_be_written_is_a_failure(path: Path) -> None:
    """A full disk is not success."""
    with FakeDaemon(path, [whole(b"x", headers=RECORD)]), Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [*SYNCD, "get", "/k"], stdout=full, stderr=subprocess.PIPE, env=environment(path), check=False
        )
    assert done.returncode == 1
    assert done.stderr == b"syncd: cannot write to standard output: No space left on device\n"


def test_ctrl_c_ends_with_130_and_without_a_word(path: Path) -> None:
    """No traceback."""
    with FakeDaemon(path, [head(headers=CHUNKED) + chunks(b'{"revision":8,"progress":true}\n')]):
        process = start("watch", "/", "--json", socket=path)
        assert process.stderr is not None
        process.stderr.readline()  # it has met the end of the stream, so it runs
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=SECONDS)
    assert process.returncode == 130
    assert b"Traceback" not in said


def test_get_starts_fast(path: Path) -> None:
    """What only other commands need is not imported."""
    program = (
        "import sys; from syncd.cli.main import main; main(['get', '/k']);"
        "print(*sorted(sys.modules), file=sys.stderr)"
    )
    with FakeDaemon(path, [whole(b"x", headers=RECORD)]):
        done = subprocess.run(
            [sys.executable, "-c", program],
            capture_output=True,
            text=True,
            check=True,
            timeout=SECONDS,
            env=environment(path),
        )
    assert done.stdout == "x"
    imported = set(done.stderr.split())
    assert "syncd.client" in imported
    heavy = {
        "rich",
        "aiohttp",
        "asyncio",
        "yaml",
        "structlog",
        "prometheus_client",
        "http.client",
        "ssl",
        "lmdb",
    }
    assert not imported & heavy
    assert not {
        name
        for name in imported
        if name.startswith("syncd.") and name.split(".")[1] not in {"cli", "client", "records", "errors"}
    }
