"""Mirrors in a program that forks, and in one that just ends."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, wait

import pytest

from syncd.client.mirror import forks
from syncd.client.mirror.keeper import Keeper
from tests.client.mirrors import SECONDS, twins
from tests.daemon.process import Daemon
from tests.etcd import Etcd

FORKS = 12


@pytest.fixture
def daemon(new_etcd: Etcd) -> Iterator[Daemon]:
    """Run a daemon that mirrors `/` of an empty etcd."""
    with Daemon(new_etcd.endpoint) as running:
        yield running.wait_for("live")


def test_each_forked_child_follows_from_what_its_parent_had(new_etcd: Etcd, daemon: Daemon) -> None:
    """Whatever the mirror's thread was doing when the parent forked; nothing was read anew."""
    command = [sys.executable, "-m", "tests.client.preforked", str(daemon.socket), str(FORKS)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        with twins(new_etcd):
            assert process.stdout.readline() == "forked\n"
        last = new_etcd.put("/stop", "")
        told = [json.loads(line) for line in process.stdout]
        assert process.wait(SECONDS) == 0
    assert len(told) == FORKS + 1
    for one in told:
        assert (one["whole"], one["followed"], one["revision"], one["gaps"]) == (True, True, last, 1), one
        assert one["connections"] == 1


INTERRUPTED = """
import os, sys, threading
from syncd.client import Mirror
from tests.serve.local import wait_until
parent, told, entered, release = os.getpid(), [], threading.Event(), threading.Event()
def note(update):
    keys = [change.key for change in update.changes]
    if os.getpid() == parent and "/now" in keys:
        entered.set()
        release.wait(30)
    told.extend(keys)
mirror = Mirror("/", socket_path=sys.argv[1], on_change=note).start().wait_ready(30)
print("ready", flush=True)
assert entered.wait(30)
child = os.fork()
if not child:
    wait_until(lambda: {"/now", "/later"} <= set(told), "the child is told")
    sys.exit()
release.set()
input()
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
"""


def test_what_a_callback_was_being_told_is_told_again_in_a_child(new_etcd: Etcd, daemon: Daemon) -> None:
    """The parent's callback does not come back there, and nobody else would tell of it."""
    command = [sys.executable, "-c", INTERRUPTED, str(daemon.socket)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        new_etcd.put("/now", "")
        new_etcd.put("/later", "")
        process.communicate("\n", timeout=SECONDS)
        assert process.returncode == 0


FORKING = """
import multiprocessing, os, signal, sys, threading
from syncd.client import Mirror
from tests.serve.local import wait_until
signal.alarm(60)
parent, children = os.getpid(), []
reading, writing = os.pipe()
def say(*words):
    os.write(1, (" ".join(map(str, words)) + "\\n").encode())  # whole, whichever thread and process does
def look():
    signal.alarm(60)
    say("forked", threading.active_count(), mirror.state, mirror.error)
def stay():
    look()
    os.close(writing)
    os.read(reading, 1)  # until the parent is done with its changes
def fork(update):
    say("told" if os.getpid() == parent else "told in a child")
    if os.getpid() != parent:
        return
    if sys.argv[2] == "process":
        process = multiprocessing.get_context("fork").Process(target=stay)
        process.start()
        children.append(process.pid)
    elif child := os.fork():
        children.append(child)
    else:
        look()
mirror = Mirror("/", socket_path=sys.argv[1], on_change=fork)
mirror.start().wait_ready(30)
say("ready")
wait_until(lambda: len(children) == 3, "each change was told")
os.close(writing)
for child in children:
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
mirror.close()
"""


@pytest.mark.parametrize("way", ["process", "return"])
def test_a_callback_may_fork(new_etcd: Etcd, daemon: Daemon, way: str) -> None:
    """In the child it goes on itself, and is not called again, which would make another child, and so on.

    A child in which it returns has no thread that it could return to, and ends.
    """
    command = [sys.executable, "-W", "ignore", "-c", FORKING, str(daemon.socket), way]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        told = [process.stdout.readline() for _ in range(3)]  # "ready" may come before the others
        new_etcd.put("/1", "")
        new_etcd.put("/2", "")
        told += process.stdout
        assert process.wait(SECONDS) == 0
    why = "this process was forked by a callback of the mirror, which its parent keeps"
    assert sorted(told) == [f"forked 1 stale {why}\n"] * 3 + ["ready\n"] + ["told\n"] * 3


@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")  # from Python 3.12 on
def test_a_fork_waits_for_what_must_not_be_copied() -> None:
    """A child gets nothing that is half done, and finds the lock free."""
    keeper: Keeper[bytes] = Keeper("/", None, None)
    keeper.begin()
    forks.register(keeper)
    half_done = True

    def fork() -> int:
        child = os.fork()
        if not child:
            free = keeper.lock.acquire(blocking=False)
            os._exit(0 if free and not half_done and "forked" in str(keeper.error) else 1)
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

    with ThreadPoolExecutor(1) as pool:
        with keeper.lock:
            code = pool.submit(fork)
            assert wait([code], timeout=0.1).not_done
            half_done = False
        assert code.result(SECONDS) == 0
    assert keeper.kept


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
