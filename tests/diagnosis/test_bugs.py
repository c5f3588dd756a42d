"""Which faults are told of which version: around each release that mended one, and of the tested versions."""

from __future__ import annotations

from collections import Counter

import pytest

from syncd.diagnosis.bugs import version_findings
from tests.etcd import VERSIONS

URL = "http://etcd.example:2379"


def told(version: str) -> Counter[str]:
    """Count the codes that are told of a version."""
    return Counter(finding.code for finding in version_findings(URL, version))


@pytest.mark.parametrize(
    ("version", "bugs", "others"),
    [
        ("3.3.25", 3, {"gateway.message_limit", "gateway.progress_early"}),
        ("3.4.23", 6, {"gateway.progress_early"}),
        ("3.5.1", 13, {"gateway.progress_early"}),
        ("3.5.16", 5, set()),
        ("3.5.30", 0, set()),
    ],
)
def test_what_is_told_of_the_tested_versions(version: str, bugs: int, others: set[str]) -> None:
    """Each has fewer faults than the one before in its line, and no code twice but that of the faults."""
    assert version in VERSIONS
    codes = told(version)
    assert codes.pop("etcd.known_bug", 0) == bugs
    assert codes == Counter(others)


@pytest.mark.parametrize(
    ("with_it", "without", "fault"),
    [
        ("3.5.17", "3.5.18", "may miss events"),
        ("3.4.35", "3.4.36", "may miss events"),
        ("3.5.21", "3.5.22", "old events"),
        ("3.4.37", "3.4.38", "old events"),
        ("3.5.27", "3.5.28", "read may be stale"),
        ("3.4.41", "3.4.42", "read may be stale"),
        ("3.5.2", "3.5.3", "different data"),
        ("3.5.0", "3.4.42", "different data"),
        ("3.5.5", "3.5.6", "different revisions"),
        ("3.5.22", "3.5.23", "corrupt"),
        ("3.4.3", "3.4.4", "defragmenting may corrupt"),
        ("3.3.18", "3.3.19", "defragmenting may corrupt"),
        ("3.4.7", "3.4.8", "a restart can leave"),
        ("3.3.20", "3.3.21", "a restart can leave"),
        ("3.4.21", "3.4.22", "refuse its users"),
        ("3.5.5", "3.5.6", "refuse its users"),
        ("3.4.31", "3.4.32", "earlier revision"),
        ("3.5.13", "3.5.14", "earlier revision"),
        ("3.4.19", "3.4.20", "NOSPACE"),
        ("3.5.6", "3.5.7", "NOSPACE"),
        ("3.3.25", "3.6.0", "NOSPACE"),
        ("3.5.1", "3.5.2", "may crash"),
        ("3.4.7", "3.4.8", "lock up"),
        ("3.4.19", "3.4.20", "250 watches"),
        ("3.5.4", "3.5.5", "250 watches"),
        ("3.5.7", "3.5.8", "keep all its watches waiting"),
        ("3.4.34", "3.4.35", "memory"),
        ("3.5.16", "3.5.17", "memory"),
        ("3.3.13", "3.3.14", "fragments"),
        ("3.3.27", "3.4.0", "nobody mends"),
    ],
)
def test_a_fault_ends_with_the_release_that_mended_it(with_it: str, without: str, fault: str) -> None:
    """The release before tells it, and what it means; that release, and a line that never had it, do not."""
    [finding] = [each for each in version_findings(URL, with_it) if fault in each.seen]
    assert finding.code == "etcd.known_bug"
    assert finding.subject == URL
    assert finding.seen.startswith("etcd #" if "nobody" not in fault else f"etcd {with_it}: ")
    assert finding.means
    assert finding.cure
    assert not [each for each in version_findings(URL, without) if fault in each.seen]


@pytest.mark.parametrize(
    ("version", "release"),
    [("3.5.1", "3.5.3"), ("3.5.16", "3.5.18"), ("3.4.23", "3.4.36"), ("3.3.25", "3.4.20")],
)
def test_the_cure_is_a_release_of_the_same_line_where_there_is_one(version: str, release: str) -> None:
    """Nobody upgrades a whole line for one fault."""
    cures = {finding.cure for finding in version_findings(URL, version)}
    assert f"upgrade etcd to {release} or later" in cures


@pytest.mark.parametrize(
    ("version", "limited", "early"),
    [
        ("3.3.27", True, True),
        ("3.4.16", True, True),
        ("3.4.17", False, True),
        ("3.4.24", False, True),
        ("3.4.25", False, False),
        ("3.5.0", False, True),
        ("3.5.7", False, True),
        ("3.5.8", False, False),
        ("3.6.0", False, False),
        ("", False, True),
    ],
)
def test_what_syncd_works_around_is_a_note(version: str, limited: bool, early: bool) -> None:
    """The limit until 3.4.16, early progress until 3.4.24 and 3.5.7, and where the version is unknown."""
    levels = {finding.code: finding.level for finding in version_findings(URL, version)}
    assert (levels.get("gateway.message_limit") == "note") is limited
    assert (levels.get("gateway.progress_early") == "note") is early


@pytest.mark.parametrize(
    ("version", "seen"),
    [
        ("3.6.0", "etcd 3.6.0"),
        ("3.7.1", "etcd 3.7.1"),
        ("4.0.0", "etcd 4.0.0"),
        ("3.2.32", "etcd 3.2.32"),
        ("", "etcd does not tell its version: ''"),
        ("Not decided", "etcd does not tell its version: 'Not decided'"),
    ],
)
def test_a_version_that_nobody_tried_is_told(version: str, seen: str) -> None:
    """Newer, older and unknown ones; no fault is made up for them."""
    [finding] = [each for each in version_findings(URL, version) if each.code == "etcd.untested_version"]
    assert finding.level == "note"
    assert finding.seen == seen
    assert "etcd.known_bug" not in told(version)


@pytest.mark.parametrize("version", VERSIONS)
def test_the_tested_versions_are_not_called_untested(version: str) -> None:
    """Those that the tests run."""
    assert "etcd.untested_version" not in told(version)
