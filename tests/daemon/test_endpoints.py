"""A daemon and a cluster whose members fail: it goes on with another one, and tells why."""

from typing import Any

import pytest

from tests.cli.command import syncd
from tests.daemon.process import Daemon
from tests.etcd import Cluster
from tests.serve.local import wait_until


def in_use(daemon: Daemon) -> dict[str, Any]:
    """The endpoint that is asked."""
    [found] = [one for one in daemon.status()["etcd"]["endpoints"] if one["current"]]
    return dict(found)


def told_of(daemon: Daemon, url: str) -> dict[str, Any]:
    """What the status says of an endpoint."""
    return dict(next(one for one in daemon.status()["etcd"]["endpoints"] if one["url"] == url))


@pytest.mark.parametrize(("way", "back"), [("kill", "start"), ("pause", "resume")])
def test_each_member_in_use_fails_in_turn(way: str, back: str) -> None:
    """Another one takes over; the one that failed is in quarantine, with the reason, until it is well."""
    with Cluster() as cluster, Daemon(cluster.endpoints) as daemon:
        daemon.wait_for("live")
        for turn in range(2):
            used = in_use(daemon)["url"]
            member = next(one for one in cluster.members if one.endpoint == used)
            others = [one for one in cluster.members if one is not member]
            getattr(member, way)()
            wait_until(lambda: in_use(daemon)["url"] != used, "another member is asked")  # noqa: B023
            wait_until(lambda: any(other.leads() for other in others), "the others have a leader")  # noqa: B023
            daemon.wait_for_revision(others[0].put("/a", str(turn))).wait_for("live")
            quarantine = told_of(daemon, used)["quarantine"]
            assert quarantine["reason"]
            assert quarantine["seconds"] >= 0
            shown = syncd("status", socket=daemon.socket).stdout.decode()
            assert f"etcd {used}, version unknown, " in shown
            assert "in quarantine for " in shown
            getattr(member, back)()
            wait_until(lambda: told_of(daemon, used)["quarantine"] is None, "the member is back")  # noqa: B023
            assert told_of(daemon, used)["failures"] == 0
            assert in_use(daemon)["url"] != used
            assert [line["endpoint"] for line in daemon.log("endpoint well again")][-1] == used
        assert daemon.range_status()["counters"]["full_reads"] == {"initial": 1}
        daemon.assert_no_traceback()
