"""From ranges as they are written to etcd's key intervals, and whether two of them meet."""

from __future__ import annotations

import msgspec

from syncd.config.draft import Draft
from syncd.config.errors import quoted
from syncd.config.schema import RangeEntry
from syncd.keyrange import TO_THE_END, KeyRange, prefix_range


def key_range(draft: Draft, entry: RangeEntry, path: str) -> KeyRange | None:
    """Return the range that `entry` writes; None, and a mistake in the draft, when it writes none."""
    prefix, key, range_end = (
        None if text is msgspec.UNSET else text.encode()
        for text in (entry.prefix, entry.key, entry.range_end)
    )
    if prefix is not None:
        if key is None and range_end is None:
            return prefix_range(prefix)
        other = "key" if key is not None else "range_end"
        draft.wrong(
            f"{path}.prefix",
            f"cannot stand beside {other}; write a prefix, or a key and perhaps its range_end",
        )
    elif key is None:
        draft.wrong(path, "has neither prefix nor key")
    elif range_end is None:
        return KeyRange(key)
    elif key < range_end or range_end == TO_THE_END:
        return KeyRange(key, range_end)
    else:
        draft.wrong(f"{path}.range_end", "should come after key, as the first key that is no longer wanted")
    return None


def guards(draft: Draft) -> dict[KeyRange, float]:
    """Return how much the guarded ranges may shrink."""
    shares = {keys: draft.values[f"{path}.guard.max_shrink"] for path, keys in draft.items("ranges")}
    return {keys: share for keys, share in shares.items() if share is not None}


def check_overlaps(draft: Draft) -> None:
    """Note every range that has keys in common with another; each key is mirrored by one stream only."""
    entries = [(index, path, keys) for index, (path, keys) in enumerate(draft.items("ranges"))]
    # Of the ranges so far in key order, the one that ends last: what meets any of them meets that one.
    furthest: tuple[int, str, KeyRange] | None = None
    for entry in sorted(entries, key=lambda entry: entry[2].key):
        if furthest is None:
            furthest = entry
            continue
        if entry[2].overlaps(furthest[2]):
            (_, first, a), (_, second, b) = sorted([entry, furthest])
            draft.wrong(second, f"{quoted(b.name)} overlaps {quoted(a.name)}, {draft.place(first)}")
        if _ends_after(entry[2], furthest[2]):
            furthest = entry


def _ends_after(one: KeyRange, other: KeyRange) -> bool:
    return other.stop is not None and (one.stop is None or one.stop > other.stop)
