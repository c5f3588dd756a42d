"""Task groups whose errors stay what they are."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from syncd.errors import SyncdError


@contextmanager
def plain_errors() -> Iterator[None]:
    """A task group wraps what its tasks raise; whoever decides what to do wants the error itself."""
    try:
        yield
    except BaseExceptionGroup as group:
        # A fault of the program itself must not hide behind etcd's.
        raise next(
            (e for e in group.exceptions if not isinstance(e, SyncdError)), group.exceptions[0]
        ) from None
