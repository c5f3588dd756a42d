"""The full read, beside curl's of the same range; its memory, and what readers feel of it."""

from __future__ import annotations

import base64
import os
import subprocess
from collections.abc import Iterator

import orjson

from tests.benchmark.daemon import daemon
from tests.benchmark.ranges import Scale, key, raw_bytes
from tests.benchmark.report import Row, compared, latencies, out, percentile
from tests.etcd import Etcd

MEMORY_BASE = 60e6
MEMORY_FACTOR = 1.2
MEMORY_KEY = 200
"""Bytes that a daemon may take: whatever it holds, times the keys and values, and for each key."""


def against_curl(etcd: Etcd, scale: Scale, prefix: str, text: str) -> Row:
    """syncd's full read, and one request for everything, thrown away."""
    out.print(f"full read of {text}")
    ours, theirs = [], []
    for repetition in range(scale.repetitions):
        out.print(f"  {repetition + 1} of {scale.repetitions}")
        theirs.append(_curl_seconds(etcd, prefix))
        ours.append(_read_seconds(etcd, prefix))
    return compared(f"full read, {text} / curl one-shot", 1.0, ours, theirs)


def against_smaller(etcd: Etcd, scale: Scale, small: tuple[str, int], large: tuple[str, int]) -> Row:
    """Ten times the keys take ten times as long, or little more; both are a prefix and its count."""
    out.print(f"full read of {small[1]} and {large[1]} keys")
    smalls, larges = [], []
    for repetition in range(scale.repetitions):
        out.print(f"  {repetition + 1} of {scale.repetitions}")
        smalls.append(_read_seconds(etcd, small[0]))
        larges.append(_read_seconds(etcd, large[0]))
    return compared(f"full read, {large[1]:,} / {small[1]:,} keys", 12.0, larges, smalls)


def effects(etcd: Etcd, many: tuple[str, int], small: str) -> Iterator[Row]:
    """What a daemon takes that holds `many`, and how its readers of `small` fare meanwhile."""
    prefix, count = many
    out.print("memory")
    with daemon(etcd, prefix) as running:
        running.read_seconds(prefix)
        rss, raw = running.memory(), raw_bytes(prefix, count)
    yield Row(
        f"memory with {count:,} x 200 B",
        round(rss / 1e6, 1),
        round((MEMORY_FACTOR * raw + MEMORY_KEY * count + MEMORY_BASE) / 1e6, 1),
        "MB",
        f"raw {raw / 1e6:.0f} MB; {(rss - raw) / count:.0f} B a key above raw",
    )
    out.print("single reads during a full read")
    with daemon(etcd, small, prefix) as running:
        running.read_seconds(small)
        seconds = running.latencies_while(lambda: running.read_seconds(prefix), key(small, 1))
    yield Row(
        f"GET /v1/value p99 while {count:,} keys are read",
        round(percentile(seconds, 99), 3),
        30.0,
        "ms",
        latencies(seconds),
    )


def _read_seconds(etcd: Etcd, prefix: str) -> float:
    with daemon(etcd, prefix) as running:
        return running.read_seconds(prefix)


def _curl_seconds(etcd: Etcd, prefix: str) -> float:
    start, end = prefix.encode(), prefix.encode()[:-1] + b"0"  # "/" + 1
    interval = {"key": base64.b64encode(start).decode(), "range_end": base64.b64encode(end).decode()}
    command = ["curl", "-sS", "-o", os.devnull, "-w", "%{time_total}", "-d", orjson.dumps(interval).decode()]
    return float(subprocess.check_output([*command, f"{etcd.endpoint}/v3/kv/range"]))
