"""What a watch's answers prove: dialogues, and a simulated etcd with slow roads that is never overstated."""

from __future__ import annotations

import heapq
import random
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from syncd.sync import heartbeat
from syncd.sync.heartbeat import Heartbeat, Proof, Tick

INTERVAL = 4.0
PAUSE = 1.0


@pytest.fixture(autouse=True)
def _real_settle(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heartbeat, "SETTLE", 1.0)


def begun(*, behind: int = 0, duplex: bool = True) -> Heartbeat:
    """A stream opened at the time 0, a request a second."""
    return Heartbeat(0.0, INTERVAL, behind=behind, duplex=duplex)


def test_an_answer_proves_what_was_asked_and_when() -> None:
    """A synchronised answer proves its revision as of the time of asking, not of answering."""
    beat = begun()
    assert beat.tick(1.0) is Tick.ASK
    assert beat.answer(1.4, 7, synchronised=True, asked=True) == Proof(7, 1.0)


def test_answers_are_credited_in_the_order_of_asking() -> None:
    """Two requests under way: the first answer belongs to the first."""
    beat = begun()
    assert beat.tick(1.0) is Tick.ASK
    assert beat.tick(2.0) is Tick.ASK
    assert beat.answer(2.1, 7, synchronised=True, asked=True) == Proof(7, 1.0)
    assert beat.answer(2.2, 8, synchronised=True, asked=True) == Proof(8, 2.0)


def test_an_unasked_notification_proves_only_since_the_opening() -> None:
    """etcd's own periodic notification says up to where, but not since when."""
    assert begun().answer(9.0, 7, synchronised=True, asked=False) == Proof(7, 0.0)
    beat = begun()
    assert beat.tick(1.0) is Tick.ASK
    assert beat.answer(1.1, 7, synchronised=True, asked=False) == Proof(7, 0.0)  # it was on its way before
    assert beat.answer(1.2, 8, synchronised=True, asked=True) == Proof(8, 1.0)


def test_an_event_alone_proves_nothing() -> None:
    """On a slow road it may be old."""
    assert begun().events(1.0, 7, caught_up=True) is None


def test_nothing_is_asked_before_etcd_has_looked_at_the_watch() -> None:
    """Newer versions drop such a request; nobody's hurry changes that."""
    beat = begun()
    assert beat.tick(0.0) is Tick.NOTHING
    assert beat.ask(0.01) is Tick.NOTHING
    assert beat.next == heartbeat.TAKE_UP
    assert beat.tick(beat.next) is Tick.ASK


def test_nothing_is_asked_while_events_of_the_past_flow() -> None:
    """During a catch-up requests would be dropped; when it pauses, or is done, they are worth it again."""
    beat = begun(behind=1_000)
    for now in (0.2, 1.2, 2.2):
        beat.events(now - 0.1, 5, caught_up=False)
        assert beat.tick(now) is Tick.NOTHING
        assert beat.ask(now) is Tick.NOTHING
    assert beat.behind
    beat.events(3.0, 9, caught_up=True)
    assert not beat.behind
    assert beat.tick(3.1) is Tick.ASK


def test_silence_is_noticed_within_a_heartbeat() -> None:
    """After the last answer comes nothing more: given up at the latest an interval later."""
    beat = begun()
    assert beat.tick(1.0) is Tick.ASK
    assert beat.answer(1.0, 7, synchronised=True, asked=True)
    ticks = []
    while Tick.SILENT not in ticks:
        ticks.append(beat.tick(beat.next))
    assert ticks == [Tick.ASK, Tick.ASK, Tick.ASK, Tick.SILENT]
    assert beat.next - PAUSE - 1.0 <= INTERVAL


def test_dropped_requests_are_no_silence() -> None:
    """Events flow, but no answer comes: a new stream is opened, and nobody speaks of a failure."""
    beat = begun()
    ticks = []
    for now in (1.0, 2.0, 3.0, 4.0):
        ticks.append(beat.tick(now))
        beat.events(now + 0.5, int(now), caught_up=True)
    assert ticks == [Tick.ASK, Tick.ASK, Tick.ASK, Tick.REOPEN]


