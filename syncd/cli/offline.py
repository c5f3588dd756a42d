"""`syncd snapshot --offline DIR [PREFIX]`: what the disk cache holds, without the daemon; nothing is changed.

The daemon may run all the same: LMDB lets others read while it writes, and when it replaces a file meanwhile,
there is another one.
"""

from __future__ import annotations

import errno
from dataclasses import dataclass
from pathlib import Path

from syncd.cache import CacheError, Unusable, age_of, copies
from syncd.cache.errors import Damaged, NewerFormat
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
    NewerFormat: "read it with the syncd that wrote it",
    CacheError: "try again",
}


@dataclass
class Offline:
    """The copies in `directory`: those of all ranges, or of one of them what is under `prefix`."""

    directory: Path
    prefix: bytes | None
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
        names, troubles = [], []
        for stem in stems:
            try:
                head, store = _newest(self.directory, stem)
            except CacheError as error:
                troubles.append(error)
                continue
            names.append(repr(store.keys.name))
            keys = store.keys if self.prefix is None else prefix_range(self.prefix)
            if store.keys.covers(keys):
                self._print(output, head, store, keys)
                if self.prefix is not None:
                    return  # whatever is wrong with other ranges
        for trouble in troubles:
            self._fail(exits.FAILED, f"{trouble}; {_HINTS[type(trouble)]}")
        if not stems:
            self._fail(exits.NOT_SERVED, f"{self.directory}: there is no copy of any range")
        elif self.prefix is not None:
            there = f"there are copies of {', '.join(names)}" if names else "there is none that can be read"
            self._fail(exits.FAILED, f"{self.directory}: no copy covers {_shown(self.prefix)}; {there}")

    def _print(self, output: Output, head: Head, store: Store, keys: KeyRange) -> None:
        age = age_of(head.proof)
        if self.max_age is not None and (age is None or age > self.max_age):
            proved = "at an unknown time" if age is None else f"{duration(age)} ago"
            self._fail(exits.NOT_SERVED, f"{store.keys.name!r} was last proved current {proved}")
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


def _why(error: OSError) -> str:
    if error.errno in (errno.ENOENT, errno.ENOTDIR):
        return "`cache.directory` in the daemon's configuration names the directory"
    return _HINTS[Unusable]


def _shown(prefix: bytes) -> str:
    return repr(prefix.decode("utf-8", "backslashreplace"))
