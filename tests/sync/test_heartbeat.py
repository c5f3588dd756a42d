"""What proves that a range is current: dialogues, and a simulated etcd with slow roads, never overstated."""

from __future__ import annotations

import heapq
import random
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from syncd.sync import heartbeat
from syncd.sync.heartbeat import Heartbeat, Tick

INTERVAL = 6.0
PAUSE = 2.0


@pytest.fixture(autouse=True)
def _real_settle(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heartbeat, "SETTLE", 1.0)


def begun(*, behind: int = 0, duplex: bool = True, synchronised: bool = True) -> Heartbeat:
    """A stream opened at the time 0; every two seconds it is asked."""
    return Heartbeat(0.0, INTERVAL, behind=behind, duplex=duplex, synchronised=synchronised)


def test_a_proof_needs_both_halves() -> None:
    """That etcd was at 7, asked at 1.0, and that everything up to 7 was delivered: current as of 1.0."""
    beat = begun()
    assert beat.ask(1.0)
    assert beat.answer(1.2, 7) == 7
    assert beat.proved(7) is None  # the member is complete up to 7, but who knows where etcd is
    beat.confirmed(1.0, 8)
    assert beat.proved(7) is None  # and it is further
    assert beat.proved(8) == 1.0
    assert beat.proved(8) is None  # nothing new


def test_the_latest_moment_counts() -> None:
    """One answer of the stream may settle several confirmations; those past it go on waiting."""
    beat = begun()
    for asked, revision in ((1.0, 5), (2.0, 5), (3.0, 6), (4.0, 9)):
        beat.confirmed(asked, revision)
    assert beat.proved(8) == 3.0
    assert beat.proved(8) is None
    assert beat.proved(9) == 4.0


def test_an_idle_etcd_is_proved_without_the_stream() -> None:
    """etcd is where the store is already: nothing can be missing."""
    beat = begun()
    beat.confirmed(0.0, 7)
    assert beat.proved(7) == 0.0


def test_nothing_is_asked_of_the_stream_before_etcd_has_looked_at_it() -> None:
    """Newer versions drop such a request; nobody's hurry changes that."""
    beat = begun()
    assert beat.tick(0.0) is Tick.ASK
    assert not beat.ask(0.01)
    assert beat.next == heartbeat.TAKE_UP
    assert beat.tick(beat.next) is Tick.ASK
    assert beat.ask(beat.next)


def test_nothing_is_asked_while_events_of_the_past_flow() -> None:
    """During a catch-up requests would be dropped; when it pauses, or is done, they are worth it again."""
    beat = begun(behind=1_000)
    for now in (0.2, 2.2, 4.2):
        beat.events(now - 0.1, 5, caught_up=False)
        assert beat.tick(now) is Tick.ASK
        assert not beat.ask(now)
    assert beat.behind
    beat.events(5.0, 9, caught_up=True)
    assert not beat.behind
    assert beat.ask(5.1)


def test_silence_is_noticed_within_a_heartbeat() -> None:
    """After the last answer comes nothing more: given up at the latest an interval later."""
    beat = begun()
    assert beat.tick(2.0) is Tick.ASK
    assert beat.ask(2.0)
    assert beat.answer(2.0, 7) == 7
    while (due := beat.tick(beat.next)) is Tick.ASK:
        beat.confirmed(beat.next - PAUSE, 7)  # elsewhere it answers
        beat.proved(7)
        beat.ask(beat.next - PAUSE)
    assert due is Tick.SILENT
    assert beat.next - PAUSE - 2.0 <= INTERVAL


def test_one_in_a_hurry_finds_no_silence() -> None:
    """Requests a moment old say nothing about the stream, however many; and they have a limit."""
    beat = begun()
    assert [beat.ask(1.99) for _ in range(5)] == [True] * heartbeat.IN_FLIGHT + [False] * 2
    assert beat.tick(2.0) is Tick.ASK
    assert beat.tick(4.0) is Tick.ASK
    assert beat.tick(6.0) is Tick.SILENT


