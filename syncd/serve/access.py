"""Who may read which keys: the rules of `serve.access`, worked out for one process.

The most specific prefix decides. A key belongs to the longest prefix of any rule that it begins with, and to
no other; whoever one of that prefix's rules names may read it. So a longer prefix takes a part out of a
shorter one.

The prefixes divide the keys, in key order, into pieces whose keys all belong to the same prefix. Of these, a
process may read some, and neighbours among them are joined. What is left are a few intervals with a gap
between any two, and a process may read a range exactly if one interval has all of it: one binary search.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

from syncd.keyrange import TO_THE_END, KeyRange, prefix_range
from syncd.serve.peer import Peer

_REMEMBERED = 256
"""Different processes (by user and groups) whose rights are remembered: a connection is often one request."""


@dataclass(frozen=True)
class Rule:
    """Grants what is below `prefixes` to `users` and members of `groups`; to everybody if it names nobody."""

    prefixes: tuple[bytes, ...]
    users: frozenset[int] = frozenset()
    groups: frozenset[int] = frozenset()

    def names(self, uid: int | None, groups: frozenset[int]) -> bool:
        """Whether it is a rule for a process of that user and those groups."""
        return not (self.users or self.groups) or uid in self.users or not self.groups.isdisjoint(groups)


class Rights:
    """What one process may read: the keys of `granted`, intervals in key order with gaps between them."""

    def __init__(self, granted: Sequence[KeyRange]) -> None:
        self._granted = tuple(granted)
        self._starts = [keys.key for keys in granted]

    def allow(self, keys: KeyRange) -> bool:
        """Whether it may read every key that there could be in `keys`."""
        before = bisect_right(self._starts, keys.key)
        return before > 0 and self._granted[before - 1].covers(keys)


EVERYTHING = Rights([KeyRange(b"", TO_THE_END)])


class Access:
    """The rules; without any, everything is everybody's who can connect."""

    def __init__(self, rules: Iterable[Rule] = ()) -> None:
        self._rules = tuple(rules)
        self._pieces = list(_pieces({prefix for rule in self._rules for prefix in rule.prefixes}))
        self._rights = lru_cache(_REMEMBERED)(self._worked_out)

    @property
    def unlimited(self) -> bool:
        """Whether there are no rules, and nobody needs to be looked at."""
        return not self._rules

    def rights(self, peer: Peer) -> Rights:
        """What `peer` may read."""
        if self.unlimited or peer.runs_the_daemon:
            return EVERYTHING
        return self._rights(peer.uid, peer.groups)

    def _worked_out(self, uid: int | None, groups: frozenset[int]) -> Rights:
        rules = [rule for rule in self._rules if rule.names(uid, groups)]
        prefixes = {prefix for rule in rules for prefix in rule.prefixes}
        granted: list[KeyRange] = []
        for keys, prefix in self._pieces:
            if prefix not in prefixes:
                continue
            if granted and granted[-1].stop == keys.key:
                granted[-1] = KeyRange(granted[-1].key, keys.range_end)
            else:
                granted.append(keys)
        return Rights(granted)


def _pieces(prefixes: set[bytes]) -> Iterator[tuple[KeyRange, bytes]]:
    """The pieces of the key space that belong to any prefix, in key order, each with that prefix."""
    ranges = [prefix_range(prefix) for prefix in prefixes]
    edges = {keys.key for keys in ranges} | {keys.stop for keys in ranges if keys.stop is not None}
    for start, stop in pairwise([*sorted(edges), TO_THE_END]):
        heads = (start[:length] for length in range(len(start), -1, -1))
        longest = next((head for head in heads if head in prefixes), None)
        if longest is not None:
            yield KeyRange(start, stop), longest
