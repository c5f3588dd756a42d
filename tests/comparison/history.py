"""What is written into etcd, below the mirrored prefix and beside it."""

from __future__ import annotations

import random
from base64 import b64encode
from collections.abc import Sequence
from typing import Any

from tests.etcd import Etcd

PREFIX, PREFIX_END = b"/d/", b"/d0"

NAMES = (
    *(b"", b"\x00", b"\xff", b"\xff\xff", b"a", b"a\x00", b"a/b", b"b", b"\xc3\xa9", b"\xfe\x80", b"q" * 300),
    *(f"k{number:02}".encode() for number in range(40)),
)
KEYS = tuple(PREFIX + name for name in NAMES)
BESIDE = (b"/c", b"/d", PREFIX_END, b"/d0/a", b"\x00", b"\xff")
VALUES = (b"", b"1", b"2", b"\x00", b"\xff\xfe", b"value", b"v" * 3000)
LEASES = (7, 8, (1 << 62) + 1)


class History:
    """Changes `etcd`, as drawn."""

    def __init__(self, etcd: Etcd, draw: random.Random) -> None:
        self._etcd = etcd
        self._draw = draw
        self._leases: set[int] = set()
        self.revision = etcd.revision()
        self.compacted = 0

    def go_on(self) -> None:
        """Some more of it."""
        draw = self._draw
        steps = (self._put, self._put, self._put, self._delete, self._several, self._beside, self._lease)
        for _ in range(draw.randint(1, 12)):
            draw.choice(steps)()
        if draw.random() < 0.05:
            self._compact()
        self.revision = self._etcd.revision()

    def _put(self) -> None:
        lease = self._draw.choice([0, 0, 0, *sorted(self._leases)])
        self._etcd.put(self._draw.choice(KEYS), self._draw.choice(VALUES), lease)

    def _delete(self) -> None:
        if self._draw.random() < 0.1:
            self._etcd.delete_prefix(PREFIX + b"k" + self._draw.choice([b"0", b"1", b"2"]))
        else:
            self._etcd.delete(self._draw.choice(KEYS))

    def _several(self) -> None:
        draw = self._draw
        keys = draw.sample(KEYS, draw.randint(2, 8))
        operations: Sequence[dict[str, Any]] = [
            {"request_delete_range": {"key": _text(key)}}
            if draw.random() < 0.2
            else {"request_put": {"key": _text(key), "value": _text(draw.choice(VALUES))}}
            for key in keys
        ]
        self._etcd.ask("/kv/txn", {"success": operations})

    def _beside(self) -> None:
        self._etcd.put(self._draw.choice(BESIDE), b"beside")

    def _lease(self) -> None:
        """Grant one, or revoke it and with it its keys."""
        lease = self._draw.choice(LEASES)
        if lease in self._leases:
            self._leases.remove(lease)
            self._etcd.ask("/kv/lease/revoke", {"ID": str(lease)})
        else:
            self._leases.add(lease)
            self._etcd.ask("/lease/grant", {"ID": str(lease), "TTL": "100000"})

    def _compact(self) -> None:
        revision = self._etcd.revision() - self._draw.randint(0, 400)
        if revision > self.compacted:
            self._etcd.compact(revision)
            self.compacted = revision


def _text(data: bytes) -> str:
    return b64encode(data).decode()
