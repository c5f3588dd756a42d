"""What `syncd.client` offers by name."""

from importlib import import_module
from typing import TYPE_CHECKING

import pytest

import syncd.client

if TYPE_CHECKING:
    # As long as this is an error, mypy wants the comment; when it no longer is, mypy says so.
    from syncd.client import Mirorr  # type: ignore[attr-defined]  # noqa: F401


@pytest.mark.parametrize("name", syncd.client.__all__)
def test_every_name_is_there(name: str) -> None:
    """Also those that are imported only when they are asked for."""
    assert getattr(syncd.client, name) is not None


def test_no_other_name_is_there() -> None:
    """A typing error is found at the import, and by a type checker before."""
    with pytest.raises(AttributeError, match="Mirorr"):
        _ = import_module("syncd.client").Mirorr
