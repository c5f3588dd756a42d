"""What comes of comparing what members tell, in tables: also what real ones never do."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from syncd.config import TLS, Etcd
from syncd.diagnosis.members import LAG, WRITES_A_SECOND, Member, member_findings
from syncd.findings import Finding
from syncd.gateway import Header, NoGateway
from syncd.gateway.membership import Alarm, ListedMember
from syncd.gateway.messages import StatusAnswer
from tests.diagnosis.gateways import findings_of

URLS = tuple(f"http://10.0.0.{i}:2379" for i in range(1, 4))
CLUSTER = 0xC1


def codes(findings: Sequence[Finding]) -> list[str]:
    """In their order."""
    return [finding.code for finding in findings]


def member(
    number: int,
    revision: int = 5000,
    *,
    cluster: int = CLUSTER,
    leader: int = 1,
    learner: bool = False,
    at: float = 0.0,
    alarms: tuple[Alarm, ...] = (),
    says: tuple[str, ...] = (),
    listed: tuple[ListedMember, ...] = (),
) -> Member:
    """Make a member that is well in all that is not said."""
    header = Header(cluster, revision, 3, number)
    status = StatusAnswer(header, "3.5.16", leader=leader, is_learner=learner, db_size=25 << 20)
    return Member(URLS[number - 1], "3.5.16", header, status, at, alarms, says, listed)


LISTED = tuple(ListedMember(i, f"member{i}", (URLS[i - 1],)) for i in range(1, 4))


def test_members_that_are_well() -> None:
    """Each is told with its version, its part, its cluster, where it is and how large."""
    one, two = findings_of([member(1, listed=LISTED), member(2, 5001, listed=LISTED)], URLS)
    assert codes([one, two]) == ["etcd.ok", "etcd.ok"]
    assert one.subject == URLS[0]
    assert one.seen == "etcd 3.5.16, leader, cluster c1, revision 5000, database 25.0 MiB"
    assert two.seen == "etcd 3.5.16, follower, cluster c1, revision 5001, database 25.0 MiB"


def test_of_a_member_that_did_not_answer_nothing_is_told() -> None:
    """Whoever asked it knows the error."""
    lost = Member(URLS[2], error=NoGateway(URLS[2], "gone"))
    assert codes(findings_of([member(1), lost], URLS)) == ["etcd.ok"]
    assert findings_of([lost], URLS) == []
    assert findings_of([], URLS) == []


def test_a_member_without_a_leader_stops_syncd() -> None:
    """However fresh it is; what else is to be said of it comes after that."""
    finding, _ = findings_of([member(1, leader=0), member(2, 50)], URLS[:2])
    assert (finding.code, finding.level, finding.subject) == ("etcd.no_leader", "error", URLS[0])
    assert finding.cure.endswith(f"\n  ETCDCTL_API=3 etcdctl --endpoints={URLS[0]},{URLS[1]} endpoint status")


def test_etcdctl_gets_in_as_syncd_does() -> None:
    """With its certificates; and as root where there are users."""
    etcd = Etcd(endpoints=(URLS[0],), tls=TLS(ca_file=Path("/ca.pem")), user="me")
    found = member_findings([member(1, leader=0)], etcd)
    assert f"etcdctl --endpoints={URLS[0]} --cacert=/ca.pem --user=root endpoint status" in found[0].cure


@pytest.mark.parametrize(
    ("revision", "at", "lags"),
    [
        (9000, 0.0, False),
        (9000 - LAG, 0.0, False),
        (9000 - LAG - 1, 0.0, True),
        (9000 - LAG - 1, 0.1, False),
        (9000 - LAG - 1, -0.1, False),
        (9000 - LAG - WRITES_A_SECOND // 10 - 1, 0.1, True),
        (1, 0.1, True),
        (0, 0.0, False),
    ],
)
def test_a_member_lags_when_writes_in_between_do_not_explain_it(revision: int, at: float, lags: bool) -> None:
    """Members are asked one after the other; and a revision that was not told is none."""
    findings = findings_of([member(1, 9000), member(2, revision, at=at), member(3, 8999)], URLS)
    assert codes(findings) == ["etcd.ok", "etcd.lagging" if lags else "etcd.ok", "etcd.ok"]
    if lags:
        assert f"{9000 - revision:,} behind {URLS[0]}" in findings[1].seen
        assert f"--endpoints={URLS[0]},{URLS[1]} endpoint status" in findings[1].cure


def test_nobody_lags_behind_another_cluster() -> None:
    """Its revisions are others; that they are two clusters is what is told."""
    findings = findings_of([member(1, 9_000_000), member(2, 5, cluster=0xC2), member(3)], URLS)
    assert codes(findings) == ["etcd.ok", "etcd.ok", "etcd.lagging", "etcd.other_cluster"]
    assert findings[-1].level == "error"
    assert findings[-1].subject == "etcd.endpoints"
    assert findings[-1].seen == f"{URLS[0]}, {URLS[2]}: cluster c1; {URLS[1]}: cluster c2"


def test_what_a_member_complains_of_is_told_in_its_words() -> None:
    """Later versions may know more than alarms."""
    _, finding = findings_of([member(1, says=("the moon is full",))], URLS[:1])
    assert (finding.code, finding.seen) == ("etcd.alarm", "etcd says of itself: the moon is full")
    assert "endpoint health" in finding.cure


def test_an_alarm_is_told_once_of_the_member_that_raised_it() -> None:
    """All members tell of all alarms; one that is unknown has its place, too."""
    alarms = (Alarm(2, "NOSPACE"), Alarm(0, "CORRUPT"), Alarm(9, "MELTDOWN"))
    findings = findings_of([member(1, alarms=alarms), member(2, alarms=alarms)], URLS[:2])
    assert codes(findings) == ["etcd.ok", "etcd.ok", *["etcd.alarm"] * 3]
    corrupt, unknown, full = findings[2:]
    assert (full.subject, full.seen) == (URLS[1], "the alarm NOSPACE was raised by member 2")
    assert f"  ETCDCTL_API=3 etcdctl --endpoints={URLS[0]},{URLS[1]} compact 5000\n" in full.cure
    assert corrupt.seen == "the alarm CORRUPT was raised"
    assert "different data" in corrupt.means
    assert (unknown.subject, unknown.seen) == (URLS[0], "the alarm MELTDOWN was raised by member 9")


HTTP_1, HTTP_2, HTTP_3 = URLS


@pytest.mark.parametrize(
    ("endpoints", "answered", "listed", "missing"),
    [
        (URLS, (1, 2, 3), LISTED, None),
        (URLS[:2], (1, 2), LISTED, "member3 at http://10.0.0.3:2379"),
        (URLS[:1], (1,), LISTED, "member2 at http://10.0.0.2:2379, member3 at http://10.0.0.3:2379"),
        # One that is down is known by what it advertises, whatever the scheme and the case
        (URLS, (1, 2), LISTED, None),
        ((HTTP_1, HTTP_2, "HTTPS://10.0.0.3:2379"), (1, 2), LISTED, None),
        # … or may be any of those that are missing
        ((HTTP_1, "http://etcd-b.example:2379"), (1,), LISTED, None),
        # What answers is known by its id, whatever it advertises
        (
            URLS,
            (1, 2, 3),
            tuple(ListedMember(i, f"member{i}", ("http://localhost:2379",)) for i in (1, 2, 3)),
            None,
        ),
        (
            URLS[:2],
            (1, 2),
            tuple(ListedMember(i, "", ("http://0.0.0.0:2379", "http://[::]:x")) for i in (1, 2, 3)),
            "3 at http://0.0.0.0:2379 or http://[::]:x",
        ),
        # One that was never started, and one that must not be asked
        (URLS[:2], (1, 2), (*LISTED[:2], ListedMember(3)), None),
        (URLS[:2], (1, 2), (*LISTED[:2], ListedMember(3, "l", (HTTP_3,), is_learner=True)), None),
        (URLS[:1], (1,), (), None),
    ],
)
def test_members_that_are_not_configured(
    endpoints: tuple[str, ...],
    answered: tuple[int, ...],
    listed: tuple[ListedMember, ...],
    missing: str | None,
) -> None:
    """Told only when it is sure: of names alone, nobody can say who is who."""
    findings = findings_of([member(i, listed=listed) for i in answered], endpoints)
    told = [finding for finding in findings if finding.code == "etcd.members_not_configured"]
    assert [finding.seen for finding in told] == (
        [f"the cluster has other members, too: {missing}"] if missing else []
    )
    assert all(finding.level == "note" and finding.subject == "etcd.endpoints" for finding in told)
