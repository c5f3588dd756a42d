"""A history written by hand, for tests of whoever asks it."""

from __future__ import annotations

from tests.reliability.history import Change, History, Record


class Script:
    """Writes to `history` as etcd would: it counts versions, and knows what was before."""

    def __init__(self) -> None:
        self.history = History()

    def put(self, *pairs: tuple[bytes, bytes]) -> int:
        """Put pairs in one transaction; its revision."""
        return self._write([(key, value) for key, value in pairs])

    def delete(self, *keys: bytes) -> int:
        """Delete keys that exist in one transaction; its revision."""
        return self._write([(key, None) for key in keys])

    def mark(self) -> int:
        """Say which generation this is, in every group."""
        number = b"%d" % self.history.generation
        return self.put(*((b"/c/%c/!generation" % group, number) for group in b"abc"))

    def wipe(self) -> int:
        """Begin the next generation at revision 1; the revision of its marker."""
        return self.restore(0)

    def restore(self, since: int) -> int:
        """Begin the next generation with what there was up to `since`; the revision of its marker."""
        self.history.begin(since)
        return self.mark()

    def _write(self, writes: list[tuple[bytes, bytes | None]]) -> int:
        generation = self.history.current
        revision = generation.head + 1
        changes = []
        for key, value in writes:
            prev = generation.record(key, revision)
            kv = None
            if value is not None:
                created, version = (prev.create_revision, prev.version + 1) if prev else (revision, 1)
                kv = Record(key, value, created, revision, version, 0)
            changes.append(Change(key, kv, prev))
        generation.add(revision, changes)
        return revision