def test_what_arrives_is_no_silence() -> None:
    """Events flow, but the requests were dropped: they are forgotten, and asked again."""
    beat = begun()
    for now in range(2, 40, 2):
        assert beat.tick(now) is Tick.ASK
        beat.confirmed(now, now)
        beat.ask(now)
        beat.events(now + 0.5, now, caught_up=True)
        assert beat.proved(now) == now
    assert beat.ask(41)


def test_a_request_after_a_dropped_one_still_finds_silence() -> None:
    """An old request without an answer must not hide that the newer ones get none either."""
    beat = begun()
    assert beat.ask(2.0)
    beat.events(2.1, 7, caught_up=True)
    beat.confirmed(2.0, 7)
    assert beat.proved(7)
    assert beat.ask(4.0)
    assert beat.tick(6.9) is Tick.ASK
    assert beat.tick(7.0) is Tick.SILENT


def test_a_stream_that_proves_nothing_is_opened_anew() -> None:
    """It lives, but never gets to where etcd is: after two heartbeats another may do better."""
    beat = begun()
    ticks = []
    for now in range(2, 14, 2):
        ticks.append(beat.tick(now))
        beat.confirmed(now, 100 + now)
        beat.ask(now)
        assert beat.answer(now + 0.1, 50) == 50
        assert beat.proved(50) is None
    assert ticks == [Tick.ASK] * 5 + [Tick.REOPEN]


def test_where_etcd_confirms_nothing_another_stream_would_prove_no_more() -> None:
    """It lives, and etcd has lost its quorum: the stream is kept, as what it brings is right."""
    beat = begun()
    for now in range(2, 60, 2):
        assert beat.tick(now) is Tick.ASK
        assert beat.ask(now)
        assert beat.answer(now + 0.1, 50) == 50
        assert beat.proved(50) is None
    assert beat.overdue(now) == now


@pytest.mark.parametrize("duplex", [True, False])
def test_many_confirmations_do_not_push_out_what_can_be_proved(duplex: bool) -> None:
    """A reader that asks for linearizable answers all the time makes one every 50 ms."""
    beat = begun(synchronised=False, duplex=duplex)
    revision, proofs = 100, []
    for tenth in range(20, 400):
        now = tenth / 10
        for moment in (now, now + 0.05):
            revision += 1
            beat.confirmed(moment, revision)
        if tenth % 12 == 0:
            if duplex:
                assert beat.ask(now)
                complete = beat.answer(now + 0.01, revision)
            else:
                complete = beat.unchanged(now, now + 0.01, revision)
            if complete is not None and (proved := beat.proved(complete)) is not None:
                proofs.append(now - proved)
    assert len(proofs) > 25
    assert max(proofs) < INTERVAL


def test_an_old_versions_answer_is_believed_after_a_quiet_while() -> None:
    """Another answer, a settling time later, with no event between them."""
    beat = begun(synchronised=False)
    assert beat.ask(2.0)
    assert beat.answer(2.1, 7) is None
    assert beat.ask(2.5)
    assert beat.answer(2.6, 7) is None  # too early
    assert beat.ask(3.2)
    assert beat.answer(3.3, 9) == 7


def test_an_old_versions_late_answer_confirms_nothing() -> None:
    """What counts is when it was asked for: on a slow road answers to one moment may arrive far apart."""
    beat = begun(synchronised=False)
    assert beat.ask(2.0)
    assert beat.ask(2.1)
    assert beat.answer(2.2, 7) is None
    assert beat.answer(4.0, 7) is None


def test_an_event_below_the_candidate_starts_the_quiet_while_anew() -> None:
    """An answer that has just been shown to have overtaken an event is not believed soon."""
    beat = begun(synchronised=False)
    assert beat.ask(2.0)
    assert beat.answer(2.1, 7) is None
    beat.events(2.9, 6, caught_up=True)
    assert beat.ask(3.2)
    assert beat.answer(3.2, 9) is None
    assert beat.ask(4.0)
    assert beat.answer(4.0, 9) == 7


