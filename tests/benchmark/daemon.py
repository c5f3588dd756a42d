"""`syncd run` as its own process, with its usual settings, asked and weighed from outside."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path
from typing import Any

import orjson

from tests.etcd import Etcd

ASK_AGAIN = 0.002
"""Seconds between two questions whether it answers already."""

REST = 0.5
"""Seconds in which a daemon that has nothing to do takes next to no processor time."""

TICK = 1 / os.sysconf("SC_CLK_TCK")

ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
"""An installed syncd has its bytecode beside it: to compile it at each start takes 0.1 s."""


class UnixConnection(HTTPConnection):
    """HTTP to the daemon's socket."""

    def __init__(self, path: Path) -> None:
        super().__init__("localhost")
        self._path = path

    def connect(self) -> None:
        """Open the socket."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.connect(os.fspath(self._path))


class Daemon:
    """One that mirrors `prefixes`, in `directory`; with a copy on disk, in `directory` too, if `cached`.

    With a `port`, it listens there as well.
    """

    def __init__(
        self, directory: Path, etcd: Etcd, *prefixes: str, cached: bool = False, port: int | None = None
    ) -> None:
        self.cache = directory / "cache"
        self.socket = directory / "syncd.sock"
        self._log = directory / "log"
        self._config = directory / "config.yaml"
        self._config.write_bytes(
            orjson.dumps(
                {
                    "etcd": {"endpoints": [etcd.endpoint]},
                    "ranges": [{"prefix": prefix} for prefix in prefixes],
                    "cache": {"directory": str(self.cache) if cached else None},
                    "serve": {
                        "socket": str(self.socket),
                        "listen": port and f"127.0.0.1:{port}",
                    },
                    "log": {"format": "json"},
                }
            )
        )
        self.start()

    def start(self) -> None:
        """Start the process, and do not wait for anything."""
        self.started = time.perf_counter()
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "syncd.cli", "run", "-c", self._config],
                stderr=log,
                stdin=subprocess.DEVNULL,
                env=ENVIRONMENT,
            )

    def stop(self) -> None:
        """End it, as systemd would."""
        self._process.terminate()
        self._process.wait()

    def kill(self) -> None:
        """End it at once."""
        self._process.kill()
        self._process.wait()

    def get(self, path: str) -> HTTPResponse:
        """GET on a connection of its own; the answer's body is not read."""
        connection = UnixConnection(self.socket)
        connection.request("GET", path)
        return connection.getresponse()

    def first_answer(self, key: str) -> float:
        """Wait until `key` is served; the seconds from the start of the process."""
        while True:
            with closing(UnixConnection(self.socket)) as connection:
                try:
                    connection.request("GET", f"/v1/value?key={key}")
                    served = connection.getresponse().status == 200
                except (FileNotFoundError, ConnectionRefusedError):
                    served = False
            if served:
                return time.perf_counter() - self.started
            self._wait(ASK_AGAIN)

    def read_seconds(self, prefix: str) -> float:
        """Wait until `prefix` was read; the seconds from its first request to the whole state visible."""
        return float(self.logged("read", prefix)["seconds"])

    def logged(self, event: str, prefix: str) -> dict[str, Any]:
        """Wait until the log tells of `event`; its line."""
        while True:
            for line in self._log.read_bytes().splitlines():
                entry: dict[str, Any] = orjson.loads(line)
                if entry["event"] == event and entry["range"] == prefix:
                    return entry
            self._wait(0.05)

    def status(self, prefix: str) -> dict[str, Any]:
        """What /v1/status says of a range."""
        with closing(self.get("/v1/status")) as answer:
            ranges: list[dict[str, Any]] = orjson.loads(answer.read())["ranges"]
        return next(status for status in ranges if status["range"] == prefix)

    def wait_until(self, prefix: str, condition: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """Wait until the status of a range is as it should be; that status."""
        while not condition(status := self.status(prefix)):
            self._wait(0.05)
        return status

    def wait_until_idle(self) -> None:
        """Return when it has nothing more to do."""
        before = self.cpu() - 1
        while (now := self.cpu()) - before > 2 * TICK:
            before = now
            self._wait(REST)

    def latencies_while(self, work: Callable[[], object], key: str) -> list[float]:
        """Seconds of reads of `key`, one each millisecond, while `work` is done by a thread."""
        working = threading.Thread(target=work)
        latencies = []
        with closing(UnixConnection(self.socket)) as connection:
            working.start()
            while working.is_alive():
                began = time.perf_counter()
                connection.request("GET", f"/v1/value?key={key}")
                answer = connection.getresponse()
                body = answer.read()
                latencies.append(time.perf_counter() - began)
                if answer.status != 200 or not body:
                    raise RuntimeError(f"{answer.status}: {body!r}")
                time.sleep(0.001)
        return latencies

    def cpu(self) -> float:
        """Seconds of processor time that it took so far."""
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        return TICK * (int(fields[11]) + int(fields[12]))  # utime and stime

    def memory(self, kind: str = "VmRSS") -> int:
        """Bytes of memory; see proc(5) for the kinds."""
        status = Path(f"/proc/{self._process.pid}/status").read_text()
        return 1024 * int(next(line.split()[1] for line in status.splitlines() if line.startswith(kind)))

    def disk(self) -> int:
        """Bytes of the copy on disk."""
        return sum(path.stat().st_size for path in self.cache.iterdir())

    def _wait(self, seconds: float) -> None:
        """A moment, if it still runs."""
        if self._process.poll() is not None:
            raise RuntimeError(f"the daemon ended: {self._log.read_text()}")
        time.sleep(seconds)


@contextmanager
def daemon(etcd: Etcd, *prefixes: str, cached: bool = False, port: int | None = None) -> Iterator[Daemon]:
    """A daemon that mirrors `prefixes`, until left."""
    with tempfile.TemporaryDirectory(prefix="syncd-bench-") as directory:
        running = Daemon(Path(directory), etcd, *prefixes, cached=cached, port=port)
        try:
            yield running
        finally:
            running.stop()
