"""What the client's tests share."""

from pathlib import Path

import pytest

from tests.client.fronts import FRONTS, Front


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Give a place for a socket."""
    return tmp_path / "s"


@pytest.fixture(params=list(FRONTS.values()), ids=list(FRONTS))
def front(request: pytest.FixtureRequest) -> Front:
    """Give one front after the other."""
    chosen: Front = request.param
    return chosen
