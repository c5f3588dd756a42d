"""What to do after a failure, which epoch it is, how long to wait, what to say: tables."""

from __future__ import annotations

import random
from itertools import islice, pairwise

import pytest

from syncd import gateway
from syncd.errors import SyncdError
from syncd.gateway import Header
from syncd.gateway.errors import GatewayError
from syncd.store import Contradiction, OutOfOrder
from syncd.sync.backoff import CAP, FIRST, backoff
from syncd.sync.decide import (
    Lagging,
    OtherHistory,
    Overtaken,
    Reaction,
    catch_up_allowance,
    epoch_of,
    reaction,
)
from syncd.sync.repeats import PAUSE, Repeats
from syncd.sync.revisions import Disordered

URL = "http://127.0.0.1:2379"

REACTIONS: list[tuple[SyncdError, str, bool]] = [
    (gateway.Compacted(URL, "gone", 7), "compacted", True),
    (OtherHistory("restored"), "epoch", True),
    (Overtaken("slow"), "behind", True),
    (Contradiction("an event was lost"), "contradiction", True),
    (OutOfOrder("backwards"), "contradiction", True),
    (gateway.Unreachable(URL, "refused"), "unreachable", False),
    (gateway.Unavailable(URL, 14, "no leader"), "unavailable", False),
    (gateway.MalformedAnswer(URL, "not JSON"), "malformed", False),
    (Disordered("backwards"), "disordered", False),
    (Lagging("behind"), "lagging", False),
    (gateway.Unauthenticated(URL, 16, "invalid auth token"), "auth", False),
    (gateway.PermissionDenied(URL, 7, "permission denied"), "permission_denied", False),
    (gateway.CredentialsUnusable(URL, "no such file"), "credentials", False),
    (gateway.EtcdError(URL, 2, "what?"), "etcd_error", False),
    (gateway.FutureRevision(URL, 11, "future"), "etcd_error", False),
    (gateway.MessageTooLarge(URL, 8, "larger than max"), "etcd_error", False),
    (gateway.AnswerTooLong(URL, 8, "more than expected"), "etcd_error", False),
    (gateway.NoGateway(URL, "404"), "etcd_error", False),
]


@pytest.mark.parametrize(
    ("error", "reason", "reread"), REACTIONS, ids=[type(case[0]).__name__ for case in REACTIONS]
)
def test_each_failure_has_its_reaction(error: SyncdError, reason: str, reread: bool) -> None:
    """The range is read again only when resuming cannot help."""
    assert reaction(error) == Reaction(reason, reread=reread)


def _kinds(root: type[SyncdError]) -> set[type[SyncdError]]:
    return {root}.union(*(_kinds(kind) for kind in root.__subclasses__()))


def test_no_kind_of_failure_is_missing_here() -> None:
    """Every error that the gateway can raise stands in the table above."""
    missing = _kinds(GatewayError) - {GatewayError} - {type(error) for error, _, _ in REACTIONS}
    assert not missing


@pytest.mark.parametrize(
    ("cluster", "revision", "held", "held_revision", "expected"),
    [
        pytest.param(0xAB, 5, "", 0, "ab", id="the first sight of a cluster"),
        pytest.param(0xAB, 5, "ab", 5, "ab", id="the same, nothing new"),
        pytest.param(0xAB, 9, "ab", 5, "ab", id="the same, gone on"),
        pytest.param(0xAB, 4, "ab", 5, "ab-1000", id="the same, fallen back: restored or wiped"),
        pytest.param(0xAB, 4, "ab-900", 5, "ab-1000", id="fallen back once more"),
        pytest.param(0xAB, 6, "ab-900", 5, "ab-900", id="gone on since it fell back"),
        pytest.param(0xCD, 9, "ab", 5, "cd", id="another cluster"),
        pytest.param(0xCD, 4, "ab-900", 5, "cd", id="another cluster, lower"),
        pytest.param(0xA, 9, "ab", 5, "a", id="another cluster whose id begins alike"),
    ],
)
def test_the_epoch_changes_when_revisions_cannot_be_compared(
    cluster: int, revision: int, held: str, held_revision: int, expected: str
) -> None:
    """Another cluster, or a revision lower than one already seen, and only these."""
    assert epoch_of(Header(cluster, revision), held, held_revision, 1000.7) == expected


def test_catching_up_is_allowed_at_least_a_moment() -> None:
    """Twice what reading costs, and never less than two seconds."""
    assert catch_up_allowance(0.0) == 2.0
    assert catch_up_allowance(0.5) == 2.0
    assert catch_up_allowance(10.0) == 20.0


class _Upper(random.Random):
    """Always draws the upper bound."""

    def uniform(self, a: float, b: float) -> float:
        assert a == 0
        return b


def test_the_limit_doubles_up_to_the_cap() -> None:
    """0.1 s, 0.2 s, … and at most half a minute, however long etcd is away."""
    limits = list(islice(backoff(_Upper()), 2_000))
    assert limits[0] == FIRST
    assert all(b == min(2 * a, CAP) for a, b in pairwise(limits))
    assert limits[-1] == CAP


def test_a_thousand_daemons_spread_over_the_whole_pause() -> None:
    """Full jitter: after any failure the delays of many lie evenly between zero and the limit."""
    for failures, limit in ((0, FIRST), (3, 8 * FIRST), (20, CAP)):
        delays = [next(islice(backoff(random.Random(seed)), failures, None)) for seed in range(1_000)]
        assert all(0 <= delay <= limit for delay in delays)
        tenths = [sum(1 for delay in delays if int(delay / limit * 10) == tenth) for tenth in range(10)]
        assert min(tenths) > 50


def test_a_failure_that_repeats_is_said_once_a_minute() -> None:
    """First at once, then not before the pause is over, with the number of times between; causes apart."""
    now = 0.0
    repeats = Repeats(lambda: now)
    assert repeats.worth_saying("unreachable") == 0
    assert [repeats.worth_saying("unreachable") for _ in range(5)] == [None] * 5
    assert repeats.worth_saying("auth") == 0
    now = PAUSE
    assert repeats.worth_saying("unreachable") == 5
    assert repeats.worth_saying("unreachable") is None
    repeats.forget()
    assert repeats.worth_saying("unreachable") == 0
