"""A stream of etcd's own API for tests."""

from collections.abc import Iterator

import pytest

from tests.serve.stand import Stand
from tests.serve.v3.dialogue import Dialogue, opened


@pytest.fixture
def dialogue(stand: Stand) -> Iterator[Dialogue]:
    """One on which nothing was said yet."""
    with opened(stand.socket) as dialogue:
        yield dialogue
