"""The server for tests, and what it said in its log."""

from collections.abc import Iterator
from typing import Any

import pytest
from structlog.testing import capture_logs

from tests.serve.stand import Stand, serving


@pytest.fixture(autouse=True)
def logged() -> Iterator[list[Any]]:
    """What was logged; a test that expects something there takes it out."""
    with capture_logs() as lines:
        yield lines
    assert not lines


@pytest.fixture
def stand() -> Iterator[Stand]:
    """One range below `/`, at revision 10, with the keys `/a`, `/b` and `/c`."""
    with serving() as stand:
        yield stand
