"""A thousand requests to etcd and to syncd, and whether a difference would be seen."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.comparison.drawn import Case
from tests.comparison.run import run
from tests.comparison.verdict import COMPACTED, FUTURE, Answer, Difference, judge
from tests.etcd import reason_missing

SEED = 7

HEADER = {"cluster_id": "1", "member_id": "2", "revision": "30", "raft_term": "2"}
FIELDS: dict[str, Any] = {"key": b"/d/", "range_end": b"/d0"}
RANGE = Case("/kv/range", b"", FIELDS)
SPOILT = Case("/kv/range", b"")


@pytest.mark.parametrize(("version", "cases"), [("3.5.16", 1000), ("3.5.30", 250)])
def test_the_same_answers(version: str, cases: int) -> None:
    """Whatever is asked, syncd answers as etcd does."""
    if reason := reason_missing(version):
        pytest.skip(f"NOT TESTED with etcd {version}: {reason}")
    report = run(version, SEED, cases)
    print(report)  # pytest shows it when the test fails
    assert not report.failures
    assert report.cases == cases
    wanted = {
        "the same",
        "refused in the same words",
        "not mirrored",
        "the same, but for the order of equals",
    }
    assert wanted <= set(report.verdicts), "not all that it aims at came about"


def kv(key: str, version: int) -> dict[str, str]:
    """A key as an answer has it."""
    return {"key": key, "create_revision": "3", "mod_revision": "4", "version": str(version), "value": key}


def answer(*kvs: dict[str, str], **more: object) -> Answer:
    """To a range."""
    return Answer(200, json.dumps({"header": HEADER, "kvs": kvs, **more}).encode())


def refusal(message: str, code: int = 3, status: int = 400) -> Answer:
    """An error."""
    return Answer(status, json.dumps({"code": code, "message": message}).encode())


A, B, C = kv("a", 1), kv("b", 1), kv("c", 2)
ONE = answer(A, B, C, count="3")
BY_VERSION = Case("/kv/range", b"", FIELDS | {"sort_target": "VERSION"})
CUT = Case("/kv/range", b"", FIELDS | {"sort_target": "VERSION", "limit": 1})


@pytest.mark.parametrize(
    ("case", "etcd", "syncd"),
    [
        (RANGE, ONE, ONE),
        (BY_VERSION, ONE, answer(B, A, C, count="3")),
        (CUT, answer(A, count="3", more=True), answer(B, count="3", more=True)),
        (RANGE, refusal(COMPACTED, 11), ONE),
        (Case("/kv/range", b"", FIELDS | {"revision": 3}), ONE, refusal(COMPACTED, 11)),
        (SPOILT, refusal("proto: (line 1:2)"), refusal("proto: a mistake")),
        (SPOILT, ONE, refusal("syncd: '/x' lies in no mirrored range", 9)),
    ],
)
def test_what_is_the_same(case: Case, etcd: Answer, syncd: Answer) -> None:
    """The same to the letter, or as far as it has to be."""
    assert judge(case, etcd, syncd, 10)


@pytest.mark.parametrize(
    ("case", "etcd", "syncd"),
    [
        (RANGE, ONE, answer(B, A, C, count="3")),
        (RANGE, ONE, answer(A, B, C, count="4")),
        (RANGE, ONE, answer(A, B, C, count="3", header=HEADER | {"revision": "29"})),
        (RANGE, ONE, answer(A, B, kv("c", 3), count="3")),
        (RANGE, ONE, answer(A, B, C, count="3", more=True)),
        (RANGE, ONE, refusal(COMPACTED, 11)),
        (RANGE, ONE, refusal(FUTURE, 11)),
        (RANGE, ONE, refusal("syncd: '/x' lies in no mirrored range", 9)),
        (RANGE, ONE, Answer(200, b"{")),
        (RANGE, refusal("etcdserver: one thing"), refusal("etcdserver: another")),
        (Case("/kv/range", b"", FIELDS | {"revision": 12}), ONE, refusal(COMPACTED, 11)),
        (Case("/kv/range", b"", {"key": b"/x", "range_end": b""}), ONE, ONE),
        (BY_VERSION, ONE, answer(A, C, B, count="3")),
        (BY_VERSION, ONE, answer(A, A, C, count="3")),
        (SPOILT, refusal("proto: a mistake"), refusal("proto: a mistake", 2, 500)),
        (SPOILT, refusal("proto: a mistake"), ONE),
        (SPOILT, ONE, refusal("proto: a mistake")),
        (SPOILT, refusal("proto: a mistake"), refusal("syncd: '/x' lies in no mirrored range", 9)),
    ],
)
def test_what_is_not(case: Case, etcd: Answer, syncd: Answer) -> None:
    """Whatever differs is found."""
    with pytest.raises(Difference):
        judge(case, etcd, syncd, 10)
