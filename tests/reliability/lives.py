"""What a daemon counted, over all its lives: its counters begin anew with each process."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any


class Lives:
    """Looks at statuses as they pass by."""

    def __init__(self) -> None:
        self.peak_bytes = 0
        """The most memory that a process had, resident."""
        self._counters: dict[int, dict[str, Any]] = {}

    def seen(self, status: dict[str, Any]) -> None:
        """Take in what /v1/status said just now."""
        pid: int = status["pid"]
        self._counters[pid] = status["ranges"][0]["counters"]
        try:
            lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        except OSError:  # it ended meanwhile
            return
        # A process that ended, but was not waited for, has no memory.
        peaks = [1024 * int(line.split()[1]) for line in lines if line.startswith("VmHWM")]
        self.peak_bytes = max(self.peak_bytes, *peaks, 0)

    @property
    def processes(self) -> int:
        """How many there were."""
        return len(self._counters)

    def total(self, name: str) -> dict[str, int]:
        """The sums of `full_reads` or `watch_reconnects`, by reason."""
        sums: Counter[str] = Counter()
        for counters in self._counters.values():
            sums.update(counters[name])
        return dict(sorted(sums.items()))
