"""What is asked: any range, and any transaction of them, in any of the ways in which JSON can say it."""

from __future__ import annotations

import json
import random
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from tests.calls import prefix_end
from tests.comparison.history import BESIDE, KEYS, PREFIX, PREFIX_END, VALUES, History

ORDERS = ("NONE", "ASCEND", "DESCEND", 0, 1, 2, "NOSUCH", 7, -1)
TARGETS = ("KEY", "VERSION", "CREATE", "MOD", "VALUE", 0, 1, 2, 3, 4, "LEASE")
"""No number that there is not: etcd 3.5.16 dies of it."""

COMPARED = {"VERSION": "version", "CREATE": "create_revision", "MOD": "mod_revision", "LEASE": "lease"}

Fields = dict[str, Any]


class Case(NamedTuple):
    """One request."""

    path: str
    body: bytes
    fields: Fields | None = None
    """What it says, if it is a range without a mistake."""


class Drawn:
    """Draws requests about what `history` has brought about so far."""

    def __init__(self, history: History, draw: random.Random) -> None:
        self._history = history
        self._draw = draw

    def case(self) -> Case:
        """Any request."""
        if self._draw.random() < 0.15:
            return Case("/kv/txn", self._written(self._txn()))
        fields = self._range()
        return Case("/kv/range", self._written(fields), fields)

    def _range(self, *, mirrored: bool = False) -> Fields:
        draw = self._draw
        if draw.random() < 0.1:  # the plainest, to which there is a shorter way
            return {"key": draw.choice((*KEYS, *BESIDE)), "range_end": b"", "serializable": True}
        fields: Fields = dict(zip(("key", "range_end"), self._interval(mirrored=mirrored), strict=True))
        if draw.random() < 0.5:
            fields["limit"] = draw.choice((-1, 0, 1, 2, 3, 10, 12, 13, 40, 1000, (1 << 63) - 1))
        if draw.random() < 0.5:
            fields["revision"] = self._revision()
        if draw.random() < 0.4:
            fields["sort_order"] = draw.choice(ORDERS)
        if draw.random() < 0.4:
            fields["sort_target"] = draw.choice(TARGETS)
            if mirrored:  # in a transaction: a few keys, whose order has no chance in it
                fields["key"], fields["range_end"] = PREFIX + b"k10", PREFIX + b"k2"
        for name in ("min_mod_revision", "max_mod_revision", "min_create_revision", "max_create_revision"):
            if draw.random() < 0.1:
                fields[name] = self._revision()
        for name in ("serializable", "keys_only", "count_only"):
            if draw.random() < 0.2:
                fields[name] = draw.random() < 0.8
        return fields

    def _interval(self, *, mirrored: bool) -> tuple[bytes, bytes]:
        draw = self._draw
        key = draw.choice(KEYS)
        if draw.random() < 0.1:
            key += b"\0"
        end = draw.choice(
            (b"", b"", key, key + b"\0", prefix_end(key), draw.choice(KEYS), PREFIX_END, PREFIX_END)
        )
        if draw.random() < 0.4:
            key, end = PREFIX, draw.choice((PREFIX_END, PREFIX + b"\xff", draw.choice(KEYS)))
        if not mirrored and draw.random() < 0.06:
            key = draw.choice((*BESIDE, b""))
        if not mirrored and draw.random() < 0.03:
            end = b"\0"
        return key, (PREFIX_END if mirrored and end == b"\0" else end)

    def _revision(self) -> int:
        draw, now = self._draw, self._history.revision
        some = draw.randint(0, 30), draw.randint(0, 300), draw.randint(0, now)
        return draw.choice((0, -1, -7, 1, now, now + 1, now + 1000, *(max(now - ago, 0) for ago in some)))

    def _txn(self, depth: int = 0) -> Fields:
        draw = self._draw
        fields: Fields = {}
        if draw.random() < 0.8:
            fields["compare"] = [self._compare() for _ in range(draw.randint(0, 3))]
        for branch in ("success", "failure"):
            if draw.random() < 0.8:
                fields[branch] = [self._operation(depth) for _ in range(draw.randint(0, 3))]
        return fields

    def _operation(self, depth: int) -> Fields:
        if depth < 2 and self._draw.random() < 0.15:
            return {"request_txn": self._txn(depth + 1)}
        if self._draw.random() < 0.01:
            return {}
        return {"request_range": self._range(mirrored=True)}

    def _compare(self) -> Fields:
        draw = self._draw
        key, end = self._interval(mirrored=True)
        target = draw.choice((*COMPARED, "VALUE"))
        fields: Fields = {
            "key": key,
            "range_end": end if draw.random() < 0.3 else b"",
            "target": target if draw.random() < 0.98 else 9,
            "result": draw.choice(("EQUAL", "GREATER", "LESS", "NOT_EQUAL", 0, 1, 2, 3, 9)),
        }
        if draw.random() < 0.1:
            target = draw.choice((*COMPARED, "VALUE"))
        if draw.random() < 0.95:
            if target == "VALUE":
                fields["value"] = draw.choice(VALUES)
            elif target == "VERSION":
                fields["version"] = draw.randint(0, 4)
            else:
                fields[COMPARED[target]] = draw.choice((0, 7, 8, self._revision()))
        return fields

    def _written(self, value: Mapping[str, Any]) -> bytes:
        """As JSON, in any of its ways."""
        draw = self._draw
        camel = draw.random() < 0.3
        separators = draw.choice(((",", ":"), (", ", ": "), (" ,\n", "\t:\r")))
        return json.dumps(self._plain(value, camel=camel), separators=separators).encode()

    def _plain(self, value: Any, *, camel: bool) -> Any:
        draw = self._draw
        if isinstance(value, Mapping):
            items = [item for item in value.items() if item[1] or draw.random() < 0.5]
            draw.shuffle(items)
            plain = {_camel(name) if camel else name: self._plain(of, camel=camel) for name, of in items}
            if draw.random() < 0.05:
                plain["no_such_field"] = draw.choice((None, 1, "x", [{}], {"a": [1.5]}))
            return plain
        if isinstance(value, list):
            return [self._plain(of, camel=camel) for of in value]
        if isinstance(value, bytes):
            encode = urlsafe_b64encode if draw.random() < 0.1 else b64encode
            text = encode(value).decode()
            return text.rstrip("=") if draw.random() < 0.1 else text
        if isinstance(value, int) and not isinstance(value, bool) and -9 <= value <= 9:
            return value  # perhaps an enum, which is no text
        if isinstance(value, int) and not isinstance(value, bool) and draw.random() < 0.5:
            return str(value)
        return value


def is_mirrored(fields: Fields) -> bool:
    """Whether all that a range names is below the prefix; nothing is named by one that ends too early."""
    key, end = fields["key"], fields["range_end"]
    return bool(key >= PREFIX and (key < PREFIX_END if not end else end != b"\0" and end <= PREFIX_END))


def _camel(name: str) -> str:
    first, *others = name.split("_")
    return first + "".join(map(str.capitalize, others))


def sorted_by(fields: Fields) -> str | None:
    """The field of a KeyValue by which a range is sorted other than by key, None when it is not."""
    orders: Sequence[Any] = ("NONE", "ASCEND", "DESCEND", "NOSUCH", 0, 1, 2)
    if fields.get("sort_order", 0) not in orders:
        return None
    return _SORTED.get(fields.get("sort_target", 0))


_SORTED = {
    target: field
    for field, targets in {
        "version": ("VERSION", 1),
        "create_revision": ("CREATE", 2),
        "mod_revision": ("MOD", 3),
        "value": ("VALUE", 4),
    }.items()
    for target in targets
}
