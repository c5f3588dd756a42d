"""What is done after a failure depends on those before: one table of dialogues."""

from __future__ import annotations

import pytest

from syncd import gateway
from syncd.errors import SyncdError
from syncd.sync.backoff import FIRST, HEALTHY_AFTER
from syncd.sync.decide import OtherHistory, Overtaken
from syncd.sync.recovery import Plan, Recovery
from syncd.sync.turns import SPREAD_LEAST, Turns
from tests.dice import Upper

URL = "http://etcd.example"
HEARTBEAT = 5.0

DEAD = gateway.Unreachable(URL, "refused")
GONE = gateway.Compacted(URL, "compacted", 7)
SLOW = Overtaken("slow")
OTHER = OtherHistory("restored")
TOKEN = gateway.Unauthenticated(URL, 16, "invalid auth token")
DENIED = gateway.PermissionDenied(URL, 7, "permission denied")


def resume(reason: str, pause: float) -> Plan:
    """The stream is opened again."""
    return Plan(reason, None, pause, in_turn=False)


def begin(reason: str) -> Plan:
    """The range is read again, when it is its turn."""
    return Plan(reason, reason, SPREAD_LEAST, in_turn=True)


def again(reason: str, reread: str, pause: float) -> Plan:
    """A re-read that failed, for another `reason`, is begun anew."""
    return Plan(reason, reread, pause, in_turn=False)


Step = tuple[SyncdError | str, Plan | None]
HEALTHY: Step = ("healthy", None)
READ: Step = ("read", None)


@pytest.mark.parametrize(
    "dialogue",
    [
        pytest.param(
            [
                (DEAD, resume("unreachable", FIRST)),
                (DEAD, resume("unreachable", 2 * FIRST)),
                (DEAD, resume("unreachable", 4 * FIRST)),
                HEALTHY,
                (DEAD, resume("unreachable", FIRST)),
            ],
            id="a lost connection: resume, ever later, until all was well for a while",
        ),
        pytest.param(
            [
                (GONE, begin("compacted")),
                (DEAD, again("unreachable", "compacted", FIRST)),
                (GONE, again("compacted", "compacted", 2 * FIRST)),
                READ,
                HEALTHY,
                (DEAD, resume("unreachable", FIRST)),
            ],
            id="a re-read that fails is begun again until it is done",
        ),
        pytest.param(
            [(SLOW, begin("behind")), (GONE, again("compacted", "behind", FIRST))],
            id="why it was begun stays what is told",
        ),
        pytest.param(
            [(GONE, begin("compacted")), (OTHER, again("epoch", "epoch", FIRST))],
            id="unless etcd turns out to be another",
        ),
        pytest.param(
            [(OTHER, begin("epoch")), (GONE, again("compacted", "epoch", FIRST))],
            id="which nothing later makes undone",
        ),
        pytest.param(
            [
                (DEAD, resume("unreachable", FIRST)),
                (DEAD, resume("unreachable", 2 * FIRST)),
                (GONE, begin("compacted")),
            ],
            id="how long etcd was away does not put off its turn",
        ),
        pytest.param(
            [(GONE, begin("compacted")), READ] * 5
            + [(GONE, Plan("compacted", "compacted", 3.2, in_turn=True))],
            id="re-reads that do not help come ever later",
        ),
        pytest.param(
            [
                (TOKEN, resume("auth", 0.0)),
                (TOKEN, resume("auth", FIRST)),
                (DENIED, resume("permission_denied", 2 * FIRST)),
                HEALTHY,
                (DENIED, resume("permission_denied", 0.0)),
            ],
            id="a fresh token is tried at once, and once",
        ),
        pytest.param(
            [(GONE, begin("compacted")), (TOKEN, again("auth", "compacted", 0.0))],
            id="also in a re-read",
        ),
    ],
)
def test_after_each_failure(dialogue: list[Step]) -> None:
    """A failure, and what is to be done."""
    draw, now = Upper(), 0.0
    recovery = Recovery(draw, HEARTBEAT, Turns(draw))
    recovery.read()
    for said, plan in dialogue:
        if isinstance(said, SyncdError):
            assert recovery.failed(said, 0.0) == plan
            assert plan is not None
            assert recovery.reread == plan.reread
        elif said == "read":
            recovery.read()
            assert recovery.reread is None
        else:
            for _ in range(2):
                recovery.healthy(now)
                now += HEALTHY_AFTER * HEARTBEAT


def test_the_first_read_stays_the_first() -> None:
    """Nothing is held, whatever happens on the way; and as nobody is served, it does not wait its turn."""
    draw = Upper()
    recovery = Recovery(draw, HEARTBEAT, Turns(draw))
    assert recovery.reread == "initial"
    for turn, error in enumerate((DEAD, GONE, OTHER, SLOW)):
        plan = recovery.failed(error, 0.0)
        assert (plan.reread, plan.in_turn, plan.pause) == ("initial", False, FIRST * 2**turn)
