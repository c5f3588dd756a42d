"""A real `syncd run` process for tests and benchmarks, with a directory of its own.

    with Daemon(etcd.endpoint, prefixes=["/app/"]) as daemon:
        daemon.wait_for("live")
        daemon.ask(target("value", key="/app/a"))
        daemon.kill()
        daemon.start()  # the same configuration, the same socket

Everything blocks, as in `tests.etcd`.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from signal import SIGTERM, Signals
from typing import Any, Self

import pytest

from tests.serve.local import Answer, Stream, ask, target, wait_until

STOP_SECONDS = 10.0
HEARTBEAT = "1s"  # the default of 5 s would make every test of staleness wait for it
MODULE = "syncd.cli"

Settings = dict[str, Any]


class Daemon:
    """One daemon: its configuration, its process, its log.

    `settings` are laid over the default ones, section by section; `self.settings` may be changed between
    `write` (or `stop`) and `start`. `under` is a command that runs the daemon's. When the tests are killed,
    so is the process; see `tests.etcd.Etcd`.
    """

    def __init__(
        self,
        endpoints: str | Sequence[str] = (),
        prefixes: Sequence[str] = ("/",),
        settings: Mapping[str, Any] | None = None,
        environment: Mapping[str, str] | None = None,
        module: str = MODULE,
        under: Sequence[str] = (),
    ) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="syncd-"))
        self.config = self.directory / "config.yaml"
        self.socket = self.directory / "sock"
        self.log_file = self.directory / "log"
        self.output_file = self.directory / "output"
        self.environment = dict(environment or {})
        self._module = module
        self._under = under
        self.settings: Settings = {
            "etcd": {
                "endpoints": [endpoints] if isinstance(endpoints, str) else list(endpoints),
                "timeouts": {"heartbeat": HEARTBEAT, "request": "2s"},
            },
            "ranges": [{"prefix": prefix} for prefix in prefixes],
            "cache": {"directory": None},
            "serve": {"socket": str(self.socket)},
            "log": {"level": "debug"},
        }
        for section, values in (settings or {}).items():
            if isinstance(values, Mapping):
                self.settings[section] = self.settings.get(section, {}) | dict(values)
            else:
                self.settings[section] = values
        self._process: subprocess.Popen[bytes] | None = None
        self.write()

    def write(self) -> None:
        """Write the configuration file anew."""
        self.config.write_text(json.dumps(self.settings))  # all JSON is YAML

    @property
    def pid(self) -> int:
        """The running process's id."""
        return self._running().pid

    def launch(self) -> None:
        """Start the process without waiting; for a configuration that it will refuse."""
        assert self._process is None, "runs already"
        with self.log_file.open("ab") as log, self.output_file.open("ab") as output:
            self._process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", "--", *self._under, *command(self.config, self._module)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=log,
                env={**os.environ, **self.environment},
                start_new_session=True,
            )

    def start(self) -> Self:
        """Start the process, and return when it answers."""
        self.launch()
        wait_until(self._answers, "the daemon answers")
        return self

    def wait(self, seconds: float = STOP_SECONDS) -> int:
        """Wait for the process to end by itself; its exit code."""
        code = self._running().wait(seconds)
        self._process = None
        return code

    def signal(self, number: Signals) -> None:
        """Send a signal."""
        self._running().send_signal(number)

    def stop(self, number: Signals = SIGTERM) -> int:
        """Stop it as systemd would; its exit code."""
        self.signal(number)
        return self.wait()

    def kill(self) -> None:
        """End it at once (SIGKILL); the socket file stays."""
        process = self._running()
        process.kill()
        process.wait()
        self._process = None

    def close(self) -> None:
        """End the process if there is one, and remove the directory; may be called twice."""
        if self._process is not None:
            self.kill()
        shutil.rmtree(self.directory, ignore_errors=True)

    def __enter__(self) -> Self:
        try:
            return self.start()
        except BaseException:
            self.close()
            raise

    def __exit__(self, *_: object) -> None:
        self.close()

    def ask(self, target: str, method: str = "GET", **headers: str) -> Answer:
        """One request."""
        return ask(self.socket, target, method, **headers)

    def stream(self, call: str, /, headers: Mapping[str, str] | None = None, **parameters: object) -> Stream:
        """Begin an answer that goes on."""
        return Stream(self.socket, target(call, **parameters), headers)

    def status(self) -> dict[str, Any]:
        """What /v1/status says."""
        status: dict[str, Any] = self.ask("/v1/status").json
        return status

    def range_status(self, index: int = 0) -> dict[str, Any]:
        """What /v1/status says of one range."""
        ranges: list[dict[str, Any]] = self.status()["ranges"]
        return ranges[index]

    def wait_for(self, state: str) -> Self:
        """Wait until every range is in `state`."""
        wait_until(lambda: {r["state"] for r in self.status()["ranges"]} == {state}, f"state {state}")
        return self

    def wait_for_revision(self, revision: int) -> Self:
        """Wait until every range has reached `revision`."""
        wait_until(
            lambda: min(r["revision"] for r in self.status()["ranges"]) >= revision, f"revision {revision}"
        )
        return self

    def log(self, event: str | None = None) -> list[dict[str, Any]]:
        """The lines logged so far, all of them JSON objects; only those of one kind if `event` is given."""
        lines = [
            json.loads(line) for line in self.log_text().splitlines(keepends=True) if line.endswith("\n")
        ]
        return [line for line in lines if event is None or line["event"] == event]

    def log_text(self) -> str:
        """The log as it is."""
        return self.log_file.read_text()

    def wait_for_log(self, event: str, count: int = 1) -> list[dict[str, Any]]:
        """Wait until `event` was logged `count` times; these lines."""
        wait_until(lambda: len(self.log(event)) >= count, f"{event!r} in the log")
        return self.log(event)

    def resident_bytes(self) -> int:
        """The memory that it has now."""
        pages = Path(f"/proc/{self.pid}/statm").read_text().split()[1]
        return int(pages) * os.sysconf("SC_PAGE_SIZE")

    def assert_no_traceback(self) -> None:
        """Nothing went wrong that nobody had thought of: what has a code was thought of."""
        strange = [
            line
            for line in self.log()
            if (line["level"] in ("error", "critical") and "code" not in line) or "exception" in line
        ]
        assert not strange, strange
        assert "Traceback" not in self.log_text()

    def _answers(self) -> bool:
        process = self._running()
        if process.poll() is not None:
            self._process = None
            pytest.fail(f"syncd ended with {process.returncode}:\n{self.log_text()}")
        try:
            return self.ask("/healthz").status == 200
        except (FileNotFoundError, ConnectionRefusedError):
            return False

    def _running(self) -> subprocess.Popen[bytes]:
        assert self._process is not None, "syncd is not running"
        return self._process


def command(config: Path, module: str = MODULE) -> list[str]:
    """The command line of a daemon; `module` may be another one that understands syncd's arguments."""
    return [sys.executable, "-m", module, "run", "-c", str(config)]
