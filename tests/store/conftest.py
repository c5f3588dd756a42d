"""Blocks are small in all these tests, except where one asks for the real size."""

from collections.abc import Iterator

import pytest

from tests.store.model import small_blocks


@pytest.fixture(autouse=True, scope="package")
def _few_keys_make_many_blocks() -> Iterator[None]:
    with small_blocks():
        yield
