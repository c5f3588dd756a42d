"""Runs every outage with a herd of syncds and with a naive one, and prints what each cost etcd."""

from __future__ import annotations

import argparse
import asyncio
import logging
import resource
from collections.abc import Mapping

import msgspec
import orjson
import structlog
from rich.console import Console
from rich.table import Table

from tests.etcd import Etcd
from tests.herd.herd import Cost, fill, herd
from tests.herd.outages import OUTAGES

out = Console(stderr=True, width=110)

Costs = Mapping[str, Mapping[str, Cost]]
"""By outage and kind of herd."""


async def run(clients: int, keys: int) -> Costs:
    """Every outage, with both herds; each begins on an etcd that was just started."""
    costs: dict[str, dict[str, Cost]] = {}
    with Etcd(environment={"GOMAXPROCS": "1"}) as etcd:
        fill(etcd, keys)
        for name, outage in OUTAGES.items():
            for kind in ("naive", "syncd"):
                etcd.stop()
                etcd.start()
                async with herd(kind, clients, etcd) as held:
                    costs.setdefault(name, {})[kind] = await outage(held)
                out.print(f"{name}, {kind}: done")
    return costs


def show(costs: Costs) -> Table:
    """A table; below each pair of herds stands syncd's part of what the naive ones cost."""
    table = Table("outage", "herd", "live again, s\np50 / p99 / all", "reads\nat a time")
    for column in ("reads\neach", "requests\neach", "KB\neach", "etcd's\nmemory, MB"):
        table.add_column(column)
    for name, herds in costs.items():
        for cost in herds.values():
            table.add_row(
                name,
                cost.herd,
                f"{cost.p50:.1f} / {cost.p99:.1f} / {cost.slowest:.1f}",
                str(cost.at_a_time),
                f"{cost.full_reads:.2f}",
                f"{cost.requests:.1f}",
                f"{cost.bytes / 1000:.1f}",
                f"{cost.etcd_memory / 1e6:.0f}",
            )
        table.add_row("", "ratio", *_ratios(herds["syncd"], herds["naive"]), end_section=True)
    return table


def _ratios(one: Cost, other: Cost) -> list[str]:
    return [
        f"{one.p50 / other.p50:.2f} / {one.p99 / other.p99:.2f} / {one.slowest / other.slowest:.2f}",
        f"{one.at_a_time / other.at_a_time:.2f}",
        f"{one.full_reads / other.full_reads:.2f}",
        f"{one.requests / other.requests:.2f}",
        f"{one.bytes / other.bytes:.3f}",
        f"{one.etcd_memory / other.etcd_memory:.2f}",
    ]


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="tests/stampede", description=__doc__)
    parser.add_argument("--clients", type=int, default=200, help="in each herd (200)")
    parser.add_argument("--keys", type=int, default=5000, help="in the range, of 200 bytes each (5000)")
    parser.add_argument("--json", action="store_true", help="print all figures as JSON")
    arguments = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))  # each client has several connections
    costs = asyncio.run(run(arguments.clients, arguments.keys))
    out.print(show(costs))
    if arguments.json:
        print(orjson.dumps(msgspec.to_builtins(costs), option=orjson.OPT_INDENT_2).decode())


if __name__ == "__main__":
    main()
