"""From the start of the process to the first answer: with a copy on disk, and without.

etcd is there each time. With a copy nothing should be read anew, also when the daemon before it was killed in
the middle of its writing.
"""

from __future__ import annotations

import random
import statistics
from collections import Counter
from collections.abc import Iterator

from tests.benchmark.daemon import Daemon, daemon
from tests.benchmark.ranges import Scale, key, overwrites
from tests.benchmark.report import Row, compared, out, spread
from tests.etcd import Etcd


def rows(etcd: Etcd, scale: Scale, prefix: str) -> Iterator[Row]:
    """All three in turn, each time."""
    out.print(f"start to first answer with {scale.many} keys")
    draw = random.Random(1)
    wanted = key(prefix, scale.many // 2)
    cold, warm, killed = [], [], []
    reads: Counter[str] = Counter()
    with daemon(etcd, prefix, cached=True) as running:
        running.logged("cache written", prefix)
        for repetition in range(scale.repetitions):
            out.print(f"  {repetition + 1} of {scale.repetitions}")
            with daemon(etcd, prefix) as bare:
                cold.append(bare.first_answer(wanted))
            running.stop()
            warm.append(_restarted(running, prefix, wanted, reads))
            etcd.txn_put(overwrites(prefix, scale.many, scale.events, draw))
            running.kill()  # which has not applied all of them, nor written what it has
            killed.append(_restarted(running, prefix, wanted, reads))
    what = f"start to first answer, {scale.many:,} x 200 B"
    yield compared(f"{what}, with a copy on disk / without", 0.15, warm, cold)
    yield Row(f"{what}, with a copy on disk", round(statistics.median(warm), 3), 1.0, "s", spread(warm))
    yield Row(
        f"{what}, after kill -9 amid writes", round(statistics.median(killed), 3), 1.0, "s", spread(killed)
    )
    yield Row(
        f"full reads in {len(warm) + len(killed)} starts with a copy on disk",
        reads.total(),
        0,
        "",
        ", ".join(f"{count} {reason}" for reason, count in reads.items()),
    )


def _restarted(running: Daemon, prefix: str, wanted: str, reads: Counter[str]) -> float:
    """The seconds until it answers again; why it read anew, before it was live, is added to `reads`."""
    running.start()
    seconds = running.first_answer(wanted)
    status = running.wait_until(prefix, lambda status: bool(status["state"] == "live"))
    reads.update(status["counters"]["full_reads"])
    return seconds
