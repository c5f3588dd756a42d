"""What stops syncd, and what stops only one way: in tables."""

from __future__ import annotations

import pytest

from syncd.diagnosis.catalogue import found
from syncd.diagnosis.told import Told
from syncd.keyrange import KeyRange, prefix_range

ONE, TWO = "http://etcd-1:2379", "http://etcd-2:2379"
MINE, ALL = prefix_range(b"/mine/"), prefix_range(b"")


def told(*facts: tuple[str, str], served: tuple[tuple[str, KeyRange], ...] = ()) -> dict[str, str]:
    """The levels of findings with these codes and subjects, by subject."""
    told = Told([ONE, TWO])
    told.add(*(found(code, subject, "seen") for code, subject in facts))
    for url, keys in served:
        told.served(url, keys)
    return {finding.subject: finding.level for finding in told.findings()}


def test_an_endpoint_that_fails_beside_a_good_one_is_a_warning() -> None:
    """Syncd goes on with the other one; when both fail, both are errors."""
    assert told(("tcp.refused", ONE), ("tcp.ok", TWO)) == {ONE: "warning", TWO: "ok"}
    assert told(("tcp.refused", ONE), ("etcd.no_leader", TWO)) == {ONE: "error", TWO: "error"}


@pytest.mark.parametrize(("keys", "name"), [(MINE, "/mine/"), (ALL, "(all keys)")])
def test_a_range_is_spared_only_where_it_is_served(keys: KeyRange, name: str) -> None:
    """By another endpoint, which is good; that other ranges are served there is no help."""
    failed = ("range.failed", f"{ONE} {name}")
    assert told(failed) == {f"{ONE} {name}": "error"}
    assert told(failed, served=((TWO, keys),)) == {f"{ONE} {name}": "warning"}
    assert told(failed, served=((ONE, keys),)) == {f"{ONE} {name}": "error"}
    assert told(failed, served=((TWO, KeyRange(b"other")),)) == {f"{ONE} {name}": "error"}
    assert told(failed, ("etcd.no_leader", TWO), served=((TWO, keys),))[f"{ONE} {name}"] == "error"


def test_what_is_about_no_single_endpoint_stays_an_error() -> None:
    """Such as endpoints of two clusters, or a range that the user may not read anywhere."""
    assert told(("etcd.other_cluster", "etcd.endpoints"), ("tcp.ok", ONE)) == {
        "etcd.endpoints": "error",
        ONE: "ok",
    }
    assert told(("auth.permission_denied", "/theirs/"), ("tcp.ok", ONE))["/theirs/"] == "error"


def test_an_endpoint_is_told_the_same_once() -> None:
    """Each range may say of its endpoint that it is duplex; a version may have several faults."""
    told = Told([ONE])
    told.add(found("gateway.duplex", ONE, "1 ms"), found("gateway.duplex", ONE, "2 ms"))
    told.add(found("etcd.known_bug", "etcd 3.5.1", "one"), found("etcd.known_bug", "etcd 3.5.1", "two"))
    assert [finding.seen for finding in told.findings()] == ["1 ms", "one", "two"]
