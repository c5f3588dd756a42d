"""What a mirror knows of how it is doing, told by whoever does the work."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from syncd.errors import SyncdError
from syncd.status import Syncing


@dataclass(slots=True)
class Standing:
    """Times are seconds of the mirror's clock; counts only go up."""

    trouble: Callable[[SyncdError | None], None]
    """Told what keeps the store from being proved current; None when it is again."""
    proved_at: float | None = None
    """The moment as of which the store was last proved current."""
    etcd_revision: int = 0
    """The highest that etcd was heard to be at, in this epoch."""
    syncing: Syncing | None = None
    error: str | None = None
    """Why it is not proved current, while it is not."""
    _troubled: bool = False
    events_applied: int = 0
    full_reads: Counter[str] = field(default_factory=Counter)
    watch_reconnects: Counter[str] = field(default_factory=Counter)

    def failed(self, error: SyncdError) -> None:
        """The store is not proved current for now, because of `error`."""
        self.error = str(error)
        self._troubled = True
        self.trouble(error)

    def well(self) -> None:
        """Nothing is in the way."""
        self.error = None
        if self._troubled:
            self._troubled = False
            self.trouble(None)

    def age(self, now: float) -> float | None:
        """Seconds since the last proof, None: never."""
        return None if self.proved_at is None else max(now - self.proved_at, 0.0)

    def heard_of(self, revision: int) -> None:
        """etcd is at `revision`, or was."""
        self.etcd_revision = max(self.etcd_revision, revision)
