"""`syncd check` end to end: real processes, real etcd servers, and roads that lead nowhere."""

import json
import os
import re
import signal
import socket
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.cli.command import SECONDS, SYNCD, Terminal, environment, on_terminal, start, syncd
from tests.daemon.process import Daemon
from tests.etcd import Etcd, reason_missing

FAULTLESS = "3.5.30"
"""A version of which no fault is known that a mirror can meet."""

KEYS = {"code", "level", "subject", "seen", "means", "cure"}


@pytest.fixture
def good_etcd() -> Iterator[Etcd]:
    """Run an empty server with which all is well."""
    if reason := reason_missing(FAULTLESS):
        pytest.skip(f"NOT TESTED with etcd {FAULTLESS}: {reason}")
    with Etcd(FAULTLESS) as server:
        yield server


def written(folder: Path, endpoints: str | Sequence[str], **sections: Any) -> str:
    """Write a configuration file, and return its path; the socket would be in `folder`, too."""
    file = folder / "syncd.yaml"
    settings = {
        "etcd": {"endpoints": [endpoints] if isinstance(endpoints, str) else list(endpoints)},
        "ranges": [{"prefix": "/app/"}],
        "cache": {"directory": None},
        "serve": {"socket": str(folder / "s")},
    }
    file.write_text(json.dumps(settings | sections))
    return str(file)


def codes(report: dict[str, Any]) -> list[str]:
    """What was found, in the order printed."""
    return [finding["code"] for finding in report["findings"]]


