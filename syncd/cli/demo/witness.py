"""A watch that runs all the time, in a thread, and notes when each change arrived."""

from __future__ import annotations

import queue
import threading
import time
from typing import NamedTuple

from syncd.cli.demo.workshop import PATIENCE, DemoError
from syncd.client import Bookmark, Client, ClientError, Progress, Watch
from syncd.records import Batch, Event


class Arrival(NamedTuple):
    """A batch, and the moment (of `time.perf_counter`) it was there."""

    moment: float
    batch: Batch


class Witness:
    """Watches one prefix from a local process, as an application would: from now on or `after` a bookmark."""

    def __init__(self, client: Client, prefix: str, after: Bookmark | None = None) -> None:
        self._watch: Watch = client.watch(prefix, after=after, resume=False)
        self._watch.open()
        self._arrivals: queue.SimpleQueue[Arrival | ClientError] = queue.SimpleQueue()
        self.states: list[str] = [self._watch.freshness.state]
        """The states of the range so far, as the watch told them, each when it changed."""
        # It reads until the syncd at the other end is gone.
        threading.Thread(target=self._run, name="witness", daemon=True).start()

    def next(self, revision: int) -> Arrival:
        """Wait for the batch of `revision`, which must be the next one; DemoError otherwise."""
        arrival = self._wait(f"tell of revision {revision}")
        if isinstance(arrival, ClientError):
            raise DemoError(f"the watch ended: {arrival}") from arrival
        if arrival.batch.revision != revision:
            raise DemoError(f"the watch told of revision {arrival.batch.revision} instead of {revision}")
        return arrival

    def ended(self) -> Bookmark:
        """Wait until the syncd at the other end is gone; up to where the watch came."""
        arrival = self._wait("end")
        if not isinstance(arrival, ClientError) or self._watch.bookmark is None:
            raise DemoError(f"the watch was to end, and told of {arrival}")
        return self._watch.bookmark

    def event(self, revision: int) -> Event:
        """Wait for the one event of `revision`."""
        return self.next(revision).batch.events[0]

    def _wait(self, what: str) -> Arrival | ClientError:
        try:
            return self._arrivals.get(timeout=PATIENCE)
        except queue.Empty:
            raise DemoError(f"the watch did not {what} within {PATIENCE:g} s") from None

    def _run(self) -> None:
        try:
            for message in self._watch.messages():
                if isinstance(message, Batch):
                    self._arrivals.put(Arrival(time.perf_counter(), message))
                elif isinstance(message, Progress) and message.state != self.states[-1]:
                    self.states.append(message.state)
        except ClientError as error:
            self._arrivals.put(error)
