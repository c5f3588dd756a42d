"""A lookup in a `Mirror`, beside the same lookup in a plain dict."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator, Mapping, Sequence

from syncd.client import Mirror
from tests.benchmark.daemon import Daemon, daemon
from tests.benchmark.ranges import Scale, key, pairs
from tests.benchmark.report import Row, compared, out
from tests.etcd import Etcd

LOOKUPS = 100_000
"""Timed at once."""

ROUNDS = 20
"""For each repetition."""


def rows(etcd: Etcd, scale: Scale, many: str) -> Iterator[Row]:
    """Of a few keys, which stay in the processor's caches, and of those below `many`, which don't."""
    few = "/lookups/"
    etcd.load(pairs(few, 1_000))
    with daemon(etcd, few, many) as running:
        yield _row(running, scale, few, 1_000)
        yield _row(running, scale, many, scale.many)


def _row(running: Daemon, scale: Scale, prefix: str, count: int) -> Row:
    out.print(f"lookups in a mirror of {count} keys")
    running.read_seconds(prefix)
    began = time.perf_counter()
    with Mirror(prefix, socket_path=str(running.socket)) as mirror:
        mirror.wait_ready()
        ready = time.perf_counter() - began
        if len(mirror) != count:
            raise RuntimeError(f"{len(mirror)} keys are mirrored, not {count}")
        plain = dict(mirror)
        draw = random.Random(1)
        names = [key(prefix, number) for number in draw.sample(range(count), min(count, LOOKUPS))]
        keys = draw.choices(names, k=LOOKUPS)
        nothing = min(_loop(keys) for _ in range(ROUNDS))
        ours, theirs = [], []
        for _ in range(ROUNDS * scale.repetitions):
            theirs.append((_in_dict(plain, keys) - nothing) / LOOKUPS * 1e9)
            ours.append((_in_mirror(mirror, keys) - nothing) / LOOKUPS * 1e9)
    row = compared(f"Mirror lookup, {count:,} keys / dict lookup", 3.0, ours, theirs, "ns")
    return row._replace(detail=f"{row.detail}; mirrored within {ready:.2f} s")


# Each has bytecode of its own, which Python specializes for what it meets there, as it does in a program.


def _in_dict(mapping: dict[str, bytes], keys: Sequence[str]) -> float:
    began = time.perf_counter()
    for each in keys:
        mapping[each]
    return time.perf_counter() - began


def _in_mirror(mapping: Mapping[str, bytes], keys: Sequence[str]) -> float:
    began = time.perf_counter()
    for each in keys:
        mapping[each]
    return time.perf_counter() - began


def _loop(keys: Sequence[str]) -> float:
    began = time.perf_counter()
    for _ in keys:
        pass
    return time.perf_counter() - began