@contextmanager
def closed_port() -> Iterator[str]:
    """The URL of a port on which nobody listens, and nobody else will."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{taken.getsockname()[1]}"


@contextmanager
def black_hole() -> Iterator[str]:
    """The URL of a port to which packets get lost: its backlog is full, and nobody accepts."""
    with socket.socket() as server, socket.socket() as first, socket.socket() as second:
        server.bind(("127.0.0.1", 0))
        server.listen(0)
        for client in (first, second):
            client.setblocking(False)
            client.connect_ex(server.getsockname())
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


def test_all_is_well(good_etcd: Etcd, tmp_path: Path) -> None:
    """Exit 0; what was found goes from here to the range, and is the same for programs and people."""
    good_etcd.put("/app/a", "1")
    file = written(tmp_path, good_etcd.endpoint)
    done = syncd("check", "-c", file, "--json")
    assert (done.returncode, done.stderr) == (0, b"")
    report = json.loads(done.stdout)
    assert (report["ok"], report["config"]) == (True, file)
    assert 0 < report["seconds"] < 5
    assert all(set(finding) == KEYS for finding in report["findings"])
    found = codes(report)
    way = ["config.ok", "socket.ok", "cache.off", "tcp.ok", "gateway.ok", "etcd.ok", "range.ok", "watch.ok"]
    assert [code for code in found if code in way] == way
    assert not {finding["level"] for finding in report["findings"]} & {"warning", "error"}

    done = syncd("check", "-c", file)
    assert (done.returncode, done.stderr) == (0, b"")
    text = done.stdout.decode()
    assert re.findall(r"^  (?:ok     |note   )  (\S+) ", text, re.MULTILINE) == found
    assert text.endswith("\n\nall is well\n")
    assert all(line.isprintable() for line in text.split("\n"))
    assert not (tmp_path / "s.lock").exists()


def test_on_a_terminal_it_has_colours_and_shows_that_it_works(good_etcd: Etcd, tmp_path: Path) -> None:
    """Symbols; while it runs, a line tells the last finding, and is gone in the end."""
    code, text = on_terminal("check", "-c", written(tmp_path, good_etcd.endpoint), socket="")
    assert code == 0
    assert "\x1b[32m  ✓" in text
    assert "checking" in text
    shown = re.sub(r"\x1b\[[^a-zA-Z]*[a-zA-Z]", "", text)
    assert "  ✓  tcp.ok " in shown
    assert shown.endswith("\n\nall is well\n")


def test_an_etcd_that_does_not_run(tmp_path: Path) -> None:
    """Exit 1, with the cause, what it means and the cure; nothing behind it is called well."""
    with closed_port() as url:
        file = written(tmp_path, url)
        done = syncd("check", "-c", file)
        report = json.loads(syncd("check", "-c", file, "--json").stdout)
    assert (done.returncode, done.stderr) == (1, b"")
    text = done.stdout.decode()
    assert re.search(rf"^{url}\n  error    tcp.refused ", text, re.MULTILINE)
    assert "             > start etcd, or correct the port" in text
    assert text.endswith("\n\n1 error (tcp.refused): syncd cannot work like this\n")
    assert report["ok"] is False
    assert not {"gateway.ok", "etcd.ok", "range.ok"} & set(codes(report))


def test_dead_endpoints_take_less_than_five_seconds(new_etcd: Etcd, tmp_path: Path) -> None:
    """One refuses, to one no packet comes through; the third is looked at meanwhile."""
    with closed_port() as refusing, black_hole() as silent:
        file = written(tmp_path, [silent, refusing, new_etcd.endpoint])
        done = syncd("check", "-c", file, "--json")
    assert done.returncode == 0  # syncd works, through the third
    report = json.loads(done.stdout)
    assert report["seconds"] < 5
    found = {(one["subject"], one["code"]) for one in report["findings"]}
    assert {(silent, "tcp.timeout"), (refusing, "tcp.refused"), (new_etcd.endpoint, "gateway.ok")} <= found


def test_a_paused_etcd_takes_less_than_five_seconds(new_etcd: Etcd, tmp_path: Path) -> None:
    """It takes connections, and says nothing."""
    new_etcd.pause()
    done = syncd("check", "-c", written(tmp_path, new_etcd.endpoint), "--json")
    assert done.returncode == 1
    report = json.loads(done.stdout)
    assert report["seconds"] < 5
    assert {"gateway.timeout", "check.timeout"} & set(codes(report))


def test_a_bad_configuration_ends_with_2(tmp_path: Path) -> None:
    """A finding for each mistake, with its line and key, in the order of the file."""
    file = tmp_path / "syncd.yaml"
    file.write_text("etcd:\n  endpoint: x\n  tls: {ca_file: nowhere.pem}\nranges: []\n")
    done = syncd("check", "-c", str(file), "--json")
    assert (done.returncode, done.stderr) == (2, b"")
    report = json.loads(done.stdout)
    assert (report["ok"], report["config"]) == (False, str(file))
    assert [(one["code"], one["subject"], one["level"]) for one in report["findings"]] == [
        ("config.invalid", f"{file}:2: etcd.endpoint", "error"),
        ("file.missing", f"{file}:3: etcd.tls.ca_file", "error"),
        ("config.invalid", f"{file}:4: ranges", "error"),
    ]
    assert report["findings"][1]["cure"].endswith(f":\n  ls -l {tmp_path}")

    done = syncd("check", "-c", str(file))
    assert (done.returncode, done.stderr) == (2, b"")
    text = done.stdout.decode()
    assert f"{file}:2: etcd.endpoint\n  error    config.invalid  " in text
    assert f"\n                 ls -l {tmp_path}\n" in text
    assert text.endswith("\n\n3 errors (config.invalid, file.missing): syncd cannot work like this\n")


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    """Its name may even be no text; the JSON is JSON all the same."""
    file = os.fsencode(tmp_path) + b"/\xff\x1b[2J"
    done = syncd("check", b"-c", file, "--json")
    assert done.returncode == 2
    assert [one["code"] for one in json.loads(done.stdout)["findings"]] == ["config.invalid"]
    done = syncd("check", b"-c", file)
    assert done.returncode == 2
    assert b"\\x1b[2J" in done.stdout
    assert b"\x1b" not in done.stdout


def test_a_running_daemon_is_not_disturbed(new_etcd: Etcd) -> None:
    """It is found, by its pid; nobody connects to it, and it goes on."""
    with Daemon(new_etcd.endpoint) as daemon:
        daemon.wait_for("live")
        before = daemon.log_text()
        report = json.loads(syncd("check", "-c", str(daemon.config), "--json").stdout)
        (in_use,) = (one for one in report["findings"] if one["code"] == "socket.in_use")
        assert f"(pid {daemon.pid})" in in_use["seen"]
        assert report["ok"] is True
        assert daemon.log_text() == before
        assert daemon.stop() == 0


def test_no_reader_and_no_room(tmp_path: Path) -> None:
    """The output's errors end it as they end other commands: 141 without a word, 1 with one."""
    with closed_port() as url:
        file = written(tmp_path, url)
        process = start("check", "-c", file, "--json")
        assert process.stdout is not None
        process.stdout.close()
        assert process.wait(SECONDS) == 141
        assert process.stderr is not None
        assert process.stderr.read() == b""
        process.stderr.close()
        with Path("/dev/full").open("wb") as full:
            command = [*SYNCD, "check", "-c", file]
            done = subprocess.run(
                command, stdout=full, stderr=subprocess.PIPE, env=environment(None), check=False
            )
    assert done.returncode == 1
    assert done.stderr == b"syncd: cannot write to standard output: No space left on device\n"


def test_ctrl_c_ends_with_130_and_without_a_word(tmp_path: Path) -> None:
    """In the middle of it; the line that shows progress is taken away."""
    terminal = Terminal()
    with black_hole() as url:
        process = subprocess.Popen(
            [*SYNCD, "check", "-c", written(tmp_path, url)],
            stdin=subprocess.DEVNULL,
            stdout=terminal.slave,
            stderr=terminal.slave,
            env=environment(None, {"TERM": "xterm-256color"}),
        )
        terminal.leave()
        terminal.wait_for("checking: ")  # something was found, so the rest is under way
        process.send_signal(signal.SIGINT)
        text = terminal.finish()
        assert process.wait(SECONDS) == 130
    assert "Traceback" not in text


def test_help_tells_of_it() -> None:
    """Among the commands; its exit codes, for they are its own."""
    assert re.search(rb"^ +check +find out why", syncd("--help").stdout, re.MULTILINE)
    told = syncd("check", "--help").stdout
    assert b"exit codes: 0 all is well" in told
    assert syncd("check").returncode == 2
