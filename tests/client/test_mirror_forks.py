"""Mirrors in a program that forks, and in one that just ends."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.client.mirrors import SECONDS, twins
from tests.daemon.process import Daemon
from tests.etcd import Etcd

CHILDREN = 4
FORKS = 30


@pytest.fixture
def daemon(new_etcd: Etcd) -> Iterator[Daemon]:
    """Run a daemon that mirrors `/` of an empty etcd."""
    with Daemon(new_etcd.endpoint) as running:
        yield running.wait_for("live")


@pytest.mark.parametrize("forks", [CHILDREN, FORKS])
def test_each_forked_child_follows_from_what_its_parent_had(
    new_etcd: Etcd, daemon: Daemon, forks: int
) -> None:
    """Whatever the mirror's thread was doing when the parent forked; nothing was read anew."""
    command = [sys.executable, "-m", "tests.client.preforked", str(daemon.socket), str(forks)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        with twins(new_etcd):
            assert process.stdout.readline() == "forked\n"
        last = new_etcd.put("/stop", "")
        told = [json.loads(line) for line in process.stdout]
        assert process.wait(SECONDS) == 0
    assert len(told) == forks + 1
    for one in told:
        assert (one["whole"], one["followed"], one["revision"], one["gaps"]) == (True, True, last, 1), one
        assert one["forked_at"] < last


PROGRAM = """
import sys
from syncd.client import Mirror
mirror = Mirror("/", socket_path=sys.argv[1]).start()
if sys.argv[2] == "ready":
    mirror.wait_ready(30)
"""


@pytest.mark.parametrize("when", ["ready", "at once"])
def test_a_program_ends_without_closing_its_mirror(daemon: Daemon, when: str) -> None:
    """At once, without an error, a warning or a crash."""
    command = [sys.executable, "-X", "dev", "-c", PROGRAM, str(daemon.socket), when]
    done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
