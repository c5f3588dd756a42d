"""Streams of changes, timed line by line."""

from __future__ import annotations

import base64
import json
import queue
import threading
import time
from http.client import HTTPConnection, HTTPResponse

from tests.benchmark.daemon import Daemon
from tests.etcd import Etcd

PATIENCE = 10.0


class Watcher:
    """Notes when each line of a stream arrives."""

    def __init__(self, answer: HTTPResponse) -> None:
        self._seen: queue.Queue[float] = queue.Queue()
        threading.Thread(target=self._read, args=(answer,), daemon=True).start()

    def next(self) -> float:
        """Wait for the next line; when it arrived, by `time.perf_counter`."""
        return self._seen.get(timeout=PATIENCE)

    def _read(self, answer: HTTPResponse) -> None:
        while answer.readline().strip():
            self._seen.put(time.perf_counter())


def local(running: Daemon, prefix: str) -> Watcher:
    """A watcher at a daemon, which has no progress to tell of meanwhile."""
    return Watcher(running.get(f"/v1/watch?prefix={prefix}&heartbeat_ms=3600000"))


def direct(etcd: Etcd, prefix: str) -> Watcher:
    """A watcher at etcd's gateway."""
    start = base64.b64encode(prefix.encode()).decode()
    end = base64.b64encode(prefix.encode()[:-1] + b"0").decode()  # "/" + 1
    connection = HTTPConnection("127.0.0.1", etcd.port)
    create = {"create_request": {"key": start, "range_end": end}}
    connection.request("POST", f"{etcd.api_prefix}/watch", json.dumps(create))
    watcher = Watcher(connection.getresponse())
    watcher.next()  # `created`
    return watcher
