"""kv/txn: what a transaction is, whether it writes, and how its compares come out.

As etcd, but that operations are counted with those of all transactions in it, where etcd counts along the
deepest of these: 64 times 64 ranges are two seconds of work. What it asks for is checked in both branches
before anything is done, but of two revisions that are wrong only that in the branch taken is told. Seen on
3.5.1 to 3.5.30: a compare whose union holds another member than its target compares with zero, or with
nothing; a target or a result that there is not is met.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from enum import IntEnum
from typing import Annotated

import msgspec

from syncd.keyrange import KeyRange
from syncd.records import Record
from syncd.serve.v3.errors import Code, EtcdError
from syncd.serve.v3.messages import interval
from syncd.serve.v3.ranges import RangeRequest
from syncd.store import View
from syncd.store.blocks import each

MAX_OPS = 128
"""Compares, or operations of a branch, whichever are more, summed over all levels; etcd's default for one."""


class CompareResult(IntEnum):
    """Compare.CompareResult."""

    EQUAL = 0
    GREATER = 1
    LESS = 2
    NOT_EQUAL = 3


class CompareTarget(IntEnum):
    """Compare.CompareTarget."""

    VERSION = 0
    CREATE = 1
    MOD = 2
    VALUE = 3
    LEASE = 4


class Compare(msgspec.Struct, frozen=True):
    """etcd's own; what may be None is its target_union."""

    result: Annotated[int, CompareResult] = 0
    target: Annotated[int, CompareTarget] = 0
    key: bytes = b""
    range_end: bytes = b""
    version: int | None = None
    create_revision: int | None = None
    mod_revision: int | None = None
    value: bytes | None = None
    lease: int | None = None


class PutRequest(msgspec.Struct, frozen=True):
    """etcd's own."""

    key: bytes = b""
    value: bytes = b""
    lease: int = 0
    prev_kv: bool = False
    ignore_value: bool = False
    ignore_lease: bool = False


class DeleteRangeRequest(msgspec.Struct, frozen=True):
    """etcd's own."""

    key: bytes = b""
    range_end: bytes = b""
    prev_kv: bool = False


class RequestOp(msgspec.Struct, frozen=True):
    """etcd's own: one of them."""

    request_range: RangeRequest | None = None
    request_put: PutRequest | None = None
    request_delete_range: DeleteRangeRequest | None = None
    request_txn: TxnRequest | None = None


class TxnRequest(msgspec.Struct, frozen=True):
    """etcd's own."""

    compare: tuple[Compare, ...] = ()
    success: tuple[RequestOp, ...] = ()
    failure: tuple[RequestOp, ...] = ()


def writes(txn: TxnRequest) -> bool:
    """Whether anything in it, in either branch, would change something."""
    return any(
        op.request_put or op.request_delete_range or (op.request_txn and writes(op.request_txn))
        for op in (*txn.success, *txn.failure)
    )


def check(txn: TxnRequest, most: int = MAX_OPS, levels: int = MAX_OPS) -> int:
    """How many operations it has in all; EtcdError when it is not looked at any further."""
    size = max(len(txn.compare), len(txn.success), len(txn.failure))
    if size > most or not levels:
        raise EtcdError(Code.INVALID_ARGUMENT, "etcdserver: too many operations in txn request")
    for compare in txn.compare:
        interval(compare.key, compare.range_end)
    for op in (*txn.success, *txn.failure):
        if op.request_range:
            op.request_range.keys()
        elif op.request_put:
            interval(op.request_put.key, b"")
        elif op.request_delete_range:
            interval(op.request_delete_range.key, op.request_delete_range.range_end)
        elif op.request_txn:
            size += check(op.request_txn, most - size, levels - 1)
        else:
            raise EtcdError(Code.INVALID_ARGUMENT, "etcdserver: key not found")
    return size