def test_three_in_a_hurry_are_no_silence() -> None:
    """Three requests a moment old say nothing about the stream; three old ones do."""
    beat = begun()
    assert [beat.ask(0.99), beat.ask(0.99), beat.ask(0.99), beat.ask(0.99)] == [Tick.ASK] * 3 + [Tick.NOTHING]
    assert beat.tick(1.0) is Tick.NOTHING
    assert beat.tick(2.0) is Tick.NOTHING
    assert beat.tick(3.5) is Tick.SILENT


def test_an_old_versions_answer_is_believed_after_a_quiet_while() -> None:
    """Rule one: another answer, a settling time later, with no event between them."""
    beat = begun()
    assert beat.tick(2.0) is Tick.ASK
    assert beat.answer(2.1, 7, synchronised=False, asked=True) is None
    assert beat.tick(2.5) is Tick.ASK
    assert beat.answer(2.6, 7, synchronised=False, asked=True) is None  # too early
    assert beat.tick(3.2) is Tick.ASK
    assert beat.answer(3.3, 9, synchronised=False, asked=True) == Proof(7, 2.0)


def test_an_old_versions_answer_is_believed_when_an_event_passes_it() -> None:
    """Rule two: events are ordered, so one of a higher revision comes after all up to the answer's."""
    beat = begun()
    assert beat.tick(2.0) is Tick.ASK
    assert beat.answer(2.1, 7, synchronised=False, asked=True) is None
    assert beat.events(2.2, 7, caught_up=True) is None
    assert beat.events(2.3, 8, caught_up=True) == Proof(7, 2.0)
    assert beat.events(2.4, 9, caught_up=True) is None


def test_an_old_versions_late_answer_confirms_nothing() -> None:
    """What counts is when it was asked for: on a slow road two answers to one moment may arrive far apart."""
    beat = begun()
    assert beat.tick(2.0) is Tick.ASK
    assert beat.tick(2.1) is Tick.ASK
    assert beat.answer(2.2, 7, synchronised=False, asked=True) is None
    assert beat.answer(4.0, 7, synchronised=False, asked=True) is None


def test_an_event_below_the_candidate_starts_the_quiet_while_anew() -> None:
    """An answer that has just been shown to have overtaken an event is not believed soon."""
    beat = begun()
    assert beat.tick(2.0) is Tick.ASK
    assert beat.answer(2.1, 7, synchronised=False, asked=True) is None
    assert beat.events(2.9, 6, caught_up=True) is None
    assert beat.tick(3.2) is Tick.ASK
    assert beat.answer(3.2, 9, synchronised=False, asked=True) is None
    assert beat.tick(4.0) is Tick.ASK
    assert beat.answer(4.0, 9, synchronised=False, asked=True) == Proof(7, 2.0)


def test_an_old_version_far_behind_is_not_believed_before_it_can_have_caught_up() -> None:
    """40,000 revisions behind: two seconds more, for a watch that has not yet been looked at."""
    beat = begun(behind=40_000)
    assert beat.tick(1.5) is Tick.ASK
    assert beat.answer(1.6, 7, synchronised=False, asked=True) is None
    assert beat.tick(2.9) is Tick.ASK
    assert beat.answer(2.9, 7, synchronised=False, asked=True) is None
    assert beat.tick(3.5) is Tick.ASK
    assert beat.answer(3.5, 8, synchronised=False, asked=True) is None  # the first whose silence counts
    assert beat.tick(4.6) is Tick.ASK
    assert beat.answer(4.6, 8, synchronised=False, asked=True) == Proof(8, 3.5)


def test_a_closed_body_asks_once_and_is_opened_anew() -> None:
    """The request travelled with the opening; after a quiet pause another stream is opened."""
    beat = begun(duplex=False)
    assert beat.tick(0.0) is Tick.NOTHING
    assert beat.ask(0.5) is Tick.NOTHING
    assert beat.answer(0.6, 7, synchronised=True, asked=True) == Proof(7, 0.0)
    assert beat.tick(1.0) is Tick.NOTHING
    assert beat.tick(1.6) is Tick.REOPEN


