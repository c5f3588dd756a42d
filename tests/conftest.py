"""The fixtures for all tests, and last lines that say which versions of etcd and what chaos they had."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.certificates import Authority
from tests.etcd import VERSIONS, Etcd, reason_missing, started
from tests.reliability.report import summaries


@pytest.fixture(params=VERSIONS)
def etcd_version(request: pytest.FixtureRequest) -> str:
    """Each version of etcd in turn; one that cannot be had is skipped, and the summary names it."""
    version: str = request.param
    if reason := reason_missing(version):
        pytest.skip(f"NOT TESTED with etcd {version}: {reason}")
    return version


@pytest.fixture
def etcd(etcd_version: str) -> Iterator[Etcd]:
    """Run an empty server of each version in turn."""
    with Etcd(etcd_version) as server:
        yield server


@pytest.fixture
def new_etcd() -> Iterator[Etcd]:
    """Run an empty server of one recent version, for a test that doesn't depend on the version."""
    with Etcd() as server:
        yield server


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    """Make a certificate authority of its own for each test."""
    return Authority(tmp_path)


@pytest.fixture
def folder() -> Iterator[Path]:
    """A directory that every user can reach, unlike pytest's own, by a path that a socket can have."""
    with tempfile.TemporaryDirectory(prefix="syncd-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield folder


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say which versions of etcd were exercised, why the others were not, and what chaos was made."""
    terminalreporter.section("etcd")
    ran = [f"{version} ({started[version]} starts)" for version in VERSIONS if started[version]]
    terminalreporter.line(f"exercised: {', '.join(ran) or 'none'}")
    for version in VERSIONS:
        if not started[version]:
            reason = reason_missing(version) or "no selected test asked for it"
            terminalreporter.line(f"NOT exercised: {version}: {reason}", yellow=True)
    if summaries:
        terminalreporter.section("chaos")
        for summary in summaries:
            terminalreporter.line(summary)