def test_an_event_past_the_candidate_says_more_than_it() -> None:
    """Events are ordered: the store is past the answer by then."""
    beat = begun(synchronised=False)
    assert beat.ask(2.0)
    assert beat.answer(2.1, 7) is None
    beat.events(2.2, 8, caught_up=True)
    assert beat.ask(3.5)
    assert beat.answer(3.5, 9) is None  # the first of a new count


def test_an_old_version_far_behind_is_not_believed_before_it_can_have_caught_up() -> None:
    """40,000 revisions behind: two seconds more, for a watch that has not yet been looked at."""
    beat = begun(behind=40_000, synchronised=False)
    for asked, answered in ((2.0, 2.1), (2.9, 2.9)):
        assert beat.ask(asked)
        assert beat.answer(answered, 7) is None
    assert beat.ask(3.5)
    assert beat.answer(3.5, 8) is None  # the first whose silence counts
    assert beat.ask(4.6)
    assert beat.answer(4.6, 8) == 8


def test_without_duplex_etcd_compares_when_it_is_further() -> None:
    """A stream that cannot be asked proves nothing of a quiet range; the range itself does."""
    beat = begun(duplex=False)
    beat.confirmed(0.0, 7)
    assert beat.proved(7) == 0.0
    assert not beat.ask(0.5)
    assert beat.tick(2.0) is Tick.ASK
    beat.confirmed(2.0, 8)
    assert beat.proved(7) is None
    assert beat.tick(4.0) is Tick.COMPARE
    beat.comparing(4.0, 4.001)
    assert beat.unchanged(4.0, 4.001, 9) is None  # what came and went may be on the road still
    assert beat.next == 5.001
    assert beat.tick(5.001) is Tick.COMPARE
    beat.comparing(5.001, 5.002)
    assert beat.unchanged(5.001, 5.002, 12) == 9
    beat.confirmed(4.0, 9)
    assert beat.proved(9) == 4.0


def test_a_compared_range_is_complete_only_after_a_quiet_while() -> None:
    """An event in between shows that the stream was slower than the question; a change begins anew."""
    beat = begun(duplex=False)
    assert beat.unchanged(4.0, 4.001, 9) is None
    beat.events(4.5, 8, caught_up=True)
    assert beat.unchanged(5.1, 5.101, 10) is None
    assert beat.unchanged(5.6, 5.601, 10) == 9
    beat.changed(6.7)
    assert beat.unchanged(8.0, 8.001, 14) is None


def test_comparing_takes_little_of_etcds_time() -> None:
    """One that took 50 ms is not repeated for five seconds."""
    beat = begun(duplex=False)
    beat.confirmed(0.0, 8)
    assert beat.tick(0.0) is Tick.COMPARE
    beat.comparing(0.0, 0.05)
    beat.confirmed(2.0, 9)
    assert [beat.tick(now) for now in (2.0, 4.0, 5.0, 5.1)] == [Tick.ASK] * 3 + [Tick.COMPARE]
    beat.comparing(6.0, 16.0)  # whatever took so long: it is tried again after a minute
    assert [beat.tick(now) for now in (75.9, 76.1)] == [Tick.ASK, Tick.COMPARE]


def test_a_change_that_the_stream_does_not_deliver_is_silence() -> None:
    """So a dead stream is found also where it cannot be asked; one that delivers is alive."""
    beat = begun(duplex=False)
    beat.confirmed(0.0, 8)
    assert beat.tick(0.0) is Tick.COMPARE
    beat.changed(0.0)
    beat.events(0.5, 8, caught_up=True)
    assert beat.tick(4.0) is Tick.COMPARE
    beat.changed(4.0)
    assert beat.tick(6.9) is not Tick.SILENT
    assert beat.tick(7.0) is Tick.SILENT


