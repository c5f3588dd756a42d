"""Which keys a range answers with, against the slowest way to find out; over many blocks."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from syncd.keyrange import KeyRange
from syncd.records import Record
from syncd.serve.v3 import ordering, ranges
from syncd.serve.v3.errors import EtcdError
from syncd.serve.v3.messages import key_value
from syncd.serve.v3.ordering import Sorting
from syncd.serve.v3.ranges import RangeRequest, Selection
from syncd.store import View, cut
from syncd.store.blocks import Blocks

REVISIONS = 40

RECORDS = tuple(
    Record(
        key=f"/{number:04}".encode(),
        value=bytes([number * 7 % 11]),
        create_revision=1 + number * 13 % REVISIONS,
        mod_revision=1 + number * 29 % REVISIONS,
        version=1 + number % 3,
    )
    for number in range(1000)
)
VIEW = View(Blocks(cut(RECORDS)), REVISIONS, "e")
COLUMNS = ("key", "version", "create_revision", "mod_revision", "value")

KEY = st.integers(-1, 1001).map(lambda number: f"/{number:04}".encode())
REVISION = st.sampled_from((0, 0, 0, -1, 1, 7, 20, 39, 40, 41))
REQUEST = st.builds(
    RangeRequest,
    key=st.one_of(st.just(b"/"), KEY),
    range_end=st.one_of(st.just(b"\0"), st.just(b"0"), KEY, st.just(b"")),
    limit=st.sampled_from((0, 0, -1, 1, 2, 64, 127, 128, 129, 300, 999, 1000, 1001)),
    sort_order=st.integers(0, 3),
    sort_target=st.integers(0, 4),
    keys_only=st.booleans(),
    count_only=st.integers(0, 9).map(lambda number: number == 0),
    min_mod_revision=REVISION,
    max_mod_revision=REVISION,
    min_create_revision=REVISION,
    max_create_revision=REVISION,
)


@pytest.fixture(autouse=True, scope="module")
def small_portions() -> Iterator[None]:
    """So that a thousand keys are many runs to merge, and many pieces."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ordering, "RUN", 100)
        patch.setattr(ordering, "MERGED", 30)
        patch.setattr(ranges, "PIECE_RECORDS", 30)
        patch.setattr(ranges, "PIECE_BYTES", 1000)
        yield


def answer(request: RangeRequest) -> dict[str, Any]:
    """What is answered, put together from its pieces."""

    async def pieces() -> bytes:
        selection = Selection(VIEW, request)
        await Sorting().sort(selection)
        return b"".join(selection.pieces(b'{"revision":"40"}'))

    found: dict[str, Any] = json.loads(asyncio.run(pieces()))
    assert found.pop("header") == {"revision": "40"}
    return found


def expected(request: RangeRequest) -> dict[str, Any]:
    """The same, step by step as etcd goes (apply.go, Range)."""
    keys = KeyRange(request.key, request.range_end)
    found = [record for record in RECORDS if record.key in keys]
    answer: dict[str, Any] = {"count": str(len(found))} if found else {}
    if request.count_only:
        return answer
    limits = request.limit > 0
    filters: list[tuple[int, Callable[[Record], bool]]] = [
        (request.max_mod_revision, lambda record: record.mod_revision > request.max_mod_revision),
        (request.min_mod_revision, lambda record: record.mod_revision < request.min_mod_revision),
        (request.max_create_revision, lambda record: record.create_revision > request.max_create_revision),
        (request.min_create_revision, lambda record: record.create_revision < request.min_create_revision),
    ]
    if limits and not request.sort_order and not any(given for given, _ in filters):
        found = found[: request.limit + 1]
    for given_, pruned in filters:
        if given_:
            found = [record for record in found if not pruned(record)]
    order = request.sort_order or (1 if request.sort_target else 0)
    if order in (1, 2):
        column = COLUMNS[request.sort_target]
        found.sort(key=lambda record: getattr(record, column), reverse=order == 2)  # stable
    if limits and len(found) > request.limit:
        found = found[: request.limit]
        answer["more"] = True
    if found:
        answer["kvs"] = [key_value(record) for record in found]
        if request.keys_only:
            for fields in answer["kvs"]:
                fields.pop("value", None)
    return answer


@settings(max_examples=300, deadline=None)
@given(REQUEST)
def test_as_the_slowest_way(request: RangeRequest) -> None:
    """Interval, filters, order and limit; and what is equal comes in the order of keys."""
    assert answer(request) == expected(request)


def test_values_are_cut_into_pieces() -> None:
    """So that a block of large values is not encoded at once."""
    pieces = list(Selection(VIEW, RangeRequest(b"/", b"0")).pieces(b"{}"))
    assert max(map(len, pieces)) < 2 * ranges.PIECE_BYTES


def test_what_is_filtered_away_still_gives_way() -> None:
    """Others have their turn while half a million keys are looked at in vain."""
    pieces = list(Selection(VIEW, RangeRequest(b"/", b"0", min_mod_revision=50)).pieces(b"{}"))
    assert b"".join(pieces) == b'{"header":{},"count":"1000"}'
    assert len(pieces) > 2


async def test_a_sort_gives_way() -> None:
    """Others have their turn between its runs."""
    turns = 0
    done = asyncio.Event()

    async def others() -> None:
        nonlocal turns
        while not done.is_set():
            turns += 1
            await asyncio.sleep(0)

    async with asyncio.TaskGroup() as group:
        group.create_task(others(), name="others")
        selection = Selection(VIEW, RangeRequest(b"/", b"0", sort_target=3))
        await Sorting().sort(selection)
        done.set()
    assert selection.order is not None
    assert len(selection.order) == len(RECORDS)
    assert turns >= len(RECORDS) // ordering.MERGED


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (RangeRequest(), "etcdserver: key is not provided"),
        (RangeRequest(b"", b"\0"), "etcdserver: key is not provided"),
        (RangeRequest(b"/", sort_target=5), "etcdserver: invalid sort option"),
        (RangeRequest(b"/", sort_target=-1), "etcdserver: invalid sort option"),
    ],
)
def test_what_is_not_to_be_asked(request_: RangeRequest, message: str) -> None:
    """In etcd's words; of a target that there is not, etcd 3.5.16 dies."""
    with pytest.raises(EtcdError) as caught:
        request_.keys()
    assert (caught.value.code, caught.value.message) == (3, message)
