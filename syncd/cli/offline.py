"""`syncd snapshot --offline DIR [PREFIX]`: what the disk cache holds, without the daemon; nothing is changed.

The daemon may run all the same: LMDB lets others read while it writes, and when it replaces a file meanwhile,
there is another one.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from syncd.cache import CacheError, Unusable, age_of, copies
from syncd.cache.errors import Damaged, NewerFormat, NotRead
from syncd.cache.layout import Head
from syncd.cache.reading import read
from syncd.cli import exits
from syncd.cli.figures import duration
from syncd.cli.snapshot import KEYS_A_STEP, progress
from syncd.cli.terminal import Output, say
from syncd.keyrange import KeyRange, prefix_range
from syncd.serve.encode import end_line, head_line, record_json
from syncd.serve.freshness import age_ms
from syncd.store import Store
from syncd.store.blocks import each

STATE = "offline"
"""Stands where the daemon tells a range's state."""

ATTEMPTS = 5
"""Looks at a range's files, when each time they are gone before they are read: a daemon begins a file at its
start, and then seldom."""

_HINTS: dict[type[CacheError], str] = {
    Unusable: "read it as the user that the daemon runs as, or as root",
    Damaged: "none of it can be trusted; the daemon reads etcd anew, and other hosts have copies",
    NotRead: "read it as the user that the daemon runs as, or as root; or try again",
    NewerFormat: "read it with the syncd that wrote it",
    CacheError: "try again",
}


@dataclass
class Offline:
    """The copies in `directory`: those of all ranges, or of the newest that has it what is under `prefix`."""

    directory: Path
    prefix: bytes | None
    """Also a whole range's name: the key of a range that is one key, or `key..range_end`."""
    max_age: float | None
    """Seconds since the last proof; what is older is refused, and what was never proved."""
    exit_code: int = exits.DONE

    def show(self, output: Output) -> None:
        """Print what is wanted; what is wrong is said, and is in the exit code."""
        try:
            stems = list(copies(self.directory))
        except OSError as error:
            self._fail(exits.FAILED, f"{self.directory} cannot be read: {error.strerror}; {_why(error)}")
            return
        if not stems:
            self._fail(exits.NOT_SERVED, f"{self.directory}: there is no copy of any range")
        elif self.prefix is None:
            self._show_all(output, stems)
        else:
            self._show_newest(output, stems, self.prefix)

    def _show_all(self, output: Output, stems: list[str]) -> None:
        troubles: list[CacheError] = []
        for head, store in self._readable(stems, troubles):
            self._print(output, head, store, head.range)
        for trouble in troubles:
            self._fail(exits.FAILED, _helped(trouble))

    def _show_newest(self, output: Output, stems: list[str], prefix: bytes) -> None:
        """Of the ranges that have what is asked for: a file stays when its range is no longer configured."""
        troubles: list[CacheError] = []
        heads: list[Head] = []
        newest: tuple[Head, Store] | None = None
        for head, store in self._readable(stems, troubles):
            heads.append(head)
            if _asked_for(prefix, head.range) and (newest is None or _newness(head) > _newness(newest[0])):
                newest = head, store
        if newest is None:
            for trouble in troubles:
                self._fail(exits.FAILED, _helped(trouble))
            names = ", ".join(repr(head.range.name) for head in heads)
            there = f"there are copies of {names}" if names else "there is none that can be read"
            self._fail(exits.FAILED, f"{self.directory}: no copy covers {_shown(prefix)}; {there}")
            return
        head, store = newest
        for other in heads:
            if other is not head and _asked_for(prefix, other.range):
                say(
                    f"there is also a copy of {other.range.name!r}, {_proved(age_of(other.proof))}, of the "
                    f"revision {other.revision}; what follows is of {head.range.name!r}, and newer"
                )
        for trouble in troubles:
            say(f"{trouble}; whether it is newer than what follows cannot be told")
        self._print(output, head, store, _asked_for(prefix, head.range) or head.range)

    def _readable(self, stems: list[str], troubles: list[CacheError]) -> Iterator[tuple[Head, Store]]:
        """The newest copy of each range; of those that have none to be read, what is wrong, in `troubles`."""
        for stem in stems:
            try:
                found = _newest(self.directory, stem)
            except CacheError as error:
                troubles.append(error)
            else:
                yield found

    def _print(self, output: Output, head: Head, store: Store, keys: KeyRange) -> None:
        age = age_of(head.proof)
        if self.max_age is not None and (age is None or age > self.max_age):
            self._fail(exits.NOT_SERVED, f"{store.keys.name!r} was {_proved(age)}")
            return
        view = store.view()
        slices = view.slices(keys)
        count = sum(high - low for _, low, high in slices)
        output.json(head_line(view, count, STATE, age_ms(age), name=store.keys.name).rstrip())
        with progress(output) as show:
            for done, record in enumerate(each(slices), 1):
                output.json(record_json(record))
                if done % KEYS_A_STEP == 0 or done == count:
                    show(done, count)
        output.json(end_line(count).rstrip())

    def _fail(self, code: int, message: str) -> None:
        say(message)
        self.exit_code = self.exit_code or code


def _newest(directory: Path, stem: str) -> tuple[Head, Store]:
    """The newest copy of a range that can be read; CacheError when none can."""
    for _ in range(ATTEMPTS):
        troubles: list[CacheError] = []
        for path in copies(directory).get(stem, []):
            try:
                found = _load(path)
            except CacheError as error:
                if path.exists():
                    troubles.append(error)
            else:
                for trouble in troubles:
                    say(f"{trouble}; what follows is the copy before it")
                return found
        if troubles:
            raise troubles[0]
    raise CacheError(directory, f"the copies {stem} go away before they can be read")


def _load(path: Path) -> tuple[Head, Store]:
    # Only a daemon that began the file wrote to it, and has had a lock file then.
    head, image = read(path, shared=path.with_name(f"{path.name}-lock").exists())
    store = Store(head.range, history_events=0, history_bytes=0)
    try:
        store.restore(image)
    except ValueError as error:
        raise Damaged(path, f"it is damaged: {error}") from error
    return head, store


def _asked_for(prefix: bytes, kept: KeyRange) -> KeyRange | None:
    """What to print of a copy of `kept`; None when it does not have all that is asked for."""
    if kept.name == _text(prefix):
        return kept
    wanted = prefix_range(prefix)
    return wanted if kept.covers(wanted) else None


def _newness(head: Head) -> tuple[float, int]:
    """Of two copies, the one that was proved current later counts; revisions may be of different etcds."""
    return head.proof.wall if head.proof else 0.0, head.revision


def _proved(age: float | None) -> str:
    return f"last proved current {'at an unknown time' if age is None else f'{duration(age)} ago'}"


def _helped(trouble: CacheError) -> str:
    hint = next(_HINTS[kind] for kind in type(trouble).__mro__ if kind in _HINTS)
    return f"{trouble}; {hint}"


def _why(error: OSError) -> str:
    if error.errno in (errno.ENOENT, errno.ENOTDIR):
        return "`cache.directory` in the daemon's configuration names the directory"
    return _HINTS[Unusable]


def _shown(prefix: bytes) -> str:
    return repr(_text(prefix))


def _text(prefix: bytes) -> str:
    """As ranges are named."""
    return prefix.decode("utf-8", "backslashreplace")
