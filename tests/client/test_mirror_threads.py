"""Mirrors that many threads look at while there is much to follow."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from time import monotonic

import pytest

from syncd.client import Mirror
from tests.client.mirrors import SECONDS, mirror_of, twins, whole
from tests.daemon.process import Daemon
from tests.etcd import Etcd

THREADS = 8
LONG = 1.0
"""Seconds in which etcd writes some thousand revisions."""


@pytest.fixture
def mirror(new_etcd: Etcd) -> Iterator[Mirror[bytes]]:
    """Keep a mirror while keys are written as fast as etcd goes, and threads take turns often."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        with Daemon(new_etcd.endpoint) as daemon, twins(new_etcd), mirror_of(daemon) as mirror:
            mirror.wait_ready(SECONDS).wait(4, SECONDS)
            yield mirror
    finally:
        sys.setswitchinterval(interval)


def looked(look: Callable[[], bool]) -> int:
    """Look again and again; how often."""
    count, end = 0, monotonic() + LONG
    while monotonic() < end:
        assert look()
        count += 1
    return count


def test_no_snapshot_is_torn(mirror: Mirror[bytes]) -> None:
    """Both keys of a transaction or none; and what it shows stays as it was, whatever is written."""
    begin = mirror.revision

    def look() -> bool:
        view = mirror.snapshot()
        copy = view.copy()
        return whole(view) and whole(dict(mirror.items())) and dict(view.items()) == copy

    with ThreadPoolExecutor(THREADS) as pool:
        counts = list(pool.map(looked, [look] * THREADS))
    assert min(counts) > 10
    assert mirror.revision > begin + 10


def test_lookups_never_go_back(mirror: Mirror[bytes]) -> None:
    """Who has seen a revision in one key finds no older one in another."""
    begin = mirror.revision
    keys = ("/twin/2", "/twin/1") * 50

    def look() -> bool:
        seen = [int(mirror[key]) for key in keys]
        return all(older <= newer for older, newer in pairwise(seen))

    with ThreadPoolExecutor(THREADS) as pool:
        counts = list(pool.map(looked, [look] * THREADS))
    assert min(counts) > 10
    assert mirror.revision > begin + 10
