"""What a mirror holds, how fresh it is and who reads its changes, for any kind of background."""

from __future__ import annotations

import logging
import threading
import weakref
from collections.abc import Callable
from typing import Generic, Literal, TypeVar, cast

from syncd.client.answers import Freshness
from syncd.client.errors import ClientError, InternalError, NotReadyError, Remedy, TooStaleError, remedy
from syncd.client.lines import Progress, WatchMessage
from syncd.client.mirror.replica import DecodeError, Reach, Replica
from syncd.client.mirror.updates import Feed, Update
from syncd.client.mirror.view import View, boottime
from syncd.client.query import DEFAULT_HEARTBEAT
from syncd.client.watching import Connected, Interrupted, Told

V = TypeVar("V")
T = TypeVar("T")

State = Literal["cold", "warm", "live", "stale"]

LATE = 1.0
"""Seconds that a heartbeat of the daemon's may come late: a busy daemon or program seldom needs so many."""

log = logging.getLogger("syncd.mirror")


class Keeper(Generic[V]):
    """Receives the messages of a resuming watch, one after the other, from one background.

    All others read. `lock` is held where several things change together, and never while foreign code runs
    (`decode`, callbacks), so it is free within moments. `moved` tells threads of whatever can be waited for,
    and `wake` those that are none.
    """

    def __init__(
        self,
        prefix: str,
        decode: Callable[[bytes], V] | None,
        on_error: Callable[[DecodeError], object] | None,
        heartbeat: float = DEFAULT_HEARTBEAT,
    ) -> None:
        self.prefix = prefix
        """The key, where it is for one alone."""
        self.replica: Replica[V] = Replica(decode)
        # Reentrant: a signal's handler may take a snapshot while the same thread takes one.
        self.lock = threading.RLock()
        self.moved = threading.Condition(self.lock)
        self.wake: Callable[[], None] = _nobody_waits
        self.kept = False
        """Whether there is a background, which brings changes or tries to."""
        self.thread: int | None = None
        """Which thread is the background, by `threading.get_ident`; None: a task is."""
        self.connected = False
        self.error: ClientError | None = NotReadyError("the mirror was not started")
        self.proved: float | None = None
        """When the contents were proved current the last time, by `boottime`."""
        self._on_error = on_error or _log_failure
        self._told: State = "stale"
        self._told_at = 0.0
        self._silence = heartbeat + LATE
        """Seconds after which the daemon's word no longer counts."""
        self._ahead: tuple[Freshness, float] | None = None
        self._feeds: weakref.WeakSet[Feed[V]] = weakref.WeakSet()
        self._callbacks: list[tuple[Feed[V], Callable[[Update[V]], object]]] = []

    def receive(self, message: Told) -> None:
        """Take in the next message, and tell callbacks of what it changed."""
        now = boottime()
        match message:
            case Connected(freshness, after):
                with self.lock:
                    self.connected, self.error = True, None
                    self._ahead = freshness, now
                    if after is not None:  # otherwise, it is about other contents, which are on their way
                        self._catch_up()
                    self._notify()
            case Interrupted(error=error):
                self.interrupt(error)
            case _:
                self._apply(message, now)
        self.tell()

    def interrupt(self, error: ClientError) -> None:
        """Take note that there is no connection, and why."""
        with self.lock:
            self.connected, self.error = False, error
            self._ahead = None
            self._notify()

    def fail(self, error: BaseException) -> None:
        """Take note of what ended the watch; tell the log if it is nothing that a watch may end with."""
        if isinstance(error, ClientError):
            self.interrupt(error)
        else:
            # A mirror that silently stands still would be worse than one that fails again and again.
            log.error("the mirror of %r failed", self.prefix, exc_info=error)
            self.interrupt(InternalError(f"the mirror failed: {type(error).__name__}: {error}"))

    def begin(self) -> None:
        """Take note that there is a background now."""
        self.kept = True
        self.error = None

    def end(self, why: str = "the mirror was closed") -> None:
        """Take note that nothing more comes; the first reason stands."""
        with self.lock:
            if self.kept:
                self.kept = False
                self.interrupt(NotReadyError(why))

    def forked(self) -> None:
        """Take note that the background stayed in the parent; see `forks`."""
        self.end("this process was forked, and the mirror is kept by its parent")

    @property
    def settled(self) -> bool:
        """Whether it is no use to wait any longer for the first contents."""
        hopeless = self.error is not None and remedy(self.error) is Remedy.GIVE_UP
        return self.replica.ready or hopeless or not self.kept

    def reached(self, revision: int) -> bool:
        """Whether it is no use to wait any longer for a revision."""
        return self.replica.revision >= revision or not self.kept

    def wait_for(self, condition: Callable[[], object], timeout: float | None) -> bool:
        """Have a thread wait; RuntimeError in the one that would have to bring about what it waits for."""
        with self.moved:
            if self.thread == threading.get_ident() and not condition():
                raise RuntimeError(
                    f"a callback of the mirror of {self.prefix!r} would wait for itself for ever"
                )
            return bool(self.moved.wait_for(condition, timeout))

    def must_be_kept(self) -> None:
        """RuntimeError, with the reason, when it is over."""
        if not self.kept:
            raise RuntimeError(
                f"cannot start the mirror of {self.prefix!r} again, make another one: {self.error}"
            )

    @property
    def state(self) -> State:
        """The daemon's word for the range, unless this mirror knows less than the daemon."""
        if not self.replica.ready:
            return "cold"
        if not self.connected or self._ahead is not None:
            return "stale"
        silent = boottime() - self._told_at > self._silence
        return "stale" if silent and self._told == "live" else self._told

    @property
    def age(self) -> float | None:
        """Seconds since the contents were proved current; None if they never were."""
        return None if self.proved is None else boottime() - self.proved

    def view(self, max_age: float | None) -> View[V]:
        """Return what there is now; NotReadyError, TooStaleError."""
        with self.lock:
            replica = self.replica
            self.must_be_ready()
            taken: View[V] = View(replica.data, replica.hold(), replica.revision, replica.epoch, self.proved)
        if max_age is not None and ((age := taken.age) is None or age > max_age):
            proved = "was never proved current" if age is None else f"was proved current {age:.1f} s ago"
            reason = f": {self.error}" if self.error else ""
            raise TooStaleError(
                f"{self.prefix!r} {proved} at revision {taken.revision}, asked for were {max_age:g} s{reason}"
            )
        return taken

    def must_be_ready(self) -> None:
        """NotReadyError, with the reason, while there is nothing to look at."""
        if not self.replica.ready:
            reason = self.error or "the first snapshot is on its way"
            raise NotReadyError(f"{self.prefix!r} is not mirrored yet: {reason}") from self.error

    def must_have_reached(self, revision: int) -> None:
        """TooStaleError, with the reason if one is known, when a revision did not come in time."""
        if self.replica.revision < revision:
            reason = f": {self.error}" if self.error else ""
            at = f"{self.prefix!r} is at revision {self.replica.revision}"
            raise TooStaleError(f"{at}, {revision} did not come in time{reason}") from self.error

    def failures(self) -> dict[str, DecodeError]:
        """Return the keys whose newest value could not be decoded."""
        with self.lock:
            return self.replica.failures.copy()

    def feed(self) -> Feed[V]:
        """Begin to collect updates for a reader, for as long as it keeps the feed."""
        feed: Feed[V] = Feed()
        with self.lock:
            self._feeds.add(feed)
        return feed

    def subscribe(self, callback: Callable[[Update[V]], object]) -> Callable[[], None]:
        """Have `callback` called with each update from now on; returns what ends that."""
        entry = self.feed(), callback
        with self.lock:
            self._callbacks = [*self._callbacks, entry]

        def unsubscribe() -> None:
            with self.lock:
                self._callbacks = [each for each in self._callbacks if each is not entry]

        return unsubscribe

    def tell(self) -> None:
        """Call the callbacks with what they have not been told yet.

        An update leaves its feed when the callback has returned: so a fork in between does not lose it.
        """
        for entry in self._callbacks:
            feed, callback = entry
            while (update := feed.peek()) and entry in self._callbacks:
                _call(callback, update)
                feed.take()

    def _apply(self, message: WatchMessage, now: float) -> None:
        step = self.replica.stage(message)
        if step is None:
            return
        with self.lock:
            before = self.replica.bookmark
            self.replica.commit(step)
            if before and (self.replica.epoch != before.epoch or self.replica.revision < before.revision):
                # What was proved was proved of other contents, which these do not follow.
                self.proved, self._told = None, "stale"
            if isinstance(message, Progress):
                self._ahead = None
                self._confirm(message, now)
            else:
                self._catch_up()
            if not isinstance(step, Reach) and (step.update.changes or step.update.gap):
                for feed in self._feeds:
                    feed.put(step.update)
            self._notify()
        for error in () if isinstance(step, Reach) else step.reports:
            _call(self._on_error, error)

    def _notify(self) -> None:
        self.moved.notify_all()
        self.wake()

    def _catch_up(self) -> None:
        """What the daemon said when it was connected to counts as soon as this has come as far."""
        replica = self.replica
        if self._ahead is None or not replica.ready:
            return
        there, when = self._ahead
        if replica.epoch == there.epoch and replica.revision >= there.revision:
            self._ahead = None
            self._confirm(there, when)

    def _confirm(self, told: Progress | Freshness, heard_at: float) -> None:
        # A process that was stopped hears late. What seems to be said in the future was said in another
        # time namespace.
        self._told_at = heard_at if told.at_ms is None else min(told.at_ms / 1000, heard_at)
        self._told = cast("State", told.state)
        if told.age_ms is not None:
            proved = self._told_at - told.age_ms / 1000
            self.proved = proved if self.proved is None else max(proved, self.proved)


def _call(callback: Callable[[T], object], told: T) -> None:
    try:
        callback(told)
    except KeyboardInterrupt:
        raise
    except BaseException:  # sys.exit() ends a thread without a word, and CancelledError a task
        log.exception("a callback of a mirror failed: %r", callback)


def _log_failure(error: DecodeError) -> None:
    log.warning("%s", error)


def _nobody_waits() -> None:
    pass