@dataclass
class Etcd:
    """Sends events and answers over a road of changing length, in order; answers may overtake events."""

    revision: int = 100
    history: list[tuple[float, int]] = field(default_factory=list)
    """When each revision was made."""
    road: list[tuple[float, int, str, int]] = field(default_factory=list)
    last_arrival: float = 0.0
    sent: int = 0

    def send(self, now: float, delay: float, kind: str, revision: int) -> None:
        """One connection: what is sent later arrives later."""
        self.last_arrival = max(self.last_arrival, now + delay)
        self.sent += 1
        heapq.heappush(self.road, (self.last_arrival, self.sent, kind, revision))

    def at(self, moment: float) -> int:
        """The revision at a moment."""
        return max((revision for when, revision in self.history if when <= moment), default=100)


Step = tuple[float, str, float, bool, float]


def some_steps(draw: random.Random) -> list[Step]:
    """A minute or so. Drawn plainly: what hypothesis draws is too simple for anything to go wrong."""
    longest, droppy = draw.choice([0.01, 0.3, 3.0]), draw.choice([0.0, 0.2])
    return [
        (
            draw.uniform(0.01, 1.0),  # time that passes
            draw.choice(["write", "nothing", "hurry", "notify"]),
            draw.uniform(0.0, longest),  # how long the road is
            draw.random() < droppy,  # whether etcd drops a request
            draw.uniform(0.0, 0.9),  # how long an event waits in the queues of an old version
        )
        for _ in range(100)
    ]


@settings(max_examples=1_000, deadline=None)
@given(seed=st.integers(0, 2**32), synchronised=st.booleans(), share=st.sampled_from([0.1, 0.5, 1.0]))
def test_no_proof_is_fresher_or_wider_than_the_truth(seed: int, synchronised: bool, share: float) -> None:
    """Slow roads, drops, hurry, notifications; on old versions events wait, but less than it takes to settle.

    Every proof (revision, asked): all events up to `revision` were delivered before, and at the moment
    `asked` etcd was not past `revision`.
    """
    draw = random.Random(seed)
    etcd, beat = Etcd(), begun()
    delivered, now = 100, 0.0
    events: list[int] = []
    queue: list[tuple[float, int]] = []  # when an event leaves etcd's queues

    def check(proof: Proof | None) -> None:
        if proof is None:
            return
        assert all(revision <= delivered for revision in events if revision <= proof.revision)
        assert etcd.at(proof.asked) <= proof.revision
        assert proof.asked <= now

    def ask(delay: float, *, dropped: bool) -> None:
        if not dropped:
            if synchronised:
                while queue:
                    etcd.send(now, delay, "event", queue.pop(0)[1])
            etcd.send(now, delay, "answer", etcd.revision)

    for passing, what, delay, dropped, waiting in some_steps(draw):
        end = now + passing
        while True:
            leaves = queue[0][0] if queue else end
            arrives = etcd.road[0][0] if etcd.road else end
            now = min(end, max(leaves, now), max(arrives, now), max(beat.next, now))
            if queue and queue[0][0] <= now:
                etcd.send(now, delay, "event", queue.pop(0)[1])
            elif etcd.road and etcd.road[0][0] <= now:
                _, _, kind, revision = heapq.heappop(etcd.road)
                if kind == "event":
                    delivered = revision
                    check(beat.events(now, revision, caught_up=True))
                else:
                    asked = kind == "answer"
                    check(beat.answer(now, revision, synchronised=synchronised or not asked, asked=asked))
            elif beat.next <= now:
                tick = beat.tick(now)
                if tick is Tick.ASK:
                    ask(delay, dropped=dropped)
                elif tick in (Tick.SILENT, Tick.REOPEN):
                    return
            else:
                break
        if what == "write":
            etcd.revision += 1
            etcd.history.append((now, etcd.revision))
            if draw.random() < share:  # the others are of other ranges
                events.append(etcd.revision)
                leaving = max([now if synchronised else now + waiting, *(when for when, _ in queue)])
                queue.append((leaving, etcd.revision))
        elif what == "hurry" and beat.ask(now) is Tick.ASK:
            ask(delay, dropped=dropped)
        elif what == "notify" and not queue:
            etcd.send(now, delay, "notification", etcd.revision)
