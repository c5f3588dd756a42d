"""What costs much is done a little at a time: users in turns, nobody for ever, and not too many."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from typing import Any

import pytest

from syncd.keyrange import prefix_range
from syncd.serve.v3 import ordering, views
from syncd.serve.v3.errors import Code, EtcdError
from syncd.serve.v3.ordering import RUN, SORTING, Sorting
from syncd.serve.v3.ranges import RangeRequest, Selection, SortOrder, SortTarget
from syncd.serve.v3.turns import Turns
from syncd.serve.v3.views import WAITING
from syncd.store import Store, View
from tests.serve.local import Answer, wait_until
from tests.serve.others import Other, needs_root, open_to_all
from tests.serve.stand import Kept, Stand
from tests.serve.v3.posting import post

OTHER = Other(uid=4_000_001)
SOON = 30.0


def soon() -> float:
    """As long as anybody waits."""
    return asyncio.get_running_loop().time() + SOON


class Hall:
    """Those who have turns, and leave when told to; `seen` has them in the order of their turns."""

    def __init__(self, turns: Turns) -> None:
        self.turns = turns
        self.seen: list[str] = []
        self.over = asyncio.Semaphore(0)

    async def one(self, user: int, name: str) -> None:
        """Have a turn until it is over."""
        async with self.turns.turn(user, soon()):
            self.seen.append(name)
            await self.over.acquire()


async def settle() -> None:
    """Let all tasks go as far as they can."""
    for _ in range(10):
        await asyncio.sleep(0)


async def test_users_have_their_turns_one_after_another() -> None:
    """Who comes last is not behind all of those who ask for much."""
    hall = Hall(Turns(2, 100))
    async with asyncio.TaskGroup() as group:
        for number in range(6):
            group.create_task(hall.one(1, f"a{number}"))
        await settle()
        assert hall.seen == ["a0", "a1"]
        for number in range(2):
            group.create_task(hall.one(2, f"b{number}"))
        await settle()
        for _ in range(8):
            hall.over.release()
    assert hall.seen == ["a0", "a1", "a2", "b0", "a3", "b1", "a4", "a5"]


async def test_no_more_than_fit_may_wait() -> None:
    """One user leaves room for others; whose place is free again may be had again."""
    hall = Hall(Turns(1, 4))
    async with asyncio.TaskGroup() as group:
        for number in range(3):
            group.create_task(hall.one(1, f"a{number}"))
        await settle()
        with pytest.raises(EtcdError, match=r"^etcdserver: too many requests$") as refused:
            await hall.one(1, "one more")
        assert refused.value.code == Code.RESOURCE_EXHAUSTED
        group.create_task(hall.one(2, "b"))
        await settle()
        hall.over.release()
        await settle()
        group.create_task(hall.one(1, "a3"))
        for _ in range(9):
            hall.over.release()
    assert hall.seen[-1] == "a3"


async def test_whoever_gives_up_takes_nothing_along() -> None:
    """Late or cancelled, before the turn comes or in that very moment: it is the next one's."""
    turns = Turns(1, 10)
    hall = Hall(turns)
    async with asyncio.TaskGroup() as group:
        group.create_task(hall.one(1, "first"))
        await settle()
        late = asyncio.get_running_loop().time()
        with pytest.raises(EtcdError, match="too many requests"):
            async with turns.turn(2, late):
                pytest.fail("it had its turn")
        assert not turns._queues
        early = group.create_task(hall.one(2, "early"))
        moment = group.create_task(hall.one(3, "moment"))
        group.create_task(hall.one(4, "last"))
        await settle()
        hall.over.release()
        early.cancel()  # and has not left yet when the first one does
        for _ in range(10):
            if 3 in turns._queues:
                await asyncio.sleep(0)
        moment.cancel()
        hall.over.release()
    assert hall.seen == ["first", "last"]
    async with turns.turn(1, late):
        assert (turns._free, turns._places.taken, turns._queues) == (0, 0, {})
    assert turns._free == 1


def old(stand: Stand, revision: int, **how: Any) -> Answer:
    """A read of one key at a revision."""
    return post(stand.socket, "/kv/range", {"key": "L2E=", "revision": revision, "serializable": True}, **how)


