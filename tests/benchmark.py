"""How fast syncd is, beside what one would use instead, measured in one run and told as ratios.

`tests/bench` runs it. Everything is real: etcd, the daemon as its own process, curl. What is compared
alternates, so that a noisy machine is noisy for both.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import platform
import queue
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import orjson
from rich.console import Console
from rich.table import Table

from tests.etcd import Etcd, usual_version

WATCH_PUTS = 2000
WATCH_PAUSE = 0.002
"""Seconds between two puts: the latency of an idle system, not of a queue."""

out = Console(stderr=True)


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
    """A `syncd run` process."""

    def __init__(self, directory: Path, etcd: Etcd, *prefixes: str) -> None:
        self.socket = directory / "syncd.sock"
        self._log = directory / "log"
        config = directory / "config.yaml"
        config.write_text(
            orjson.dumps(
                {
                    "etcd": {"endpoints": [etcd.endpoint]},
                    "ranges": [{"prefix": prefix} for prefix in prefixes],
                    "cache": {"directory": None},
                    "serve": {"socket": str(self.socket)},
                    "log": {"format": "json"},
                }
            ).decode()
        )
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "syncd.cli", "run", "-c", config], stderr=log, stdin=subprocess.DEVNULL
            )

    def read_seconds(self, prefix: str) -> float:
        """Wait until `prefix` was read; the seconds from its first request to the whole state visible."""
        while self.process.poll() is None:
            for line in self._log.read_bytes().splitlines():
                entry = orjson.loads(line)
                if entry["event"] == "read" and entry["range"] == prefix:
                    return float(entry["seconds"])
            time.sleep(0.05)
        raise RuntimeError(f"the daemon ended: {self._log.read_text()}")

    def rss(self) -> int:
        """Bytes of resident memory."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return 1024 * int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmRSS")))

    def get(self, path: str) -> HTTPResponse:
        """GET on a connection of its own; the answer's body is not read."""
        connection = UnixConnection(self.socket)
        connection.request("GET", path)
        return connection.getresponse()

    def stop(self) -> None:
        """End it."""
        self.process.terminate()
        self.process.wait()


@contextmanager
def daemon(etcd: Etcd, *prefixes: str) -> Iterator[Daemon]:
    """A daemon that mirrors `prefixes`, until left."""
    with tempfile.TemporaryDirectory(prefix="syncd-bench-") as directory:
        running = Daemon(Path(directory), etcd, *prefixes)
        try:
            yield running
        finally:
            running.stop()


def keys(prefix: str, count: int, size: int) -> Iterator[tuple[str, str]]:
    """`count` keys below `prefix` with values of `size` bytes."""
    return ((f"{prefix}{number:09d}", "x" * size) for number in range(count))


def curl_seconds(etcd: Etcd, prefix: str) -> float:
    """One request for everything, thrown away."""
    start, end = prefix.encode(), prefix.encode()[:-1] + b"0"  # "/" + 1
    interval = {"key": base64.b64encode(start).decode(), "range_end": base64.b64encode(end).decode()}
    body = orjson.dumps(interval).decode()
    command = [
        "curl",
        "-sS",
        "-o",
        os.devnull,
        "-w",
        "%{time_total}",
        "-d",
        body,
        f"{etcd.endpoint}/v3/kv/range",
    ]
    return float(subprocess.check_output(command))


def full_read(etcd: Etcd, prefix: str, repetitions: int) -> tuple[list[float], list[float]]:
    """Seconds of syncd's full read and of curl's, alternating."""
    ours, theirs = [], []
    for repetition in range(repetitions):
        out.print(f"  {prefix} {repetition + 1} of {repetitions}")
        theirs.append(curl_seconds(etcd, prefix))
        with daemon(etcd, prefix) as running:
            ours.append(running.read_seconds(prefix))
    return ours, theirs


def value_latencies_during_read(etcd: Etcd, big: str, small: str, key: str) -> list[float]:
    """Seconds of single reads of `small` while `big` is being read."""
    with daemon(etcd, small, big) as running:
        while not running.socket.exists():
            time.sleep(0.01)
        running.read_seconds(small)
        reading = threading.Thread(target=running.read_seconds, args=(big,))
        reading.start()
        connection = UnixConnection(running.socket)
        latencies = []
        while reading.is_alive():
            began = time.perf_counter()
            connection.request("GET", f"/v1/value?key={key}")
            answer = connection.getresponse()
            body = answer.read()
            latencies.append(time.perf_counter() - began)
            if answer.status != 200 or not body:
                raise RuntimeError(f"{answer.status}: {body!r}")
            time.sleep(0.001)
        connection.close()
        return latencies


def memory(etcd: Etcd, prefix: str) -> int:
    """RSS of a daemon that mirrors `prefix`."""
    with daemon(etcd, prefix) as running:
        running.read_seconds(prefix)
        return running.rss()


def watch_latencies(etcd: Etcd, prefix: str) -> tuple[list[float], list[float]]:
    """Seconds from before a put to its event, at a local watcher and at a direct gateway watch."""
    with daemon(etcd, prefix) as running:
        running.read_seconds(prefix)
        local, direct = _Watcher(), _Watcher()
        answer = running.get(f"/v1/watch?prefix={prefix}&heartbeat_ms=3600000")
        local.follow(answer)
        start = base64.b64encode(prefix.encode()).decode()
        end = base64.b64encode(prefix.encode()[:-1] + b"0").decode()
        connection = HTTPConnection("127.0.0.1", etcd.port)
        create = {"create_request": {"key": start, "range_end": end}}
        connection.request("POST", f"{etcd.api_prefix}/watch", json.dumps(create))
        direct.follow(connection.getresponse())
        direct.seen.get(timeout=10)  # `created`
        ours, theirs = [], []
        for number in range(WATCH_PUTS):
            began = time.perf_counter()
            etcd.put(f"{prefix}watched", str(number))
            ours.append(local.seen.get(timeout=10) - began)
            theirs.append(direct.seen.get(timeout=10) - began)
            time.sleep(WATCH_PAUSE)
        return ours, theirs


