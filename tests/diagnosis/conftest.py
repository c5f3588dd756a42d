"""What tests of certificates need beside an authority."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.certificates import Authority


@pytest.fixture
def stranger(tmp_path: Path) -> Authority:
    """Make an authority that nobody trusts."""
    return Authority(tmp_path, "stranger")