@pytest.fixture
def held(stand: Stand, monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Views are made when this is set."""
    free, past = threading.Event(), Store.past

    def late(store: Store, revision: int) -> Callable[[], View]:
        make = past(store, revision)
        return lambda: make() if free.wait(SOON) else pytest.fail("nobody let it go")

    monkeypatch.setattr(Store, "past", late)
    for number in range(3 * WAITING):
        stand.write((b"/a", b"%d" % number))
    return free


@needs_root
def test_who_asks_for_many_revisions_leaves_room_for_others(stand: Stand, held: threading.Event) -> None:
    """Half of them are refused while others are made; another user's is the next one."""
    open_to_all(stand.socket)
    mine = 11
    with ThreadPoolExecutor(WAITING + 2) as pool:
        asked = [pool.submit(old, stand, mine + number) for number in range(WAITING)]
        wait_until(lambda: stand.context.views._turns._places.taken == WAITING // 2, "half of them wait")
        wait_until(lambda: sum(each.done() for each in asked) == WAITING // 2 - 1, "the others are refused")
        theirs = pool.submit(old, stand, 80, connect=OTHER.connected)
        wait_until(lambda: stand.context.views._turns._places.taken == WAITING // 2 + 1, "another waits")
        held.set()
        answer = theirs.result()
        answers = [each.result() for each in asked]
    assert answer.status == 200
    refused = [each.json for each in answers if each.status == 429]
    assert len(refused) == WAITING // 2 - 1
    assert {(each["code"], each["message"]) for each in refused} == {(8, "etcdserver: too many requests")}
    assert all(each.status in (200, 429) for each in answers)


def test_readers_of_one_revision_need_one_place(stand: Stand, held: threading.Event) -> None:
    """However many read the same pages, nobody is refused."""
    with ThreadPoolExecutor(2 * WAITING) as pool:
        first = pool.submit(old, stand, 11)
        asked = [pool.submit(old, stand, 12) for _ in range(2 * WAITING - 1)]
        wait_until(lambda: stand.context.views._turns._places.taken == 1, "one waits")
        held.set()
        assert {each.result().status for each in (first, *asked)} == {200}


def test_nobody_waits_for_a_view_for_ever(
    stand: Stand, held: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After etcd's own deadline it is refused; what is being made is not given up."""
    monkeypatch.setattr(views, "PATIENCE", 0.05)
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(old, stand, 11)
        wait_until(lambda: not stand.context.views._turns._free, "one is made")
        assert old(stand, 12).status == 429
        held.set()
        assert first.result().status == 200
    assert old(stand, 12).status == 200


async def test_large_sorts_wait_in_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small ones do not; too many large ones are refused, and so are late ones."""
    monkeypatch.setattr(ordering, "PATIENCE", 0.05)
    sorting = Sorting()
    kept = Kept(prefix_range(b"/"))
    kept.fill({b"/%05d" % number: b"%d" % -number for number in range(RUN + 1)}, 10)
    every = RangeRequest(
        key=b"/", range_end=b"0", sort_order=SortOrder.ASCEND, sort_target=SortTarget.VALUE, limit=1
    )

    def large() -> Selection:
        return Selection(kept.store.view(), every)

    async with AsyncExitStack() as busy:
        for _ in range(SORTING):
            await busy.enter_async_context(sorting._turns.turn(1, soon()))
        small = RangeRequest(key=b"/00001", sort_order=SortOrder.ASCEND, sort_target=SortTarget.VALUE)
        await sorting.sort(Selection(kept.store.view(), small), 1)
        refused = await asyncio.gather(
            *(sorting.sort(large(), 1) for _ in range(ordering.WAITING)), return_exceptions=True
        )
        assert all(isinstance(each, EtcdError) for each in refused)
        monkeypatch.setattr(ordering, "PATIENCE", SOON)
        async with asyncio.TaskGroup() as group:
            waits = group.create_task(sorting.sort(selection := large(), 2))
            await settle()
            assert not waits.done()
            await busy.aclose()
    assert len(selection.order or ()) == 2
