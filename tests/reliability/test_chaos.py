"""The reliability test itself, for about a minute with an old etcd, and with a new one and TLS."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import pytest

from tests.reliability.chaos import Chaos, chosen, greedy, main, strange
from tests.reliability.faults import FAULTS
from tests.reliability.report import summaries
from tests.reliability.schedule import rounds

SEEDS = {"3.4.23": 97975, "3.5.30": 19284}
"""In ROUNDS they make 23 kinds together; among them, etcd is wiped, restored and compacted, and certificates
are renewed."""

TLS = {"3.5.30"}
"""With which version certificates are needed, and fail."""

ROUNDS = 5
"""Some 30 seconds of each; starting and judging come on top."""

LEFT_OUT = {
    "auth token expired",
    "authority replaced",
    "client certificate spoiled",
    "flapping",
    "members restarted",
    "members upgraded",
    "password changed",
    "restored, new cluster id",
    "slow link",
    "wiped, new cluster id",
}
"""Some of them take long; like all kinds, they happen by themselves in test_faults."""

MOST_MISSED = 3
"""Some faults depend on what the daemon does just then, and on how busy the machine is."""

LEAST_EVENTS = 5_000


async def test_no_reader_is_told_anything_wrong(guarded_version: str) -> None:
    """Real faults, two hundred readers, and not one line that doesn't hold against what etcd did."""
    chaos = Chaos(guarded_version, SEEDS[guarded_version], tls=guarded_version in TLS)
    report, tally = chaos.report, chaos.report.tally
    try:
        await chaos.run(most=ROUNDS)
    finally:
        summaries.append(report.summary)
        print(report)  # pytest shows it when the test fails
    assert report.ok, f"{len(tally.violations)} violations, see above; logs are in {chaos.evidence}"
    assert report.rounds == ROUNDS
    assert report.missed.total() <= MOST_MISSED
    assert tally.events >= LEAST_EVENTS
    assert min(tally.batches, tally.snapshots, tally.reads, tally.resumes) > 0
    assert tally.resyncs or guarded_version in TLS  # whose faults lose no history
    assert min(report.written, report.compared) > 0


def test_both_seeds_make_most_kinds() -> None:
    """So that a minute of each is worth something."""
    made = {
        fault.kind
        for version, seed in SEEDS.items()
        for planned in islice(rounds(chosen(version, (), tls=version in TLS), seed), ROUNDS)
        for fault in planned.faults
    }
    assert {kind.name for kind in set(FAULTS) - made} == LEFT_OUT


def test_kinds_are_chosen_by_parts_of_their_names() -> None:
    """All of them without a choice; a name that fits none is a mistake."""
    assert {kind.name for kind in chosen("3.5.30", ["wiped", "slow"])} == {
        "wiped, same cluster id",
        "wiped, new cluster id",
        "slow link",
    }
    assert set(chosen("3.5.30", ())) <= set(FAULTS)
    assert [kind.name for kind in chosen("3.5.30", ["authority"], tls=True)] == ["authority replaced"]
    with pytest.raises(ValueError, match="slow link"):
        chosen("3.5.30", ["no such thing"])


def test_mistakes_end_with_2(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Before anything is started."""
    for mistake in (["--only", "no such thing"], ["--version", "1.0"], ["--minutes", "long"]):
        with pytest.raises(SystemExit) as caught:
            main(mistake)
        assert caught.value.code == 2
    assert "no etcd 1.0" in capsys.readouterr().err


def test_a_daemon_of_72_to_90_mib_is_not_greedy() -> None:
    """Those are what the runs show; a daemon that keeps what it should let go of needs more and more."""
    assert not greedy(90 << 20)
    assert not greedy(256 << 20)
    assert greedy((256 << 20) + 1)


def test_strange_lines_of_a_log() -> None:
    """Errors that no fault explains, tracebacks and what is no JSON; warnings are part of an outage."""
    told = '{"event":"etcd cannot be had","level":"error","code":"auth.wrong_password"}'
    usual = f'{{"event":"etcd lost","level":"warning","error":"no connection"}}\n{told}\n'
    assert strange(usual) == []
    for line in (
        '{"event":"oops","level":"error"}',
        '{"event": "oops", "level": "critical"}',
        '{"event":"etcd cannot be had","level":"error","code":"tls.ca_expired"}',
        '{"event":"etcd lost"}',
        "Traceback (most recent call last):",
        "oops",
        "[]",
    ):
        assert strange(f"{usual}{line}\n{usual}") == strange(line, tls=True) == [line]


def test_unusable_files_are_logged_as_errors() -> None:
    """That is so with TLS alone: without it, nobody has any."""
    line = '{"event":"file unusable","level":"error","code":"tls.key_mismatch"}'
    assert strange(line) == [line]
    assert strange(line, tls=True) == []
