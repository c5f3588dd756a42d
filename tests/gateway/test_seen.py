"""What a member must have before it is trusted again, and what its own status says of that."""

from __future__ import annotations

import pytest

from syncd.gateway.messages import Header, StatusAnswer
from syncd.gateway.seen import LAG_PATIENCE, Expected, Seen, unfit

CLUSTER = 0xC1
NOW = 1000.0


def status(
    cluster_id: int = CLUSTER,
    revision: int = 50,
    raft_term: int = 3,
    *,
    leader: int = 7,
    learner: bool = False,
) -> StatusAnswer:
    """Make a member's status, well in all that is not said."""
    return StatusAnswer(Header(cluster_id, revision, raft_term), leader=leader, is_learner=learner)


@pytest.mark.parametrize(
    ("told", "verdict"),
    [
        (status(), None),
        (status(revision=51, raft_term=4), None),
        (status(leader=0), "it has no leader"),
        (status(leader=0, revision=51, raft_term=4), "it has no leader"),
        (status(learner=True), "it is a learner"),
        (status(cluster_id=0xC2), "it belongs to cluster c2, not to c1"),
        (status(cluster_id=0xC2, revision=90, raft_term=9), "it belongs to cluster c2, not to c1"),
        (status(revision=49), "it lags: at revision 49, but 50 was seen already"),
        (status(revision=49, raft_term=4), "it lags: at revision 49, but 50 was seen already"),
        (status(raft_term=2), "it lags: at raft term 2, but 3 was seen already"),
        (status(raft_term=2, revision=51), "it lags: at raft term 2, but 3 was seen already"),
    ],
)
def test_who_is_fit(told: StatusAnswer, verdict: str | None) -> None:
    """One that has a leader, a vote, the right cluster, and what was seen already."""
    assert unfit(told, Expected(CLUSTER, 50, 3)) == verdict


@pytest.mark.parametrize(
    ("told", "fit"), [(status(), True), (status(cluster_id=0xC2), True), (status(leader=0), False)]
)
def test_before_anything_was_seen_any_member_with_a_leader_is_fit(told: StatusAnswer, fit: bool) -> None:
    """There is nothing to compare it with."""
    assert (unfit(told, Seen().expected(NOW)) is None) is fit


def seen(*revisions: tuple[float, int]) -> Seen:
    """Seen at these times; the first one proved."""
    result = Seen()
    for now, revision in revisions:
        header = Header(CLUSTER, revision, 3)
        if result.newest.cluster_id:
            result.told(header, now)
        else:
            result.proved(header, result.newest, now)
    return result


@pytest.mark.parametrize(
    ("after", "revision"),
    [(0.0, 0), (0.9 * LAG_PATIENCE, 0), (2 * LAG_PATIENCE, 50), (100 * LAG_PATIENCE, 50)],
)
def test_a_revision_is_expected_some_seconds_after_it_was_seen(after: float, revision: int) -> None:
    """Not at once: under many writes every follower is some milliseconds behind."""
    assert seen((NOW, 50)).expected(NOW + after).revision == revision


def test_under_writes_what_was_seen_a_while_ago_is_expected() -> None:
    """One revision each 100 ms: a member is given LAG_PATIENCE, and not much more than two times that."""
    told = seen((0.0, 0))
    for revision in range(1, 1000):
        now = revision / 10
        told.told(Header(CLUSTER, revision, 3), now)
        expected = told.expected(now).revision
        assert expected == 0 or now - expected / 10 >= LAG_PATIENCE
        assert now - expected / 10 <= 2 * LAG_PATIENCE + 0.2


def test_a_raft_term_is_expected_at_once() -> None:
    """It changes only with the leader."""
    told = seen((NOW, 50))
    told.told(Header(CLUSTER, 50, 4), NOW + 1)
    assert told.expected(NOW + 1).raft_term == 4


@pytest.mark.parametrize(
    ("header", "newest"),
    [
        (Header(CLUSTER, 60, 3), Expected(CLUSTER, 60, 3)),
        (Header(CLUSTER, 40, 3), Expected(CLUSTER, 50, 3)),
        (Header(CLUSTER, 40, 4), Expected(CLUSTER, 50, 4)),
        (Header(0xC2, 90, 9), Expected(CLUSTER, 50, 3)),
        (Header(0, 90, 9), Expected(CLUSTER, 50, 3)),
    ],
)
def test_what_one_member_tells_only_adds(header: Header, newest: Expected) -> None:
    """It may be behind, or of another cluster: that is its own matter."""
    told = seen((NOW, 50))
    told.told(header, NOW + 1)
    assert told.newest == newest


@pytest.mark.parametrize(
    ("header", "newest", "forgotten"),
    [
        (Header(CLUSTER, 50, 3), Expected(CLUSTER, 50, 3), False),
        (Header(CLUSTER, 60, 4), Expected(CLUSTER, 60, 4), False),
        (Header(CLUSTER, 1, 2), Expected(CLUSTER, 1, 2), True),
        (Header(CLUSTER, 49, 3), Expected(CLUSTER, 49, 3), True),
        (Header(CLUSTER, 70, 2), Expected(CLUSTER, 70, 2), True),
        (Header(0xC2, 1, 2), Expected(0xC2, 1, 2), True),
        (Header(0xC2, 90, 9), Expected(0xC2, 90, 9), True),
    ],
    ids=[
        "the same",
        "newer",
        "wiped",
        "restored",
        "filled anew",
        "replaced",
        "replaced by one that is ahead",
    ],
)
def test_what_etcd_proves_is_where_it_is(header: Header, newest: Expected, forgotten: bool) -> None:
    """A linearizable answer that goes back tells of another history: nobody lags behind the old one."""
    told = seen((NOW, 50))
    now = NOW + 100
    assert told.expected(now).revision == 50
    assert told.proved(header, told.newest, now) is forgotten
    assert told.newest == newest
    assert (told.expected(now).revision == 0) is forgotten
    assert unfit(StatusAnswer(header, leader=7), told.expected(now)) is None
    assert told.expected(now + 2 * LAG_PATIENCE).revision == header.revision


def test_the_first_answer_is_no_other_history() -> None:
    """There was none before."""
    assert Seen().proved(Header(CLUSTER, 60, 3), Expected(), NOW) is False


def test_linearizable_answers_may_arrive_in_another_order() -> None:
    """Compared is what was known when it was asked for: one that was overtaken tells of no other history."""
    told = seen((NOW, 50))
    before = told.newest
    told.proved(Header(CLUSTER, 60, 3), before, NOW + 1)
    told.proved(Header(CLUSTER, 55, 3), before, NOW + 2)
    assert told.newest == Expected(CLUSTER, 60, 3)
