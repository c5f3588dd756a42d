"""What the copy on disk costs: processor time, disk, memory, and what readers feel of it.

Two daemons run all the time, one with a copy, and one without; each has a range of its own, of the same size,
so that the one rests while the other works.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator

from tests.benchmark.daemon import Daemon, daemon
from tests.benchmark.events import PAUSE
from tests.benchmark.ranges import Scale, key, overwrites, raw_bytes
from tests.benchmark.report import Row, compared, latencies, out, percentile
from tests.benchmark.watchers import Watcher, local
from tests.calls import TXN_OPS
from tests.etcd import Etcd

SLICE = 100
"""Puts until it is the other's turn."""

READ_MS = 10.0
"""The copy is written by a thread, which takes the interpreter for 5 ms at a time (sys.getswitchinterval)."""

MEMORY = 1.5
"""Held besides: the blocks of the last sweep, and whatever the thread that writes has had in use."""


def rows(etcd: Etcd, scale: Scale, prefix: str, other: str) -> Iterator[Row]:
    """The daemon with a copy has `prefix`, the one without `other`."""
    out.print("what a copy on disk costs")
    with daemon(etcd, prefix, cached=True) as cached:
        yield from _first_copy(cached, scale, prefix)
        disk = [cached.disk()]
        with daemon(etcd, other) as bare:
            bare.read_seconds(other)
            draw = random.Random(1)
            for ops, events in ((1, scale.events // 8), (TXN_OPS, scale.events)):
                ours, theirs = [], []
                for repetition in range(scale.repetitions):
                    out.print(f"  {ops} a transaction, {repetition + 1} of {scale.repetitions}")
                    theirs.append(_cpu_per_event(etcd, scale, bare, other, draw, events, ops))
                    ours.append(_cpu_per_event(etcd, scale, cached, prefix, draw, events, ops))
                    disk.append(cached.disk())
                what = f"processor time per event, {ops} a transaction, with a copy / without"
                yield compared(what, 1.25, ours, theirs, "µs")
            yield _disk(scale, prefix, disk)
            yield _memory(scale, cached, bare)
            yield _latency(etcd, scale, (cached, prefix), (bare, other))


def _first_copy(cached: Daemon, scale: Scale, prefix: str) -> Iterator[Row]:
    """It is written as soon as everything was read."""
    cached.read_seconds(prefix)
    before = cached.memory()
    seconds = cached.latencies_while(lambda: cached.logged("cache written", prefix), key(prefix, 1))
    took = cached.logged("cache written", prefix)["seconds"]
    yield Row(
        f"GET /v1/value p99 while the copy of {scale.many:,} keys is written",
        round(percentile(seconds, 99), 3),
        READ_MS,
        "ms",
        f"{latencies(seconds)}; the copy took {took:.2f} s, memory {before / 1e6:.0f}, then "
        f"{cached.memory() / 1e6:.0f} MB",
    )


def _cpu_per_event(
    etcd: Etcd, scale: Scale, running: Daemon, prefix: str, draw: random.Random, events: int, ops: int
) -> float:
    """Microseconds, with all that is done later because of it."""
    running.wait_until_idle()
    before = running.cpu()
    revision = etcd.txn_put(overwrites(prefix, scale.many, events, draw), ops)
    running.wait_until(prefix, lambda status: bool(status["revision"] >= revision))
    running.wait_until_idle()
    return 1e6 * (running.cpu() - before) / events


def _disk(scale: Scale, prefix: str, sizes: list[int]) -> Row:
    """The largest, of that of the first copy, and those after each lot of events."""
    raw = raw_bytes(prefix, scale.many)
    return Row(
        "bytes on disk / keys and values",
        round(max(sizes) / raw, 3),
        1.6,
        "x",
        f"{', '.join(f'{size / 1e6:.0f}' for size in sizes)} MB / {raw / 1e6:.0f} MB",
    )


def _memory(scale: Scale, cached: Daemon, bare: Daemon) -> Row:
    """What is the process's own; the file's pages that it has touched can be had back at any time."""
    one, other = cached.memory("RssAnon"), bare.memory("RssAnon")
    return Row(
        f"memory after {scale.repetitions * scale.events:,} events, with a copy / without",
        round(one / other, 3),
        MEMORY,
        "x",
        f"{one / 1e6:.0f} / {other / 1e6:.0f} MB; and {cached.memory('RssFile') / 1e6:.0f} / "
        f"{bare.memory('RssFile') / 1e6:.0f} MB of files",
    )


def _latency(etcd: Etcd, scale: Scale, *both: tuple[Daemon, str]) -> Row:
    """From a put to its event, some at the one daemon, then some at the other."""
    out.print("put to event, with a copy and without")
    watchers = [local(running, prefix) for running, prefix in both]
    ours: list[float] = []
    theirs: list[float] = []
    for _ in range(scale.puts // SLICE):
        for (_, prefix), watcher, times in zip(both, watchers, (ours, theirs), strict=True):
            times.extend(_times(etcd, watcher, key(prefix, 1)))
    one, two = percentile(ours, 50), percentile(theirs, 50)
    return Row(
        "put → local watcher, p50 with a copy above without",
        round(one - two, 3),
        0.1,
        "ms",
        f"p50 {one:.2f} / {two:.2f} ms, p99 {percentile(ours, 99):.2f} / {percentile(theirs, 99):.2f} ms",
    )


def _times(etcd: Etcd, watcher: Watcher, watched: str) -> Iterator[float]:
    for number in range(SLICE):
        began = time.perf_counter()
        etcd.put(watched, str(number))
        yield watcher.next() - began
        time.sleep(PAUSE)