@dataclass
class Etcd:
    """A cluster, and one member that may lag behind it; its road, in order, carries events and answers."""

    revision: int = 100
    history: list[tuple[float, int]] = field(default_factory=list)
    """When each revision was made."""
    applied: int = 100
    """How far the member is."""
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
            draw.choice(["write", "write", "apply", "apply", "nothing", "hurry"]),
            draw.uniform(0.0, longest),  # how long the road is
            draw.random() < droppy,  # whether etcd drops a request
            draw.uniform(0.0, 0.9),  # how long an event waits in the queues of an old version
        )
        for _ in range(100)
    ]


@settings(max_examples=1_000, deadline=None)
@given(seed=st.integers(0, 2**32), synchronised=st.booleans(), share=st.sampled_from([0.1, 0.5, 1.0]))
def test_no_proof_is_fresher_or_wider_than_the_truth(seed: int, synchronised: bool, share: float) -> None:
    """Slow roads, drops, hurry, a member that lags; on old versions events wait in queues.

    Whenever the heartbeat says "complete up to P", all events up to P were delivered; and when it proves a
    moment, etcd, not just the member, was not past P then.
    """
    draw = random.Random(seed)
    etcd, beat = Etcd(), begun(synchronised=synchronised)
    delivered = complete = 100
    now = 0.0
    events: list[int] = []
    queue: list[tuple[float, int]] = []  # when an event leaves the member's queues
    confirmations: list[tuple[float, float, int]] = []  # arrives, asked, revision

    def believe(revision: int | None) -> None:
        nonlocal complete
        if revision is not None:
            assert all(event <= delivered for event in events if event <= revision)
            complete = max(complete, revision)
        proved = beat.proved(complete)
        if proved is not None:
            assert proved <= now
            assert etcd.at(proved) <= complete

    def ask(delay: float, *, dropped: bool) -> None:
        # The answer to a linearizable read tells where the cluster, not the member, was since it was asked.
        heapq.heappush(confirmations, (now + delay, now, etcd.revision))
        if beat.ask(now) and not (dropped and synchronised):  # old versions drop nothing
            if synchronised:
                while queue:
                    etcd.send(now, delay, "event", queue.pop(0)[1])
            etcd.send(now, delay, "answer", etcd.applied)

    for passing, what, delay, dropped, waiting in some_steps(draw):
        end = now + passing
        while True:
            leaves = queue[0][0] if queue else end
            arrives = etcd.road[0][0] if etcd.road else end
            confirms = confirmations[0][0] if confirmations else end
            now = min(end, *(max(moment, now) for moment in (leaves, arrives, confirms, beat.next)))
            if queue and queue[0][0] <= now:
                etcd.send(now, delay, "event", queue.pop(0)[1])
            elif etcd.road and etcd.road[0][0] <= now:
                _, _, kind, revision = heapq.heappop(etcd.road)
                if kind == "event":
                    delivered = complete = revision
                    beat.events(now, revision, caught_up=True)
                    believe(None)
                else:
                    believe(beat.answer(now, revision))
            elif confirmations and confirmations[0][0] <= now:
                _, asked, revision = heapq.heappop(confirmations)
                beat.confirmed(asked, revision)
                believe(None)
            elif beat.next <= now:
                if beat.tick(now) is not Tick.ASK:
                    return
                ask(delay, dropped=dropped)
            else:
                break
        if what == "write":
            etcd.revision += 1
            etcd.history.append((now, etcd.revision))
            if draw.random() < share:  # the others are of other ranges
                events.append(etcd.revision)
        elif what == "apply":
            before, etcd.applied = etcd.applied, draw.randint(etcd.applied, etcd.revision)
            for revision in range(before + 1, etcd.applied + 1):
                if revision in events:
                    leaving = max([now if synchronised else now + waiting, *(when for when, _ in queue)])
                    queue.append((leaving, revision))
        elif what == "hurry":
            ask(delay, dropped=dropped)
