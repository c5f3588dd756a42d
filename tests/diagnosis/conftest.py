"""A strange authority, and a folder that everybody can reach."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.certificates import Authority


@pytest.fixture
def stranger(tmp_path: Path) -> Authority:
    """Make an authority that nobody trusts."""
    return Authority(tmp_path, "stranger")


@pytest.fixture
def folder() -> Iterator[Path]:
    """A directory that every user can reach, unlike pytest's own, by a path that a socket can have."""
    with tempfile.TemporaryDirectory(prefix="syncd-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield folder
