"""The doctor by itself, with causes and a clock of the test's."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, MutableMapping
from contextlib import asynccontextmanager
from typing import Any

import pytest
from structlog.testing import capture_logs

from syncd.config import Etcd
from syncd.daemon import doctor as module
from syncd.daemon.doctor import LOOK_AGAIN, SAY_AGAIN, Doctor
from syncd.diagnosis.catalogue import found
from syncd.errors import SyncdError
from syncd.findings import Finding
from syncd.gateway import Compacted, GatewayError, Unavailable, Unreachable
from syncd.keyrange import KeyRange, prefix_range
from tests.until import until

ONE, TWO = "https://etcd-1:2379", "https://etcd-2:2379"
MINE, THEIRS = prefix_range(b"/mine/"), prefix_range(b"/theirs/")
DOWN, SICK = Unreachable(ONE, "down", "refused"), Unavailable(ONE, 14, "cannot")


class Practice:
    """A doctor whose looks find what `causes` says, and who waits for nothing."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        self.causes: dict[type[GatewayError], str] = {
            Unreachable: "tcp.refused",
            Unavailable: "tls.server_cert_no_client_auth",
        }
        self.looks = 0
        self.lines: list[MutableMapping[str, Any]] = []
        self.doctor = Doctor(Etcd(endpoints=(ONE, TWO)), lambda: self.now)
        monkeypatch.setattr(module, "GRACE", 0.0)
        monkeypatch.setattr(module, "why", self._why)

    async def _why(self, error: GatewayError, _: Etcd, __: KeyRange | None = None) -> list[Finding]:
        await asyncio.sleep(0)
        self.looks += 1
        return [found(self.causes[type(error)], error.endpoint, "seen")]

    @property
    def codes(self) -> list[str]:
        """What the status says."""
        return [finding.code for finding in self.doctor.findings]

    @asynccontextmanager
    async def open(self) -> AsyncIterator[list[str]]:
        """Let the doctor work; the codes that the log is told."""
        said: list[str] = []
        with capture_logs() as self.lines:
            async with asyncio.TaskGroup() as group:
                task = group.create_task(self.doctor.run(), name="doctor")
                try:
                    yield said
                finally:
                    task.cancel()
                    said += [line["code"] for line in self.lines if "code" in line]


@pytest.fixture
def practice(monkeypatch: pytest.MonkeyPatch) -> Practice:
    """Open one."""
    return Practice(monkeypatch)


async def test_a_cause_is_found_once_and_is_gone_with_the_trouble(practice: Practice) -> None:
    """However often a range fails, and however many ranges fail for it."""
    async with practice.open() as said:
        for _ in range(3):
            practice.doctor.trouble(MINE, DOWN)
            practice.doctor.trouble(THEIRS, DOWN)
            await until(lambda: practice.codes == ["tcp.refused"])
        assert practice.looks == 1
        practice.doctor.trouble(MINE, None)
        assert practice.codes == ["tcp.refused"]
        practice.doctor.trouble(THEIRS, None)
        assert practice.codes == []
    assert said == ["tcp.refused"]


async def test_a_range_that_stays_ill_of_one_thing_is_well_of_another(practice: Practice) -> None:
    """What an endpoint says last is what counts there; another endpoint is another matter."""
    async with practice.open():
        practice.doctor.trouble(MINE, DOWN)
        await until(lambda: practice.codes == ["tcp.refused"])
        practice.doctor.trouble(MINE, SICK)
        await until(lambda: practice.codes == ["tls.server_cert_no_client_auth"])
        practice.doctor.trouble(MINE, Unreachable(TWO, "down", "refused"))
        await until(lambda: practice.codes == ["tls.server_cert_no_client_auth", "tcp.refused"])


async def test_a_cause_that_comes_in_place_of_another_is_found(practice: Practice) -> None:
    """The symptom is the same, so it is looked into again, but not more than once a minute."""
    async with practice.open() as said:
        practice.doctor.trouble(MINE, SICK)
        await until(lambda: practice.codes == ["tls.server_cert_no_client_auth"])
        practice.causes[Unavailable] = "tls.server_cert_untrusted_by_etcd"
        practice.now = LOOK_AGAIN - 1
        practice.doctor.trouble(MINE, SICK)
        practice.doctor.trouble(THEIRS, DOWN)
        await until(lambda: "tcp.refused" in practice.codes)
        assert "tls.server_cert_no_client_auth" in practice.codes
        practice.now = LOOK_AGAIN
        practice.doctor.trouble(MINE, SICK)
        await until(lambda: "tls.server_cert_untrusted_by_etcd" in practice.codes)
        assert "tls.server_cert_no_client_auth" not in practice.codes
    assert said == ["tls.server_cert_no_client_auth", "tcp.refused", "tls.server_cert_untrusted_by_etcd"]


async def test_what_comes_and_goes_is_said_again_only_after_a_while(practice: Practice) -> None:
    """The status always says it."""
    async with practice.open() as said:
        for practice.now in (0.0, SAY_AGAIN - 1, SAY_AGAIN):
            practice.doctor.trouble(MINE, DOWN)
            await until(lambda: practice.codes == ["tcp.refused"])
            practice.doctor.trouble(MINE, None)
    assert said == ["tcp.refused"] * 2


async def test_a_diagnosis_that_fails_ends_nothing(practice: Practice) -> None:
    """It is told with its traceback, once; and what the error says by itself has to do."""
    practice.causes = {}
    async with practice.open():
        practice.doctor.trouble(MINE, DOWN)
        await until(lambda: practice.codes == ["tcp.refused"])
    [line] = [each for each in practice.lines if each["event"] == "the diagnosis failed"]
    assert line["exc_info"] is True


async def test_what_is_over_before_the_look_is_none(practice: Practice) -> None:
    """Nothing is found and nothing said of what is well again; what is not the gateway's is passed over."""
    async with practice.open() as said:
        practice.doctor.trouble(MINE, DOWN)
        practice.doctor.trouble(MINE, None)
        practice.doctor.trouble(MINE, SyncdError("something else"))
        practice.doctor.trouble(MINE, Compacted(ONE, "gone"))
        practice.doctor.trouble(THEIRS, SICK)
        await until(lambda: practice.codes == ["tls.server_cert_no_client_auth"])
    assert said == ["tls.server_cert_no_client_auth"]
