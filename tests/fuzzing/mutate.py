"""Changes to an input that keep most of its grammar: words and lines are moved, doubled, lost or replaced."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterable, Sequence

_WORDS = re.compile(rb'"(?:[^"\\\n]|\\.)*"|[0-9]+|[A-Za-z_-]+|\r\n|[ \t]+|[^\n]|\n', re.DOTALL)

ODD: tuple[bytes, ...] = (
    b"0",
    b"1",
    b"-1",
    b"1.0",
    b"1e400",
    b"%d" % (2**63 - 1),
    b"%d" % 2**63,
    b"%d" % 2**64,
    b"9" * 5000,
    b'"%d"' % (2**63 - 1),
    b'"-1"',
    b'""',
    b'"AA=="',
    b'"%s"' % (b"x" * 3000),
    b"null",
    b"true",
    b"[]",
    b"{}",
    b"[" * 3000,
    b'{"":' * 1500,
    b'"\\ud800"',
    b"\\",
    b"\0",
    b"\xff",
    b"\xed\xa0\x80",
    b"\xef\xbb\xbf",
    b"\xc2\x85",
    b"%ff",
    b"%",
    b"\n",
    b"\r\n\r\n",
    b"\r",
)
"""What programs stumble over."""


def words(data: bytes) -> list[bytes]:
    """Strings, numbers, names and signs; joined they are `data` again."""
    return _WORDS.findall(data)


def dictionary(seeds: Iterable[bytes]) -> list[bytes]:
    """All words of `seeds`, and the odd ones."""
    return sorted({word for seed in seeds for word in words(seed)} | set(ODD))


def mutated(data: bytes, draw: random.Random, vocabulary: Sequence[bytes], longest: int) -> bytes:
    """`data` with one to four changes, cut off after `longest` bytes."""
    for _ in range(draw.choice((1, 1, 2, 4))):
        parts = data.splitlines(keepends=True) if draw.random() < 0.2 else words(data)
        draw.choice(_CHANGES)(parts, draw, vocabulary)
        data = b"".join(parts)[:longest]
    return data


def _span(parts: list[bytes], draw: random.Random) -> slice:
    begin = draw.randrange(len(parts) + 1)
    return slice(begin, begin + draw.choice((1, 1, 1, 2, 3, 8)))


def _lose(parts: list[bytes], draw: random.Random, vocabulary: Sequence[bytes]) -> None:
    del parts[_span(parts, draw)]


def _repeat(parts: list[bytes], draw: random.Random, vocabulary: Sequence[bytes]) -> None:
    span = _span(parts, draw)
    parts[span] = parts[span] * draw.choice((2, 2, 2, 10, 1000))


def _move(parts: list[bytes], draw: random.Random, vocabulary: Sequence[bytes]) -> None:
    span = _span(parts, draw)
    moved = parts[span]
    del parts[span]
    at = draw.randrange(len(parts) + 1)
    parts[at:at] = moved


def _replace(parts: list[bytes], draw: random.Random, vocabulary: Sequence[bytes]) -> None:
    parts[_span(parts, draw)] = [draw.choice(vocabulary)]


def _insert(parts: list[bytes], draw: random.Random, vocabulary: Sequence[bytes]) -> None:
    at = draw.randrange(len(parts) + 1)
    parts[at:at] = [draw.choice(vocabulary)]


def _spoil(parts: list[bytes], draw: random.Random, vocabulary: Sequence[bytes]) -> None:
    if parts:
        at = draw.randrange(len(parts))
        word = bytearray(parts[at])
        word[draw.randrange(len(word))] = draw.randrange(256)
        parts[at] = bytes(word)


_CHANGES: tuple[Callable[[list[bytes], random.Random, Sequence[bytes]], None], ...] = (
    _lose,
    _repeat,
    _move,
    _replace,
    _replace,
    _insert,
    _spoil,
)
