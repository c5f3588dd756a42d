"""What targets make of their bytes: pieces of a stream, choices, and how much work an input may be."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar
from zlib import crc32

T = TypeVar("T")

LEAST_SECONDS = 5.0
SECONDS_PER_BYTE = 5e-4
"""Of processor time, with all the watching that atheris does: a hundred times what nearly any input takes.
The worst, a thousand open brackets in a row, are two seconds of PyYAML's."""


def cuttings(data: bytes, most: int) -> Iterator[list[bytes]]:
    """Some ways in which `data` may arrive, in pieces of at most `most` bytes; the same ones every time."""
    yield [data[at : at + most] for at in range(0, len(data), most)]
    yield [data[at : at + 1] for at in range(len(data))]
    draw = random.Random(crc32(data))
    for longest in (3, 50, most):
        yield list(_cut(data, draw, min(longest, most)))


def _cut(data: bytes, draw: random.Random, longest: int) -> Iterator[bytes]:
    at = 0
    while at < len(data):
        end = at + draw.randint(1, longest)
        yield data[at:end]
        at = end


class Choices:
    """Choices drawn from bytes, one byte each; always the first one when they are used up."""

    def __init__(self, data: bytes) -> None:
        self._bytes = iter(data)
        self.left = len(data)

    def below(self, count: int) -> int:
        """A number from 0 to `count` - 1, at most 255."""
        self.left = max(self.left - 1, 0)
        return next(self._bytes, 0) % count

    def of(self, values: Sequence[T]) -> T:
        """One of `values`."""
        return values[self.below(len(values))]

    def once_in(self, count: int) -> bool:
        """Yes about once in `count` times, and never when the bytes are used up."""
        return self.below(count) == count - 1


@contextmanager
def linear_time(data: bytes) -> Iterator[None]:
    """AssertionError when the work on `data` took out of all proportion to its size."""
    begin = time.process_time()
    yield
    took = time.process_time() - begin
    allowed = LEAST_SECONDS + SECONDS_PER_BYTE * len(data)
    assert took <= allowed, f"{len(data)} bytes took {took:.1f} s of processor time, {allowed:.1f} s allowed"
