"""What to do after a failure, which epoch it is, how long to wait, what to say: tables."""

from __future__ import annotations

import random
from itertools import pairwise
from pathlib import Path

import pytest

from syncd import gateway
from syncd.errors import SyncdError
from syncd.gateway import Header
from syncd.gateway.errors import Dropped, FileUnusable, GatewayError, NoAnswer, Untrusted
from syncd.store import Contradiction, OutOfOrder, Rewritten
from syncd.sync.backoff import CAP, FIRST, HEALTHY_AFTER, Backoff
from syncd.sync.decide import (
    Lagging,
    OtherHistory,
    Overtaken,
    Reaction,
    catch_up_allowance,
    continues,
    new_epoch,
    reaction,
)
from syncd.sync.repeats import PAUSE, Repeats
from syncd.sync.revisions import Disordered
from tests.dice import Upper

URL = "http://127.0.0.1:2379"
HEARTBEAT = 5.0
HEALTHY = HEALTHY_AFTER * HEARTBEAT

REACTIONS: list[tuple[SyncdError, str, bool]] = [
    (gateway.Compacted(URL, "gone", 7), "compacted", True),
    (OtherHistory("restored"), "epoch", True),
    (Overtaken("slow"), "behind", True),
    (Contradiction("an event was lost"), "contradiction", True),
    (Rewritten("another value"), "epoch", True),
    (OutOfOrder("backwards"), "contradiction", True),
    (gateway.Unreachable(URL, "refused"), "unreachable", False),
    (NoAnswer(URL, "too late"), "unreachable", False),
    (Dropped(URL, "closed"), "unreachable", False),
    (gateway.Unavailable(URL, 14, "no leader"), "unavailable", False),
    (gateway.MalformedAnswer(URL, "not JSON"), "malformed", False),
    (Disordered("backwards"), "disordered", False),
    (Lagging("behind"), "lagging", False),
    (gateway.Unauthenticated(URL, 16, "invalid auth token"), "auth", False),
    (gateway.PermissionDenied(URL, 7, "permission denied"), "permission_denied", False),
    (gateway.CredentialsUnusable(URL, "no such file"), "credentials", False),
    (Untrusted(URL, "expired", 10), "credentials", False),
    (gateway.CertificateRefused(URL, "unknown ca"), "credentials", False),
    (gateway.CommonNameRefused(URL, "it has a CN"), "credentials", False),
    (gateway.WrongPassword(URL, "refused"), "credentials", False),
    (
        FileUnusable(URL, "empty", code="file.empty", path=Path("/a.key"), cure="write it"),
        "credentials",
        False,
    ),
    (gateway.NoSpace(URL, 8, "database space exceeded"), "etcd_error", False),
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


def test_a_fresh_token_may_cure_some_failures() -> None:
    """Before 3.5.6 a watch with an expired one reads as "permission denied"."""
    assert {reason for error, reason, _ in REACTIONS if reaction(error).about_token} == {
        "auth",
        "permission_denied",
    }


def _kinds(root: type[SyncdError]) -> set[type[SyncdError]]:
    return {root}.union(*(_kinds(kind) for kind in root.__subclasses__()))


def test_no_kind_of_failure_is_missing_here() -> None:
    """Every error that the gateway can raise stands in the table above."""
    missing = _kinds(GatewayError) - {GatewayError} - {type(error) for error, _, _ in REACTIONS}
    assert not missing


@pytest.mark.parametrize(
    ("cluster", "revision", "epoch", "held", "expected"),
    [
        pytest.param(0xAB, 5, "", 0, False, id="nothing is held"),
        pytest.param(0xAB, 5, "ab-1f", 5, True, id="the same, nothing new"),
        pytest.param(0xAB, 9, "ab-1f", 5, True, id="the same, gone on"),
        pytest.param(0xAB, 4, "ab-1f", 5, False, id="the same, fallen back: restored or wiped"),
        pytest.param(0xCD, 9, "ab-1f", 5, False, id="another cluster"),
        pytest.param(0xA, 9, "ab-1f", 5, False, id="another cluster whose id begins alike"),
    ],
)
def test_a_history_goes_on_or_is_another(
    cluster: int, revision: int, epoch: str, held: int, expected: bool
) -> None:
    """With another cluster, or below a revision already seen, revisions cannot be compared."""
    assert continues(Header(cluster, revision), epoch, held) is expected


def test_every_history_has_a_name_of_its_own() -> None:
    """It tells the cluster, and changes also when that is the same: a millisecond later it is another."""
    names = {new_epoch(Header(0xAB, 5), 1000.0 + ms / 1000) for ms in range(10)}
    assert len(names) == 10
    assert all(continues(Header(0xAB, 5), name, 5) for name in names)


def test_catching_up_is_allowed_at_least_a_moment() -> None:
    """Twice what reading costs, and never less than two seconds."""
    assert catch_up_allowance(0.0) == 2.0
    assert catch_up_allowance(0.5) == 2.0
    assert catch_up_allowance(10.0) == 20.0


def test_the_limit_doubles_up_to_the_cap() -> None:
    """0.1 s, 0.2 s, … and at most half a minute, however long etcd is away."""
    backoff = Backoff(Upper(), HEARTBEAT)
    limits = [backoff.failed() for _ in range(2_000)]
    assert limits[0] == FIRST
    assert all(b == min(2 * a, CAP) for a, b in pairwise(limits))
    assert limits[-1] == CAP


@pytest.mark.parametrize(
    ("told", "pause"),
    [
        pytest.param([], 8 * FIRST, id="never healthy, however long it took: a road into nowhere"),
        pytest.param([5.0], 8 * FIRST, id="proved once, and then perhaps a road into nowhere"),
        pytest.param([5.0, 4.9 + HEALTHY], 8 * FIRST, id="nearly long enough"),
        pytest.param([5.0, 5.0 + HEALTHY], FIRST, id="long enough"),
        pytest.param([5.0, 9.0, 16.0], FIRST, id="often enough, and long enough"),
    ],
)
def test_only_a_healthy_while_makes_the_next_failure_the_first(told: list[float], pause: float) -> None:
    """After three failures."""
    backoff = Backoff(Upper(), HEARTBEAT)
    for _ in range(3):
        backoff.failed()
    for now in told:
        backoff.healthy(now)
    assert backoff.failed() == pause


def test_health_is_counted_from_the_last_failure_on() -> None:
    """Two short healthy times do not make a long one."""
    backoff = Backoff(Upper(), HEARTBEAT)
    for turn in range(5):
        backoff.healthy(turn * HEALTHY)
        backoff.healthy((turn + 0.9) * HEALTHY)
        assert backoff.failed() == FIRST * 2**turn


def test_a_thousand_daemons_spread_over_the_whole_pause() -> None:
    """Full jitter: after any failure the delays of many lie evenly between zero and the limit."""
    for failures, limit in ((0, FIRST), (3, 8 * FIRST), (20, CAP)):
        delays = []
        for seed in range(1_000):
            backoff = Backoff(random.Random(seed), HEARTBEAT)
            delays.append([backoff.failed() for _ in range(failures + 1)][-1])
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
