"""What real members tell of themselves, alone and in clusters, and what comparing them comes to."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from syncd.diagnosis.members import Member, ask_member
from syncd.findings import Finding
from syncd.gateway import WrongPassword
from syncd.gateway.membership import Alarm
from syncd.keyrange import KeyRange, prefix_range
from tests.calls import RefusedError
from tests.diagnosis.gateways import alone, findings_of
from tests.diagnosis.shell import commands, paste
from tests.etcd import Cluster, Etcd, reason_missing
from tests.gateway.fake import answer, fake_gateway
from tests.until import until


async def asked(url: str, keys: KeyRange | None = None, **settings: Any) -> Member:
    """Ask one member."""
    gateway, _ = alone(url, **{"request": 1.0, **settings})
    async with gateway:
        return await ask_member(gateway, keys)


async def asked_all(urls: Sequence[str]) -> list[Member]:
    """Ask them side by side, as `syncd check` does."""
    return list(await asyncio.gather(*(asked(url) for url in urls)))


def codes(findings: Sequence[Finding]) -> list[str]:
    """In their order."""
    return [finding.code for finding in findings]


def leader(etcd: Etcd) -> int:
    """Which leader a member has; 0 when none, or no answer."""
    try:
        return int(etcd.ask("/maintenance/status", {}).get("leader", 0))
    except (OSError, RefusedError):
        return 0


def raft_index(etcd: Etcd) -> int:
    """How far its log has come."""
    return int(etcd.ask("/maintenance/status", {})["raftIndex"])


async def test_a_real_member_and_its_alarms(etcd_version: str, tmp_path: Path) -> None:
    """On every version; and the commands that are told as the cure do cure."""
    with Etcd(etcd_version, ["--quota-backend-bytes=400000"]) as etcd:
        one = await asked(etcd.endpoint)
        assert one.error is None
        assert (one.version, one.alarms, one.says) == (etcd_version, (), ())
        assert [found.client_urls for found in one.listed] == [(etcd.endpoint,)]
        [well] = findings_of([one], [etcd.endpoint])
        assert well.seen.startswith(
            f"etcd {etcd_version}, leader, cluster {one.header.cluster_id:x}, revision 1, database "
        )
        assert well.seen.endswith(" KiB")
        etcd.use_up_space("/a")
        etcd.ask("/maintenance/alarm", {"action": "ACTIVATE", "memberID": 0, "alarm": "CORRUPT"})
        one = await asked(etcd.endpoint)
        assert set(one.alarms) == {Alarm(one.header.member_id, "NOSPACE"), Alarm(0, "CORRUPT")}
        findings = findings_of([one], [etcd.endpoint])
        assert codes(findings) == ["etcd.ok", "etcd.alarm", "etcd.alarm"]
        assert {finding.level for finding in findings[1:]} == {"warning"}
        etcd.ask("/maintenance/alarm", {"action": "DEACTIVATE", "memberID": 0, "alarm": "CORRUPT"})
        for command in commands(findings[2].cure):
            paste(command, tmp_path, etcd_version)
        etcd.put("/a", "there is room again")
        assert (await asked(etcd.endpoint)).alarms == ()


async def test_with_authentication(etcd_version: str, tmp_path: Path) -> None:
    """3.5.30 tells its status to administrators alone: there, a read of the user's own has to do."""
    password, wrong = tmp_path / "password", tmp_path / "wrong"
    password.write_text("secret")
    wrong.write_text("guess")
    secretive = etcd_version == "3.5.30"
    with Etcd(etcd_version, [] if etcd_version == "3.3.25" else ["--bcrypt-cost=4"]) as etcd:
        etcd.put("/a", "")
        etcd.guard("reader", "secret", "/")
        for user in ("root", "reader"):
            one = await asked(etcd.endpoint, prefix_range(b"/"), user=user, password_file=password)
            assert one.error is None
            assert (one.version, one.header.revision) == (etcd_version, 2)
            assert one.header.member_id == one.listed[0].id
            assert (one.status is None) is (secretive and user == "reader")
            [well] = findings_of([one], [etcd.endpoint])
            assert well.code == "etcd.ok"
        if secretive:
            assert well.seen == f"etcd 3.5.30, cluster {one.header.cluster_id:x}, revision 2"
            one = await asked(etcd.endpoint, user="reader", password_file=password)
            assert (one.error, one.header.revision) == (None, 0)
            assert codes(findings_of([one], [etcd.endpoint])) == ["etcd.ok"]
        # The status needs no token before 3.5.30; the rest is missing, and the error says why.
        one = await asked(etcd.endpoint, user="reader", password_file=wrong)
        assert isinstance(one.error, WrongPassword)
        assert (one.status is None) is secretive
        assert one.listed == ()