def intervals(txn: TxnRequest) -> Iterator[KeyRange]:
    """Everything that it names, in both branches."""
    for compare in txn.compare:
        yield KeyRange(compare.key, compare.range_end)
    for op in (*txn.success, *txn.failure):
        if op.request_range:
            yield op.request_range.keys()
        elif op.request_put:
            yield KeyRange(op.request_put.key)
        elif op.request_delete_range:
            yield KeyRange(op.request_delete_range.key, op.request_delete_range.range_end)
        elif op.request_txn:
            yield from intervals(op.request_txn)


def serializable(txn: TxnRequest) -> bool:
    """Whether it need not be linearizable: all its operations say so, and none is a transaction itself."""
    operations = (*txn.success, *txn.failure)
    return all(op.request_range is not None and op.request_range.serializable for op in operations)


class Outcome(msgspec.Struct, frozen=True):
    """Which branch of a transaction is taken, and what its reads are to be told; nested as it is."""

    succeeded: bool
    responses: Sequence[RangeRequest | Outcome]

    def reads(self) -> Iterator[RangeRequest]:
        """The reads of the branches taken, in their order."""
        for response in self.responses:
            if isinstance(response, Outcome):
                yield from response.reads()
            else:
                yield response

    def pieces(self, header: bytes, answers: Iterator[Iterator[bytes]]) -> Iterator[bytes]:
        """The answer's JSON; `answers` are those to `reads`."""
        yield b'{"header":%b%b' % (header, b',"succeeded":true' if self.succeeded else b"")
        for at, response in enumerate(self.responses):
            yield b"," if at else b',"responses":['
            if isinstance(response, Outcome):
                yield b'{"response_txn":'
                yield from response.pieces(b"{}", answers)
            else:
                yield b'{"response_range":'
                yield from next(answers)
            yield b"}"
        yield b"]}" if self.responses else b"}"


async def outcome(txn: TxnRequest, view: View) -> Outcome:
    """What becomes of a transaction of reads in `view`."""
    succeeded = True
    for compare in txn.compare:
        succeeded = succeeded and await _holds(compare, view)
    responses: list[RangeRequest | Outcome] = []
    for op in txn.success if succeeded else txn.failure:
        if op.request_range:
            responses.append(op.request_range)
        elif op.request_txn:
            responses.append(await outcome(op.request_txn, view))
    return Outcome(succeeded, responses)


async def _holds(compare: Compare, view: View) -> bool:
    """Whether it is so of all the keys that it names; where there is none, of one whose numbers are zero."""
    slices = view.slices(KeyRange(compare.key, compare.range_end))
    if not slices:
        return compare.target != CompareTarget.VALUE and _is_so(compare, Record(compare.key))
    for part in slices:
        if not all(_is_so(compare, record) for record in each([part])):
            return False
        if len(slices) > 1:  # it may be half a million keys, and others want their turn
            await asyncio.sleep(0)
    return True


def _is_so(compare: Compare, record: Record) -> bool:
    match compare.target:
        case CompareTarget.VERSION:
            difference = _difference(record.version, compare.version or 0)
        case CompareTarget.CREATE:
            difference = _difference(record.create_revision, compare.create_revision or 0)
        case CompareTarget.MOD:
            difference = _difference(record.mod_revision, compare.mod_revision or 0)
        case CompareTarget.VALUE:
            difference = _difference(record.value, compare.value or b"")
        case CompareTarget.LEASE:
            difference = _difference(record.lease, compare.lease or 0)
        case _:
            difference = 0
    result = _RESULTS.get(compare.result)
    return result is None or result(difference)


def _difference(held: int | bytes, given: int | bytes) -> int:
    return (held > given) - (held < given)  # type: ignore[operator]


_RESULTS: dict[int, Callable[[int], bool]] = {
    CompareResult.EQUAL: lambda difference: difference == 0,
    CompareResult.GREATER: lambda difference: difference > 0,
    CompareResult.LESS: lambda difference: difference < 0,
    CompareResult.NOT_EQUAL: lambda difference: difference != 0,
}
