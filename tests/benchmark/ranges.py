"""What etcd holds while it is measured, and how much of it."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass

VALUE_BYTES = 200
"""Of most ranges; a key has 16 bytes or so."""


@dataclass(frozen=True)
class Scale:
    """How much is measured."""

    repetitions: int = 5
    many: int = 500_000
    """Keys of `VALUE_BYTES`; and a fifth and twice as many, where the two are compared."""
    few: int = 20_000
    """Keys of 1 KiB."""
    events: int = 40_000
    """Written at once, each time."""
    puts: int = 2_000
    """Written one by one."""


QUICK = Scale(repetitions=2, many=50_000, few=2_000, events=4_000, puts=200)


def key(prefix: str, number: int) -> str:
    """The key of that number below `prefix`."""
    return f"{prefix}{number:09d}"


def pairs(prefix: str, count: int, size: int = VALUE_BYTES) -> Iterator[tuple[str, str]]:
    """`count` keys below `prefix` with values of `size` bytes."""
    return ((key(prefix, number), "x" * size) for number in range(count))


def overwrites(prefix: str, count: int, events: int, draw: random.Random) -> Iterator[tuple[str, str]]:
    """New values for `events` of `count` keys, here and there, none twice."""
    return (
        (key(prefix, number), f"{draw.getrandbits(800):0200x}")
        for number in draw.sample(range(count), events)
    )


def raw_bytes(prefix: str, count: int) -> int:
    """Bytes of keys and values of `pairs`."""
    return count * (len(key(prefix, 0)) + VALUE_BYTES)
