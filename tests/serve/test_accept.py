"""`POST /v1/accept`: who may let a held range shrink, and what is said of it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from syncd.keyrange import KeyRange, prefix_range
from syncd.status import Held
from tests.serve.stand import Kept, Stand, serving

NOBODY = 65534


@pytest.fixture
def kept() -> Kept:
    """A range that is held."""
    kept = Kept(prefix_range(b"/a b/"))
    kept.held = Held(10, 2, 7, 1.5)
    return kept


@pytest.fixture
def stand(kept: Kept) -> Iterator[Stand]:
    """It, and one that is not held."""
    with serving(kept, Kept(KeyRange(b"/one"))) as stand:
        yield stand


def test_what_is_held_is_let_through(stand: Stand, kept: Kept, logged: list[Any]) -> None:
    """Once; after that there is nothing to accept, which is said and no error. The log tells who asked."""
    assert stand.ask("/v1/status").json["ranges"][0]["held"] == {
        "keys": 10,
        "would_be": 2,
        "revision": 7,
        "seconds": 1.5,
    }
    for accepted in (True, False):
        answer = stand.ask("/v1/accept?range=/a%20b/", "POST")
        assert (answer.status, answer.json) == (200, {"range": "/a b/", "accepted": accepted})
        assert kept.held is None
    assert stand.ask("/v1/accept?range=/one", "POST").json["accepted"] is False
    asked = [(line["range"], line["held"], line["pid"], line["uid"]) for line in logged]
    me = os.getpid(), os.geteuid()
    assert asked == [("/a b/", True, *me), ("/a b/", False, *me), ("/one", False, *me)]
    logged.clear()


def test_the_metric_says_that_it_is_held(stand: Stand) -> None:
    """One line for each range."""
    lines = stand.ask("/metrics").body.decode().splitlines()
    assert 'syncd_range_held{range="/a b/"} 1.0' in lines
    assert 'syncd_range_held{range="/one"} 0.0' in lines


@pytest.mark.parametrize(
    ("target", "method", "status", "code"),
    [
        ("/v1/accept?range=/other/", "POST", 404, "not_mirrored"),
        ("/v1/accept", "POST", 400, "bad_request"),
        ("/v1/accept?range=/one&force=true", "POST", 400, "bad_request"),
        ("/v1/accept?range=/a%20b/", "GET", 400, "bad_request"),
        ("/v1/accept?range=/a%20b/", "DELETE", 400, "bad_request"),
        ("/v1/status", "POST", 400, "bad_request"),
    ],
)
def test_what_is_refused(stand: Stand, kept: Kept, target: str, method: str, status: int, code: str) -> None:
    """A range that is not there, nothing or too much asked for, and other methods."""
    answer = stand.ask(target, method)
    assert (answer.status, answer.json["error"]["code"]) == (status, code)
    assert kept.held


@pytest.mark.skipif(os.geteuid() != 0, reason="NOT TESTED: whom the daemon refuses (needs root)")
def test_others_may_read_but_not_accept(stand: Stand, kept: Kept) -> None:
    """Whoever may connect: another user is told that this is not for them."""
    program = (
        "import os, sys\n"
        "from syncd.client import Client, ForbiddenError\n"
        f"os.setuid({NOBODY})\n"
        "client = Client(sys.argv[1])\n"
        "client.status()\n"
        "try: client.accept('/a b/')\n"
        "except ForbiddenError as error: print(error)\n"
    )
    path = stand.socket
    path.chmod(0o666)
    path.parent.chmod(0o755)
    said = subprocess.run([sys.executable, "-c", program, path], capture_output=True, text=True, check=True)
    assert "only root may accept that" in said.stdout
    assert kept.held
