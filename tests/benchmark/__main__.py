"""Measures everything, and prints a table or JSON."""

from __future__ import annotations

import argparse
import json
import os
import platform
from collections.abc import Iterator
from importlib.metadata import version

from tests.benchmark import copying, events, lookups, readers, reading, starting
from tests.benchmark.ranges import QUICK, Scale, pairs
from tests.benchmark.report import Row, out, table
from tests.etcd import Etcd, usual_version

PACKAGES = ("aiohttp", "msgspec", "lmdb")
"""Of which the figures tell the versions."""


def reads(scale: Scale) -> Iterator[Row]:
    """Of the full read and the watch."""
    with Etcd() as etcd:
        out.print(f"loading {scale.many} keys of 200 B and {scale.few} of 1 KiB")
        etcd.load(pairs("/many/", scale.many))
        etcd.load(pairs("/few/", scale.few, 1024))
        etcd.load(pairs("/small/", 100, 100))
        yield reading.against_curl(etcd, scale, "/many/", f"{scale.many:,} x 200 B")
        yield reading.against_curl(etcd, scale, "/few/", f"{scale.few:,} x 1 KiB")
        yield from reading.effects(etcd, ("/many/", scale.many), "/small/")
        yield from events.rows(etcd, scale, "/small/")


def sizes(scale: Scale) -> Iterator[Row]:
    """Of a large range beside a small one."""
    with Etcd() as etcd:
        small, large = scale.many // 5, scale.many * 2
        out.print(f"loading {small} and {large} keys")
        etcd.load(pairs("/tenth/", small))
        etcd.load(pairs("/whole/", large))
        yield reading.against_smaller(etcd, scale, ("/tenth/", small), ("/whole/", large))


def copies(scale: Scale) -> Iterator[Row]:
    """Of the copy on disk."""
    with Etcd() as etcd:
        out.print(f"loading twice {scale.many} keys")
        etcd.load(pairs("/many/", scale.many))
        etcd.load(pairs("/more/", scale.many))
        yield from starting.rows(etcd, scale, "/many/")
        yield from copying.rows(etcd, scale, "/many/", "/more/")


def beside(scale: Scale) -> Iterator[Row]:
    """Of what the processes beside a daemon have of it."""
    with Etcd() as etcd:
        out.print(f"loading {scale.many} keys")
        etcd.load(pairs("/many/", scale.many))
        yield from readers.rows(etcd, scale, "/many/")
        yield from lookups.rows(etcd, scale, "/many/")


PARTS = {part.__name__: part for part in (reads, sizes, copies, beside)}


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="tests/bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a tenth of the keys, two repetitions")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument("--only", choices=PARTS, help="one part of it")
    arguments = parser.parse_args()
    scale = QUICK if arguments.quick else Scale()
    rows: list[Row] = []
    for name, part in PARTS.items():
        if arguments.only in (None, name):
            rows += part(scale)
    if not arguments.json:
        table(rows)
        return
    settings = {
        "machine": platform.platform(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "etcd": usual_version(),
        "quick": arguments.quick,
    } | {name: version(name) for name in PACKAGES}
    print(json.dumps({"settings": settings, "results": [row._asdict() for row in rows]}, indent=2))


if __name__ == "__main__":
    main()
