"""One question for many: shared, but never an answer from before it was asked."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from syncd.errors import SyncdError
from syncd.sync.rounds import Rounds


class Etcd:
    """Answers, when it is let, with the number of the question; or with an error."""

    def __init__(self) -> None:
        self.asked = 0
        self.may_answer = asyncio.Event()
        self.error: SyncdError | None = None

    async def ask(self) -> int:
        """One question."""
        self.asked += 1
        asked = self.asked
        await self.may_answer.wait()
        if self.error:
            raise self.error
        return asked


@asynccontextmanager
async def asking(etcd: Etcd) -> AsyncIterator[Rounds[int]]:
    """Ask this etcd."""
    rounds = Rounds(etcd.ask)
    async with asyncio.TaskGroup() as group:
        task = group.create_task(rounds.run(), name="rounds")
        yield rounds
        task.cancel()


async def settled() -> None:
    """Let everybody come to where they wait."""
    for _ in range(5):
        await asyncio.sleep(0)


async def test_all_who_come_meanwhile_share_the_next_answer() -> None:
    """A hundred readers are two questions: the one under way tells of a moment before they came."""
    etcd = Etcd()
    async with asking(etcd) as rounds:
        first = rounds.answer()
        await settled()
        others = [rounds.answer() for n in range(100)]
        await settled()
        assert etcd.asked == 1
        etcd.may_answer.set()
        await settled()
        assert first.result() == 1
        assert {other.result() for other in others} == {2}
        assert await rounds.answer() == 3


async def test_an_error_is_shared_too_and_not_kept() -> None:
    """So that a hundred readers do not wait for one deadline after the other."""
    etcd = Etcd()
    async with asking(etcd) as rounds:
        etcd.error = SyncdError("no answer")
        etcd.may_answer.set()
        results = await asyncio.gather(*(rounds.answer() for _ in range(100)), return_exceptions=True)
        assert {type(result) for result in results} == {SyncdError}
        assert etcd.asked == 1
        etcd.error = None
        assert await rounds.answer() == 2


async def test_the_impatient_cut_no_question() -> None:
    """Neither their own, which others may wait for, nor the next; and nothing is asked for nobody."""
    etcd = Etcd()
    async with asking(etcd) as rounds:
        tasks = [rounds.answer() for n in range(3)]
        await settled()
        late = [rounds.answer() for n in range(3)]
        await settled()
        for one in (tasks[0], *late):
            one.cancel()
        await settled()
        etcd.may_answer.set()
        await settled()
        assert [task.result() for task in tasks[1:]] == [1, 1]
        assert tasks[0].cancelled()
        assert etcd.asked == 1


async def test_a_fault_of_the_program_is_no_answer() -> None:
    """It is raised where it happens."""

    async def broken() -> int:
        raise ZeroDivisionError

    rounds = Rounds(broken)
    waiting = rounds.answer()
    with pytest.raises(ZeroDivisionError):
        await rounds.run()
    assert not waiting.done()