async def test_a_cluster_that_loses_its_members(etcd_version: str) -> None:
    """One is killed: the others are well. Two: the last one has no leader, and says so. Then it is paused."""
    with Cluster(etcd_version) as cluster:
        urls = cluster.endpoints
        # The leader stays: no election comes in between.
        last = cluster.leader()
        second, third = (member for member in cluster.members if member is not last)
        findings = findings_of(await asked_all(urls), urls)
        assert codes(findings) == ["etcd.ok"] * 3
        assert [finding.subject for finding in findings if ", leader," in finding.seen] == [last.endpoint]
        [_, note] = findings_of([await asked(last.endpoint)], [last.endpoint])
        assert note.code == "etcd.members_not_configured"
        assert second.endpoint in note.seen
        assert third.endpoint in note.seen
        third.kill()
        members = await asked_all(urls)
        assert [member.url for member in members if member.error] == [third.endpoint]
        assert codes(findings_of(members, urls)) == ["etcd.ok"] * 2
        second.kill()
        await until(lambda: not leader(last))
        members = await asked_all(urls)
        [finding] = findings_of(members, urls)
        assert (finding.code, finding.level, finding.subject) == ("etcd.no_leader", "error", last.endpoint)
        assert {member.url for member in members if member.error} == {second.endpoint, third.endpoint}
        last.pause()
        assert (await asked(last.endpoint, request=0.2)).error is not None


async def test_a_learner_is_told(tmp_path: Path) -> None:
    """With the command that lets it vote, and does so."""
    with Cluster(size=1) as cluster:
        [voter] = cluster.members
        learner = Etcd(flags=("--initial-cluster-state=existing",), name="learner")
        try:
            learner.initial_cluster = f"{voter.initial_cluster},learner={learner.peer_url}"
            learner.cluster_token = voter.cluster_token
            voter.ask("/cluster/member/add", {"peerURLs": [learner.peer_url], "isLearner": True})
            learner.launch()
            urls = [voter.endpoint, learner.endpoint]
            await until(lambda: leader(learner))
            members = await asked_all(urls)
            well, finding = findings_of(members, urls)
            assert well.code == "etcd.ok"
            assert (finding.code, finding.level, finding.subject) == (
                "etcd.learner",
                "warning",
                learner.endpoint,
            )
            # It is in no endpoint, and need not be.
            assert codes(findings_of(await asked_all(urls[:1]), urls[:1])) == ["etcd.ok"]
            # Only one that votes can be asked for that.
            [promote] = commands(finding.cure)
            await until(lambda: raft_index(learner) == raft_index(voter))
            paste(promote, tmp_path, voter.version)
            assert "etcd.learner" not in codes(findings_of(await asked_all(urls), urls))
        finally:
            learner.close()


async def test_two_clusters_in_one_configuration(new_etcd: Etcd) -> None:
    """A mistake that syncd would not live with: it is told which endpoint belongs to which."""
    with Etcd() as stranger:
        urls = [new_etcd.endpoint, stranger.endpoint]
        *_, finding = findings_of(await asked_all(urls), urls)
        assert finding.code == "etcd.other_cluster"
        assert all(url in finding.seen for url in urls)


async def test_what_is_no_etcd_tells_nothing() -> None:
    """And nothing is raised."""
    async with fake_gateway({"/v3/maintenance/status": answer({"status": "fine"})}) as fake:
        one = await asked(fake.url)
    assert one.header.cluster_id == 0
    assert one.error is not None


async def test_alarms_are_asked_for_only_where_the_status_does_not_tell_them(new_etcd: Etcd) -> None:
    """That question goes through etcd's log, where it once did harm."""
    if reason := reason_missing("3.3.25"):
        pytest.skip(f"NOT TESTED with etcd 3.3.25: {reason}")
    with Etcd("3.3.25") as old:
        for etcd, entries in ((new_etcd, 0), (old, 1)):
            before = raft_index(etcd)
            await asked(etcd.endpoint)
            assert raft_index(etcd) - before == entries
