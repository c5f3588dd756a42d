"""From a put to its event at a local watcher, beside a direct watch of etcd's gateway."""

from __future__ import annotations

import time
from collections.abc import Iterator

from tests.benchmark.daemon import daemon
from tests.benchmark.ranges import Scale
from tests.benchmark.report import Row, out, percentile
from tests.benchmark.watchers import direct, local
from tests.etcd import Etcd

PAUSE = 0.002
"""Seconds between two puts: the latency of an idle system, not of a queue."""


def rows(etcd: Etcd, scale: Scale, prefix: str) -> Iterator[Row]:
    """Both watch the same puts, in a range of a few keys."""
    out.print("put to event")
    ours, theirs = [], []
    with daemon(etcd, prefix) as running:
        running.read_seconds(prefix)
        near, far = local(running, prefix), direct(etcd, prefix)
        for number in range(scale.puts):
            began = time.perf_counter()
            etcd.put(f"{prefix}watched", str(number))
            ours.append(near.next() - began)
            theirs.append(far.next() - began)
            time.sleep(PAUSE)
    yield Row(
        "put → local watcher, p50 above a direct watch",
        round(percentile(ours, 50) - percentile(theirs, 50), 3),
        0.4,
        "ms",
        f"p50 {percentile(ours, 50):.2f} / {percentile(theirs, 50):.2f} ms, "
        f"p99 {percentile(ours, 99):.2f} / {percentile(theirs, 99):.2f} ms",
    )