class _Watcher:
    """Notes when each line of a stream arrives."""

    def __init__(self) -> None:
        self.seen: queue.Queue[float] = queue.Queue()

    def follow(self, answer: HTTPResponse) -> None:
        def read() -> None:
            while answer.readline().strip():
                self.seen.put(time.perf_counter())

        threading.Thread(target=read, daemon=True).start()


class Report:
    """The lines of the result."""

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []

    def add(self, what: str, figure: float, limit: float, unit: str, detail: str) -> None:
        """A measured figure, and the limit that it should not pass."""
        self.rows.append(
            {"what": what, "figure": round(figure, 3), "limit": limit, "unit": unit, "detail": detail}
        )

    def show(self) -> None:
        """The table, on standard output."""
        table = Table("what", "figure", "at most", "", "detail")
        for row in self.rows:
            met = row["figure"] <= row["limit"]
            figure = f"{row['figure']:g} {row['unit']}"
            table.add_row(
                row["what"], figure, f"{row['limit']:g} {row['unit']}", "✓" if met else "✗", row["detail"]
            )
        Console(width=None if sys.stdout.isatty() else 160).print(table)


def median_detail(ours: list[float], theirs: list[float]) -> tuple[float, str]:
    """The ratio of the medians, and both spreads."""
    one, other = statistics.median(ours), statistics.median(theirs)
    spread = (
        f"{one:.2f} s ({min(ours):.2f}-{max(ours):.2f}) / {other:.2f} s ({min(theirs):.2f}-{max(theirs):.2f})"
    )
    return one / other, spread


def percentile(values: list[float], percent: int) -> float:
    """Milliseconds below which `percent` of the values lie."""
    return 1000 * sorted(values)[min(len(values) * percent // 100, len(values) - 1)]


def main() -> None:
    """Measure, and print the table or JSON."""
    parser = argparse.ArgumentParser(prog="tests/bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a tenth of the keys, two repetitions")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    arguments = parser.parse_args()
    tenth, repetitions = (10, 2) if arguments.quick else (1, 5)
    many, few = 500_000 // tenth, 20_000 // tenth
    report = Report()
    with Etcd(usual_version()) as etcd:
        out.print(f"loading {many} keys of 200 B and {few} of 1 KiB")
        etcd.load(keys("/many/", many, 200))
        etcd.load(keys("/few/", few, 1024))
        etcd.load(keys("/small/", 100, 100))
        for prefix, text in (("/many/", f"{many:,} x 200 B"), ("/few/", f"{few:,} x 1 KiB")):
            out.print(f"full read of {text}")
            ratio, detail = median_detail(*full_read(etcd, prefix, repetitions))
            report.add(f"full read, {text} / curl one-shot", ratio, 1.0, "x", detail)
        out.print("memory")
        rss = memory(etcd, "/many/")
        raw = many * (200 + len("/many/000000000"))
        report.add(
            f"memory with {many:,} x 200 B",
            rss / 1e6,
            (1.2 * raw + 200 * many + 60e6) / 1e6,
            "MB",
            f"raw {raw / 1e6:.0f} MB; {(rss - raw) / many:.0f} B a key above raw",
        )
        out.print("single reads during a full read")
        latencies = value_latencies_during_read(etcd, "/many/", "/small/", "/small/000000001")
        report.add(
            f"GET /v1/value p99 while {many:,} keys are read",
            percentile(latencies, 99),
            30.0,
            "ms",
            f"{len(latencies)} reads; p50 {percentile(latencies, 50):.2f}, max {1000 * max(latencies):.1f}",
        )
        out.print("put to event")
        ours, theirs = watch_latencies(etcd, "/small/")
        extra = percentile(ours, 50) - percentile(theirs, 50)
        report.add(
            "put → local watcher, p50 above a direct watch",
            extra,
            0.4,
            "ms",
            f"p50 {percentile(ours, 50):.2f} / {percentile(theirs, 50):.2f} ms, "
            f"p99 {percentile(ours, 99):.2f} / {percentile(theirs, 99):.2f} ms",
        )
    with Etcd(usual_version()) as etcd:
        small, large = 100_000 // tenth, 1_000_000 // tenth
        out.print(f"loading {small} and {large} keys")
        etcd.load(keys("/tenth/", small, 200))
        etcd.load(keys("/whole/", large, 200))
        smalls: list[float] = []
        larges: list[float] = []
        for repetition in range(repetitions):
            out.print(f"  {repetition + 1} of {repetitions}")
            for prefix, times in (("/tenth/", smalls), ("/whole/", larges)):
                with daemon(etcd, prefix) as running:
                    times.append(running.read_seconds(prefix))
        ratio, detail = median_detail(larges, smalls)
        report.add(f"full read, {large:,} / {small:,} keys", ratio, 12.0, "x", detail)
    if arguments.json:
        settings = {
            "machine": platform.platform(),
            "cores": os.cpu_count(),
            "python": platform.python_version(),
            "etcd": usual_version(),
            "aiohttp": aiohttp.__version__,
            "msgspec": msgspec.__version__,
            "quick": arguments.quick,
        }
        print(json.dumps({"settings": settings, "results": report.rows}, indent=2))
    else:
        report.show()


if __name__ == "__main__":
    main()
