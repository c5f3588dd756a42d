"""The stage: a daemon that follows a guarded cluster through proxies, while a writer is at work."""

from __future__ import annotations

import asyncio
import json
import ssl
import time

import pytest

from tests.calls import RefusedError
from tests.reliability.conftest import staged
from tests.reliability.kinds import watched
from tests.reliability.members import b64
from tests.reliability.report import Report
from tests.reliability.stage import RANGE
from tests.reliability.tally import Tally
from tests.reliability.users import ROOT, ROOT_PASSWORD, USER
from tests.serve.local import target


async def test_the_daemon_follows_the_writer(guarded_version: str) -> None:
    """It is live, as its own user, and has what was acknowledged; the figures are those of its status."""
    async with staged(guarded_version) as (stage, told):
        await stage.until(lambda: _soon(len(told.acknowledgements) > 100), 30.0)
        async with stage.writer.paused():
            acknowledged = [revision for _, revision, _ in told.acknowledgements]
            assert acknowledged == sorted(set(acknowledged))
            assert all(at <= time.monotonic() for _, _, at in told.acknowledgements)
            assert acknowledged[-1] <= await stage.members.revision()
            await stage.recovered()
            status = stage.daemon.range_status()
            assert status["revision"] >= acknowledged[-1]
            assert status["endpoint"] == stage.road[await watched(stage)].url
            everything = {"key": b64(RANGE), "range_end": b64(b"/c0"), "count_only": True}
            snapshot = stage.daemon.ask(target("snapshot", prefix=RANGE)).lines
            head, held = snapshot[0], snapshot[1:-1]
            # Leases expire also while nobody writes: at the snapshot's own revision there are none to come.
            answer = await stage.members.ask("/kv/range", {**everything, "revision": head["revision"]})
        assert int(answer["count"]) == len(held) == head["count"]
        assert {record["key"].split("/")[2] for record in held if "key" in record} == {"a", "b", "c"}
        assert stage.lives.total("full_reads") == {"initial": 1}
        resident = stage.daemon.resident_bytes()
        await stage.status()
        assert stage.lives.peak_bytes >= resident > 1 << 20


async def test_the_user_may_read_the_mirrored_range_only(guarded_version: str) -> None:
    """Authentication is on: nobody else gets in, and the daemon's user does not see everything."""
    async with staged(guarded_version, writing=False) as (stage, _):
        stage.members.be(None)
        with pytest.raises(RefusedError, match="user name is empty"):
            await stage.members.ask("/kv/range", {"key": b64(RANGE)})
        stage.members.be(USER, "open 0")
        await stage.members.ask("/kv/range", {"key": b64(RANGE)})
        for path, key in (("/kv/range", b"/o/1"), ("/kv/put", RANGE)):
            with pytest.raises(RefusedError, match="permission denied"):
                await stage.members.ask(path, {"key": b64(key)})


async def test_with_tls_everybody_needs_a_certificate(guarded_version: str) -> None:
    """The daemon, the tests' calls and etcdctl show theirs; whoever shows none gets no answer."""
    async with staged(guarded_version, tls=True) as (stage, _):
        revision = stage.daemon.range_status()["revision"]
        await stage.until(lambda: _soon(stage.daemon.range_status()["revision"] > revision + 10), 30.0)
        member = stage.cluster.members[0]
        marker = ("get", "/c/a/!generation", "--print-value-only", f"--user={ROOT}:{ROOT_PASSWORD}")
        assert await asyncio.to_thread(member.etcdctl, *marker) == b"0\n"
        assert stage.cluster.keyring
        member.tls = ssl.create_default_context(cafile=stage.cluster.keyring.own.ca)
        with pytest.raises(OSError, match=r"(?i)certificate|EOF|closed"):
            member.get("/version")


async def test_a_new_generation_is_marked_before_the_daemon_sees_it(guarded_version: str) -> None:
    """The judge is asked first, revisions begin anew, and the daemon's marker is the new one at once."""
    async with staged(guarded_version) as (stage, told):
        before = await stage.members.revision()
        await stage.begin_generation(0, lambda member: member.wipe(), wiped=True)
        assert told.generation == 1
        assert told.asked_for[-1] >= before
        await stage.recovered()
        marker = stage.daemon.ask(target("value", key=RANGE + b"a/!generation"))
        assert marker.body == b"1"
        first = next(revision for generation, revision, _ in told.acknowledgements if generation == 1)
        assert first == 2  # the markers, of all groups at once


def test_a_report_tells_what_was_wrong() -> None:
    """And is empty of complaints when nothing was."""
    report = Report("3.5.30", 7, Tally())
    assert report.ok
    assert "0 violations" in str(report)
    for number in range(30):
        report.tally.violated("torn", f"reader {number}", "told", "true", 1.0, "epoch", number)
    assert not report.ok
    assert "reader 19" in str(report)
    assert "reader 20" not in str(report)
    assert "and 10 more violations" in str(report)
    assert '"rule": "torn"' in report.as_json()
    assert report.exit_code == 1


def test_a_report_tells_that_the_run_did_not_come_to_its_end() -> None:
    """In text and in JSON, with the command that does the same again; that is no violation."""
    report = Report("3.5.30", 7, Tally(), ("slow link",), 2.5)
    assert report.exit_code == 0
    report.aborted = "OSError: no more files"
    assert "ABORTED: OSError: no more files" in str(report)
    assert "tests/chaos --version 3.5.30 --seed 7 --minutes 2.5 --only 'slow link'" in str(report)
    report.faults.update({"slow link": 2})
    document = json.loads(report.as_json())
    assert document["aborted"] == report.aborted
    assert document["faults"] == {"slow link": 2}
    assert document["tally"]["violations"] == []
    assert report.exit_code == 3


def test_a_summary_names_the_faults_that_missed() -> None:
    """They were planned and made, but did not do what their name says; what did not come up is left out."""
    report = Report("3.5.30", 7, Tally())
    report.faults.update({"slow link": 2, "flapping": 1, "role revoked": 0})
    report.missed.update({"compacted in a full read": 2})
    hit, missed = report.summary.splitlines()[1:]
    assert hit.strip() == "3 faults hit: 1 flapping, 2 slow link"
    assert missed.strip() == "2 missed: 2 compacted in a full read"


async def _soon(condition: object) -> object:
    return condition
