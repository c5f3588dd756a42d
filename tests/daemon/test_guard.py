"""A guarded range of a real daemon: held over a restart, and let through by a command."""

from __future__ import annotations

import json
from pathlib import Path

from tests.cli.command import syncd
from tests.daemon.process import Daemon
from tests.etcd import Etcd
from tests.serve.local import wait_until


def test_a_disaster_is_held_until_somebody_accepts_it(new_etcd: Etcd, tmp_path: Path) -> None:
    """Served from the disk after a restart, too; the status tells the command, which ends it."""
    new_etcd.txn_put([(f"/a/{number}", "x") for number in range(10)])
    settings = {
        "ranges": [{"prefix": "/a/", "guard": {"max_shrink": "50%"}}],
        "cache": {"directory": str(tmp_path / "cache")},
    }
    with Daemon(new_etcd.endpoint, settings=settings) as daemon:
        daemon.wait_for("live")
        assert syncd("accept", "/a/", socket=daemon.socket).stdout == b"nothing of /a/ is held\n"
        wait_until(lambda: daemon.range_status()["cache"]["commits"], "a copy on disk")
        for restarted in (False, True):
            if restarted:
                daemon.kill()
                daemon.start()
            else:
                new_etcd.delete_prefix("/a/")
            wait_until(lambda: daemon.range_status()["held"], "the range is held")
            status = daemon.range_status()
            assert (status["held"]["keys"], status["held"]["would_be"], status["keys"]) == (10, 0, 10)
            assert daemon.ask("/v1/value?key=/a/1").body == b"x"
        said = syncd("status", socket=daemon.socket).stdout.decode()
        assert "of 10 keys only 0 would be left; if that is right: syncd accept /a/" in said
        checked = json.loads(syncd("check", "-c", str(daemon.config), "--json").stdout)
        [held] = [one for one in checked["findings"] if one["code"] == "range.held"]
        assert (held["level"], held["subject"]) == ("warning", "/a/")
        assert held["seen"].endswith("since of 10 keys only 0 would be left")
        assert held["cure"].endswith(f"\n  syncd accept --socket {daemon.socket} /a/")
        wrong = syncd("accept", "/b/", socket=daemon.socket)
        assert wrong.returncode == 1
        assert b"no range is called '/b/'" in wrong.stderr
        accepted = syncd("accept", "/a/", socket=daemon.socket)
        assert (accepted.returncode, accepted.stdout) == (0, b"accepted: /a/ is read from etcd again\n")
        daemon.wait_for("live")
        assert daemon.range_status()["keys"] == 0
        assert [line["accepted"] for line in daemon.log("no longer held")] == [True]
        daemon.assert_no_traceback()
