"""A snapshot that was left before its end is never taken for a whole one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from syncd.client import AsyncClient, Client, CutError
from tests.client.fronts import Front
from tests.serve.stand import Stand, serving


@pytest.fixture
def stand() -> Iterator[Stand]:
    """Serve three keys."""
    with serving() as running:
        yield running


@pytest.mark.parametrize("taken", [0, 1, 2])
async def test_a_snapshot_that_was_closed_says_so(front: Front, stand: Stand, taken: int) -> None:
    """After the `with` it gives neither what is there, nor an end."""
    async with front(str(stand.socket)).snapshot("/") as snapshot:
        for _ in range(taken):
            await snapshot.receive()
    for _ in range(2):
        with pytest.raises(CutError, match="was closed"):
            [record async for record in snapshot]
    with pytest.raises(CutError, match="was closed"):
        await snapshot.receive()
    with pytest.raises(CutError, match="was closed"):
        async with snapshot:
            pass


async def test_a_whole_snapshot_is_over(front: Front, stand: Stand) -> None:
    """Its end can be asked for again; for more, one asks for another one."""
    async with front(str(stand.socket)).snapshot("/") as snapshot:
        assert [record.key async for record in snapshot] == [b"/a", b"/b", b"/c"]
    assert await snapshot.receive() is None
    assert [record async for record in snapshot] == []
    with pytest.raises(CutError, match="another one"):
        await snapshot.open()


async def test_nothing_is_pending_in_what_was_closed(stand: Stand) -> None:
    """What had come and was not taken is dropped."""
    async with AsyncClient(str(stand.socket)).snapshot("/") as snapshot:
        await snapshot.receive()
        while not snapshot.pending:
            await snapshot.receive()
    assert not snapshot.pending
    with pytest.raises(CutError, match="was closed"):
        snapshot.take()


def test_an_iteration_that_failed_fails_again(stand: Stand) -> None:
    """The very same iterator, too."""
    with Client(str(stand.socket)).snapshot("/") as snapshot:
        records = iter(snapshot)
        next(records)
    for _ in range(2):
        with pytest.raises(CutError):
            next(records)
