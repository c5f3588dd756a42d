"""What the processes beside a daemon have of it: single values, many of them, whole snapshots."""

from __future__ import annotations

import asyncio
import statistics
import subprocess
import sys
import time
from base64 import b64encode
from collections.abc import Iterator

import aiohttp
import orjson

from syncd.client import Client
from syncd.client.packed import PACKED
from tests.benchmark.daemon import Daemon, daemon
from tests.benchmark.load import requests_a_second
from tests.benchmark.ranges import Scale, key
from tests.benchmark.report import Row, compared, out, percentile
from tests.etcd import Etcd, reserve_port

CONNECTIONS = 32
CROWD = 64
"""Readers of one snapshot at the same time."""

SNAPSHOT = """
import sys, time
from syncd.client import Client

began = time.perf_counter()
with Client(sys.argv[1]).snapshot(sys.argv[2]) as snapshot:
    found = {record.key: record.value for record in snapshot}
print(len(found), time.perf_counter() - began)
"""


def rows(etcd: Etcd, scale: Scale, prefix: str) -> Iterator[Row]:
    """All of it, of one daemon that mirrors the keys below `prefix`."""
    wanted = key(prefix, scale.many // 2)
    with (
        reserve_port() as reserved,
        daemon(etcd, prefix, port=(port := reserved.getsockname()[1])) as running,
    ):
        running.read_seconds(prefix)
        running.wait_until_idle()
        yield _one_value(etcd, running, scale, wanted)
        yield from _requests(etcd.port, port, scale, wanted)
        yield from _crowd(running, scale, prefix)  # first: of whom the first finds nothing encoded
        yield from _snapshots(running, scale, prefix)


def _one_value(etcd: Etcd, running: Daemon, scale: Scale, wanted: str) -> Row:
    """In turns of a hundred, each with one connection that is kept, from one process."""
    ours: list[float] = []
    theirs: list[float] = []
    out.print(f"{scale.puts} reads of one value, through syncd's client and from etcd's gateway with aiohttp")
    with Client(str(running.socket)) as client, asyncio.Runner() as runner:
        session = runner.run(_session())
        for _ in range(scale.puts // 100):
            for _ in range(100):
                began = time.perf_counter()
                client.get(wanted)
                ours.append(time.perf_counter() - began)
            theirs += runner.run(_from_gateway(session, etcd, wanted, 100))
        runner.run(session.close())
    what = f"one value through syncd.client / from etcd's gateway with aiohttp, p50 of {len(ours)}"
    return compared(what, 0.5, [percentile(ours, 50)], [percentile(theirs, 50)], "ms")


async def _session() -> aiohttp.ClientSession:
    return aiohttp.ClientSession()


async def _from_gateway(
    session: aiohttp.ClientSession, etcd: Etcd, wanted: str, count: int
) -> Iterator[float]:
    body = _range_body(wanted, serializable=False)
    seconds = []
    for _ in range(count):
        began = time.perf_counter()
        async with session.post(f"{etcd.endpoint}{etcd.api_prefix}/kv/range", data=body) as answer:
            orjson.loads(await answer.read())["kvs"][0]
        seconds.append(time.perf_counter() - began)
    return iter(seconds)


def _requests(their_port: int, our_port: int, scale: Scale, wanted: str) -> Iterator[Row]:
    """In turns, over TCP both."""
    out.print(f"requests a second, {CONNECTIONS} connections")
    for serializable, least in ((True, 2.0), (False, None)):
        request = _range_request(wanted, serializable=serializable)
        ours: list[float] = []
        theirs: list[float] = []
        for _ in range(scale.repetitions):
            for port, into in ((our_port, ours), (their_port, theirs)):
                into.append(requests_a_second(port, request, connections=CONNECTIONS, seconds=2.0))
        ratio = statistics.median(ours) / statistics.median(theirs)
        how = "serializable" if serializable else "linearizable"
        yield Row(
            f"/v3/kv/range of one key, {how}, {CONNECTIONS} connections: requests a second, syncd / etcd",
            round(ratio, 2),
            least,
            "x",
            f"{statistics.median(ours):,.0f} ({min(ours):,.0f}-{max(ours):,.0f}) / "
            f"{statistics.median(theirs):,.0f} ({min(theirs):,.0f}-{max(theirs):,.0f})",
            at_least=True,
        )


def _range_body(wanted: str, *, serializable: bool) -> bytes:
    return orjson.dumps({"key": b64encode(wanted.encode()).decode(), "serializable": serializable})


def _range_request(wanted: str, *, serializable: bool) -> bytes:
    body = _range_body(wanted, serializable=serializable)
    return (
        b"POST /v3/kv/range HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
        b"Content-Length: %d\r\n\r\n%b" % (len(body), body)
    )


def _snapshots(running: Daemon, scale: Scale, prefix: str) -> Iterator[Row]:
    """A process of its own reads all into a dict, once it is started."""
    out.print(f"a snapshot of {scale.many} keys into a dict, in another process")
    seconds = []
    for _ in range(scale.repetitions):
        command = [sys.executable, "-c", SNAPSHOT, str(running.socket), prefix]
        count, took = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True).stdout.split()
        if int(count) != scale.many:
            raise RuntimeError(f"{count} keys of {scale.many}")
        seconds.append(float(took))
    yield Row(
        f"snapshot of {scale.many:,} keys into a dict of another process",
        round(statistics.median(seconds), 2),
        2.0,
        "s",
        f"the first {seconds[0]:.2f}, the slowest {max(seconds):.2f}",
    )


def _crowd(running: Daemon, scale: Scale, prefix: str) -> Iterator[Row]:
    """curl, which does nothing with what it gets; the daemon's processor time alone counts."""
    for name, accept, limit in (("JSON", "application/x-ndjson", 0.2), ("packed", PACKED, None)):
        out.print(f"{CROWD} readers of a snapshot at the same time, {name}")
        command = ["curl", "-sf", "-o", "/dev/null", "-H", f"Accept: {accept}"]
        command += ["--unix-socket", str(running.socket), f"http://localhost/v1/snapshot?prefix={prefix}"]
        before = running.cpu()
        subprocess.run(command, check=True)
        first = running.cpu() - before
        readers = [subprocess.Popen(command) for _ in range(CROWD - 1)]
        if failed := sum(reader.wait() != 0 for reader in readers):
            raise RuntimeError(f"{failed} of {CROWD} readers failed")
        each = (running.cpu() - before - first) / (CROWD - 1)
        yield Row(
            f"processor time of the daemon for a snapshot of {scale.many:,} keys, {name}: "
            f"each of the 2nd to {CROWD}th concurrent reader / the first",
            round(each / first, 3),
            limit,
            "x",
            f"{each:.3f} s / {first:.2f} s",
        )
