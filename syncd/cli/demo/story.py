"""What happens in the demo, step by step. Each step tells what it does, does it, and checks what it shows."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence

from syncd.cli.demo.etcd import Etcd
from syncd.cli.demo.stage import Stage
from syncd.cli.demo.tree import PREFIXES, route, tree
from syncd.cli.demo.witness import Witness
from syncd.cli.demo.workshop import PATIENCE, DemoError, Workshop
from syncd.cli.exits import NOT_SERVED
from syncd.cli.figures import duration, number
from syncd.client import Client, ClientError, Value

HEARTBEAT = 3.0
"""Seconds; the demo waits for that long without etcd. Much less would not do: before 3.5.8, etcd's progress
answers have to be watched for a second before they prove anything (sync/heartbeat.py)."""

READS = 300
CHANGES = 30

ROUTE_NUMBER = 7
ROUTE = f"/apisix/routes/{ROUTE_NUMBER}"
LIMIT = "/apisix/plugin_metadata/limit-count"

SYNCD = (sys.executable, "-m", "syncd.cli")

CONFIG = """\
etcd:
  endpoints: [{url}]
  timeouts: {{heartbeat: {heartbeat}s}}
ranges: [{ranges}]
cache: {{directory: {folder}/cache}}
serve: {{socket: {folder}/syncd.sock, mode: "0600"}}
"""


class Story:
    """Tells everything on `stage`; whatever is not as promised is a DemoError or a ClientError."""

    def __init__(self, workshop: Workshop, stage: Stage) -> None:
        self._workshop = workshop
        self._stage = stage
        self._socket = str(workshop.folder / "syncd.sock")
        self._client = Client(self._socket)
        self._tree = tree()
        self._etcd = Etcd(workshop)
        self._config = workshop.folder / "config.yaml"
        self._cache = workshop.folder / "cache"
        self._syncd: subprocess.Popen[bytes] | None = None

    def tell(self) -> None:
        """Tell all of it."""
        revision = self._start_etcd()
        self._start_syncd(revision)
        self._read()
        witness = Witness(self._client, "/apisix/")
        self._change(witness)
        stale = self._lose_etcd()
        witness = self._lose_syncd(stale, witness)
        self._get_etcd_back(witness)
        self._stage.end()

    def keep(self) -> None:
        """Leave everything running until Ctrl-C; DemoError when the daemon ends by itself."""
        stage, socket = self._stage, self._socket
        stage.tell("Both go on running. To try, in another terminal:")
        stage.command("export", f"SYNCD_SOCKET={socket}")
        stage.command("syncd", "status")
        stage.command("syncd", "get", ROUTE)
        stage.command("syncd", "watch", "/")
        put = {"key": "L2ZsYWdzL2RlbW8=", "value": "aGVsbG8="}
        stage.command("curl", f"{self._etcd.gateway}/kv/put", "-d", json.dumps(put))
        stage.command("syncd", "get", "/flags/demo")
        stage.command("kill", "-STOP", str(self._etcd.pid))
        stage.command("kill", "-CONT", str(self._etcd.pid))
        stage.tell("The last two freeze etcd and let it go on. Ctrl-C here ends and removes everything.")
        if self._syncd is not None:
            raise DemoError(f"syncd has ended with {self._syncd.wait()}")

    def _start_etcd(self) -> int:
        stage = self._stage
        stage.step("An etcd to throw away, with the configuration of an API gateway")
        pid = self._etcd.start()
        stage.tell(f"etcd {self._etcd.version} serves at {self._etcd.url} (pid {pid}).")
        revision = self._etcd.load(self._tree)
        stage.tell(f"It holds {number(len(self._tree))} keys now: routes, upstreams, flags, settings.")
        return revision

    def _start_syncd(self, revision: int) -> None:
        stage = self._stage
        stage.step("syncd mirrors it")
        self._config.write_text(
            CONFIG.format(
                url=self._etcd.url,
                heartbeat=f"{HEARTBEAT:g}",
                ranges=", ".join(f"{{prefix: {prefix}}}" for prefix in PREFIXES),
                folder=self._workshop.folder,
            )
        )
        stage.output(self._config.read_text(), lines=6)
        begin = self._run_syncd()
        found = self._workshop.wait_for(lambda: self._keys(revision), "syncd to serve", self._syncd)
        stage.check(found == set(self._tree), f"all {number(len(found))} keys are served")
        stage.tell(f"That took {duration(time.monotonic() - begin)}, with the start of the process.")

    def _read(self) -> None:
        stage = self._stage
        stage.step("Local processes read from a Unix socket")
        said = self._syncd_command("get", ROUTE)
        stage.check(json.loads(said.stdout) == route(ROUTE_NUMBER), "the value is the one in etcd")
        stage.tell("The same with curl, as with any HTTP client:")
        stage.command("curl", "--unix-socket", self._socket, f"http://localhost/v1/value?key={ROUTE}")
        self._syncd_command("list", "/settings/staging/")
        stage.command("curl", "--unix-socket", self._socket, "http://localhost/v1/snapshot?prefix=/settings/")
        times = []
        for _ in range(READS):
            begin = time.perf_counter()
            self._client.get(ROUTE)
            times.append(time.perf_counter() - begin)
        stage.tell(f"{READS} reads one after the other: {_milliseconds(times)} each (median).")

    def _change(self, witness: Witness) -> None:
        stage = self._stage
        stage.step("A change arrives at whoever watches")
        stage.command("syncd", "watch", "/apisix/", "--json")
        stage.command(
            "curl", "-N", "--unix-socket", self._socket, "http://localhost/v1/watch?prefix=/apisix/"
        )
        acknowledged, arrived = [], []
        for count in range(1, CHANGES + 1):
            value = json.dumps({"count": count})
            begin = time.perf_counter()
            revision = self._etcd.put(LIMIT, value)
            acknowledged.append(time.perf_counter() - begin)
            moment, batch = witness.next(revision)
            arrived.append(moment - begin)
            if count == 1:
                stage.tell(f"A put of {LIMIT} at revision {revision} became:")
                stage.output(f"revision {batch.revision}: put {LIMIT} {value}")
            if [event.kv.value for event in batch.events] != [value.encode()]:
                raise DemoError(f"revision {revision} arrived as something else: {batch}")
        stage.check(True, f"{CHANGES} changes arrived, each once and in order")
        stage.tell(
            f"The reader had each {_milliseconds(arrived)} after the put was sent (median); "
            f"etcd had acknowledged it after {_milliseconds(acknowledged)}."
        )

    def _lose_etcd(self) -> Value:
        stage = self._stage
        stage.step("etcd is gone")
        self._etcd.kill()
        stage.tell("It was killed (SIGKILL), as in a crash.")
        first = self._get()
        stage.check(first.record.value == self._tree[ROUTE].encode(), "values are still served")
        stale = self._workshop.wait_for(self._stale, "the range to turn stale", self._syncd)
        stage.check(stale.record == first.record, "they are the same values, and called stale")
        stage.tell("Silence proves nothing: every answer says when its last proof was.")
        ages = [_age(one) for one in (first, stale, self._get())]
        stage.check(ages == sorted(ages), f"that age grows: {', '.join(duration(age) for age in ages)}")
        said = self._syncd_command("get", ROUTE, "--max-age", f"{HEARTBEAT:g}s")
        stage.check(
            said.returncode == NOT_SERVED, f"who wants nothing older is told so (exit code {NOT_SERVED})"
        )
        return self._get()

    def _lose_syncd(self, stale: Value, witness: Witness) -> Witness:
        stage = self._stage
        stage.step("syncd is gone, too, and starts again without etcd")
        if self._syncd is not None:
            self._syncd.kill()
            self._syncd.wait()
        bookmark = witness.ended()
        stage.tell(
            f"It was killed (SIGKILL), and a watch that had seen revision {bookmark.revision} was cut."
        )
        said = self._command("snapshot", "--offline", str(self._cache), "/settings/staging/")
        stage.check(said.returncode == 0, "what it kept on disk can be read")
        begin = self._run_syncd()
        found = self._workshop.wait_for(self._served, "syncd to serve", self._syncd)
        took = duration(time.monotonic() - begin)
        stage.check(
            found.record == stale.record and found.freshness.revision == stale.freshness.revision,
            f"it serves the same again, {took} after its start",
        )
        stage.check(
            found.freshness.state in ("warm", "stale") and _age(found) > _age(stale),
            f"it says that this is old: proved current {duration(_age(found))} ago, before the crash",
        )
        witness = Witness(self._client, "/apisix/", after=bookmark)
        stage.check(witness.states[0] != "live", "the watch goes on where it was cut")
        self._syncd_command("status")
        return witness

    def _get_etcd_back(self, witness: Witness) -> None:
        stage = self._stage
        stage.step("etcd is back")
        self._etcd.start()
        value = json.dumps(route(ROUTE_NUMBER) | {"status": 0})
        revision = self._etcd.put(ROUTE, value)
        begin = time.monotonic()
        stage.tell(f"It was started again, and {ROUTE} changed at once (revision {revision}).")
        _, batch = witness.next(revision)
        stage.check(
            not batch.resync and batch.events[0].kv.value == value.encode(),
            f"the change arrived at that watch, {duration(time.monotonic() - begin)} later",
        )
        self._workshop.wait_for(self._live, "the range to turn live", self._syncd)
        stage.check(
            self._get().record.value == value.encode(), "the range is live, and the new value is read"
        )
        reads = {one.range: one.counters.full_reads for one in self._client.status().ranges}
        stage.check(
            len(reads) == len(PREFIXES) and not any(reads.values()),
            "nothing was read a second time: every range resumed where it had stopped",
        )

    def _run_syncd(self) -> float:
        """Start the daemon; the moment (of `time.monotonic`) of that."""
        command = ("run", "-c", str(self._config))
        self._stage.command("syncd", *command)
        begin = time.monotonic()
        self._syncd = self._workshop.start("syncd", [*SYNCD, *command])
        return begin

    def _syncd_command(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run a command that asks the daemon, and show it and what it says."""
        return self._command(*words, more=("--socket", self._socket))

    def _command(self, *words: str, more: Sequence[str] = ()) -> subprocess.CompletedProcess[str]:
        """Run a command of ours, and show it and what it says; what needn't be typed is `more`."""
        self._stage.command("syncd", *words)
        said = subprocess.run(  # noqa: S603 - our own command
            [*SYNCD, *words, *more],
            capture_output=True,
            text=True,
            check=False,
            timeout=PATIENCE,
        )
        self._stage.output(said.stdout + said.stderr, lines=8)
        return said

    def _get(self) -> Value:
        return self._client.get(ROUTE)

    def _keys(self, revision: int) -> set[str] | None:
        """Return all keys of all ranges as soon as those have seen `revision`."""
        found: set[str] = set()
        try:
            for prefix in PREFIXES:
                keys = self._client.list(prefix, min_revision=revision, wait=PATIENCE)
                found.update(key.decode() for key in keys)
        except ClientError:
            return None  # not listening yet, or nothing to serve yet
        return found

    def _served(self) -> Value | None:
        try:
            return self._get()
        except ClientError:
            return None  # not listening yet

    def _stale(self) -> Value | None:
        found = self._get()
        return found if found.freshness.state == "stale" and _age(found) > HEARTBEAT else None

    def _live(self) -> Value | None:
        found = self._get()
        return found if found.freshness.state == "live" else None


def _age(value: Value) -> float:
    """Return the seconds since the last proof."""
    if value.freshness.age_ms is None:
        raise DemoError("a range that is served was never proved")
    return value.freshness.age_ms / 1000


def _milliseconds(seconds: list[float]) -> str:
    return f"{statistics.median(seconds) * 1000:.2f} ms"
