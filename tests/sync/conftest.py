"""What all tests of the mirror share."""

import pytest

from syncd.sync import heartbeat


@pytest.fixture(autouse=True)
def _etcds_queues_are_short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Old versions' answers count after a tenth of the usual silence, so that tests need not wait seconds.

    Between etcd and a test there is nothing that could hold an event back for longer.
    """
    monkeypatch.setattr(heartbeat, "SETTLE", 0.1)
