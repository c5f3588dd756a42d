"""A range: the key interval that is mirrored, read or watched, in etcd's own terms."""

from __future__ import annotations

import msgspec

TO_THE_END = b"\0"
"""As a `range_end`, etcd takes one zero byte for "no upper bound"."""


class KeyRange(msgspec.Struct, frozen=True):
    """The keys `key <= k < range_end`; without `range_end`, `key` alone (etcd's rpc.proto, RangeRequest)."""

    key: bytes
    range_end: bytes = b""

    def __contains__(self, key: bytes) -> bool:
        if not self.range_end:
            return key == self.key
        return self.key <= key and (self.range_end == TO_THE_END or key < self.range_end)

    @property
    def stop(self) -> bytes | None:
        """The first key past the range, None when there is no upper bound."""
        if not self.range_end:
            return self.key + b"\0"
        return None if self.range_end == TO_THE_END else self.range_end

    def covers(self, other: KeyRange) -> bool:
        """Whether every key of `other` lies in this range."""
        if other.key < self.key:
            return False
        return self.stop is None or (other.stop is not None and other.stop <= self.stop)

    def overlaps(self, other: KeyRange) -> bool:
        """Whether any key can lie in both ranges."""
        return (other.stop is None or self.key < other.stop) and (self.stop is None or other.key < self.stop)

    @property
    def name(self) -> str:
        """How people call it, in logs and metric labels: the prefix, the key, or `key..range_end`."""
        start = self.key.decode("utf-8", "backslashreplace")
        if not self.range_end:
            return start
        if self == prefix_range(self.key):
            return start
        if self == prefix_range(b""):
            return ""
        return f"{start}..{'' if self.stop is None else self.stop.decode('utf-8', 'backslashreplace')}"


def prefix_range(prefix: bytes) -> KeyRange:
    """All keys that begin with `prefix`; the empty prefix is the whole key space.

    The end is the prefix with its last byte that is not 0xff raised by one; a prefix of 0xff bytes
    only has no end (etcd's clientv3 GetPrefixRangeEnd).
    """
    if not prefix:
        return KeyRange(b"\0", TO_THE_END)
    head = prefix.rstrip(b"\xff")
    end = head[:-1] + bytes([head[-1] + 1]) if head else TO_THE_END
    return KeyRange(prefix, end)
