"""The gateway's JSON, as typed values: requests out, answers in. Pure.

proto3 JSON as etcd's grpc-gateway speaks it (gateway.md): 64-bit integers are strings, zero values are
left out, bytes are base64. msgspec decodes both strings and base64 in C; `strict=False` is what lets
it take `"42"` for 42.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable, Sequence
from typing import Annotated, Literal, TypeVar

import msgspec
import orjson

from syncd.gateway.errors import (
    Code,
    Compacted,
    ErrorBody,
    ErrorDetail,
    MalformedAnswer,
    etcd_error,
)
from syncd.keyrange import KeyRange
from syncd.records import Record, Revision

Count = Revision
"""The same int64 that is never negative."""

Version = Annotated[str, msgspec.Meta(max_length=100)]
"""etcd's version, such as 3.5.16; what is longer is none."""

Text = Annotated[str, msgspec.Meta(max_length=1000)]
"""What people are told of; the same."""


class Header(msgspec.Struct, frozen=True):
    """ResponseHeader: who answered, and at which revision of the whole key space.

    `raft_term` is that of the last entry applied (seen: a member alone does not raise it), so it tells, as
    the revision does, how far a member is.
    """

    cluster_id: int = 0
    revision: Revision = 0
    raft_term: int = 0
    member_id: int = 0

    def __post_init__(self) -> None:
        # msgspec can bound integers only within int64, and takes text of thousands of digits for one.
        if not all(0 <= number < 1 << 64 for number in (self.cluster_id, self.raft_term, self.member_id)):
            raise ValueError("cluster_id, raft_term or member_id is no uint64")


class RangeAnswer(msgspec.Struct, frozen=True):
    """kv/range, its key-value pairs not yet decoded; `count` is that of the asked interval, not of `kvs`."""

    header: Header
    kvs: list[msgspec.Raw] = []
    more: bool = False
    count: Count = 0


class RangeOf(msgspec.Struct, frozen=True):
    """One operation's answer within a transaction's."""

    response_range: RangeAnswer


class TxnAnswer(msgspec.Struct, frozen=True):
    """kv/txn, of ranges alone."""

    header: Header
    responses: list[RangeOf] = []


class StatusAnswer(msgspec.Struct, frozen=True, rename="camel"):
    """maintenance/status: what one member says of itself; camelCase in etcd's own proto, hence `rename`.

    `leader` is 0 while it has none. Seen on all versions, where `errors` says so only from 3.4 on, as it does
    of alarms; learners are there from 3.4 on. `db_size`: bytes of the file.
    """

    header: Header
    version: Version = ""
    leader: int = 0
    is_learner: bool = False
    db_size: Count = 0
    errors: tuple[Text, ...] = ()


class VersionAnswer(msgspec.Struct, frozen=True):
    """GET /version."""

    etcdserver: Version = ""


class AuthAnswer(msgspec.Struct, frozen=True):
    """auth/authenticate."""

    token: str = ""


class WatchEvent(msgspec.Struct, frozen=True, gc=False):
    """A change; a delete tells only key and mod_revision. `type` is absent on a put."""

    kv: Record
    type: Literal["PUT", "DELETE"] = "PUT"


class WatchResult(msgspec.Struct, frozen=True):
    """One document of a watch stream.

    `header.revision` is NOT a point to resume from, except in a progress document: during a catch-up it
    is the revision of the moment, far past the events carried.
    """

    header: Header
    watch_id: int = 0
    created: bool = False
    canceled: bool = False
    compact_revision: Revision = 0
    cancel_reason: str = ""
    fragment: bool = False
    events: tuple[WatchEvent, ...] = ()

    @property
    def is_progress(self) -> bool:
        """Whether this document only tells how far the watch is."""
        return not (self.created or self.events)


class WatchDocument(msgspec.Struct):
    """The envelope: a result or an error."""

    result: WatchResult | None = None
    error: str | ErrorDetail | None = None


T = TypeVar("T")

_record = msgspec.json.Decoder(Record, strict=False)
_range = msgspec.json.Decoder(RangeAnswer, strict=False)
_txn = msgspec.json.Decoder(TxnAnswer, strict=False)
_watch_document = msgspec.json.Decoder(WatchDocument, strict=False)


def decode(endpoint: str, decoder: msgspec.json.Decoder[T], body: bytes | msgspec.Raw) -> T:
    """Decode `body`, or raise MalformedAnswer with the reason and where in the document it lies."""
    try:
        return decoder.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise MalformedAnswer(endpoint, f"an answer cannot be decoded: {error}") from error


class Page:
    """One answer to a range request; its records are decoded when asked for, in slices.

    So the next page can be asked for after one cheap pass over this one, and a large page does not hold
    up the event loop.
    """

    def __init__(self, url: str, body: bytes) -> None:
        self.url = url
        """The endpoint that answered."""
        answer = decode(url, _range, body)
        if answer.count < len(answer.kvs):
            raise MalformedAnswer(url, f"a page of {len(answer.kvs)} keys says that there are {answer.count}")
        self.header = answer.header
        self.count = answer.count
        """Keys in the *asked* interval, whatever the limit was."""
        self.more = answer.more
        """Whether the limit left keys out."""
        self.size = len(body)
        """Bytes of JSON."""
        self._kvs = answer.kvs

    def __len__(self) -> int:
        return len(self._kvs)

    def records(self, start: int = 0, stop: int | None = None) -> list[Record]:
        """The records `start` to `stop`, in key order."""
        decoded = _record.decode
        try:
            return [decoded(kv) for kv in self._kvs[start:stop]]
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise MalformedAnswer(self.url, f"a key-value pair cannot be decoded: {error}") from error

    def key(self, index: int) -> bytes:
        """The key of the record at `index`, from the end if negative."""
        return self.records(index, index + 1 or None)[0].key


class Sample(msgspec.Struct, frozen=True):
    """What was read of an interval: its count, some keys, whether there is any newer one."""

    header: Header
    count: Count
    """All keys in the interval."""
    newer: bool
    """Whether one of them was put after the revision that was named."""
    records: dict[bytes, Record | None]
    """None for one that is not there."""


def sample_of(url: str, body: bytes, keys: Sequence[bytes]) -> Sample:
    """What the answer to `sample_request` says."""
    answer = decode(url, _txn, body)
    ranges = [of.response_range for of in answer.responses]
    found = [[decode(url, _record, kv) for kv in range_.kvs] for range_ in ranges[1:]]
    if len(ranges) != 1 + len(keys) or any(
        [record.key for record in records] not in ([], [key])
        for records, key in zip(found, keys, strict=True)
    ):
        raise MalformedAnswer(url, "a transaction of reads was answered with something else")
    records = {key: records[0] if records else None for key, records in zip(keys, found, strict=True)}
    return Sample(answer.header, ranges[0].count, bool(ranges[0].kvs), records)


def watch_result(endpoint: str, document: bytes) -> WatchResult:
    """The result in one document of a watch stream; an error, or etcd ending the watch, is raised.

    `canceled` comes as a result with HTTP 200, and etcd leaves the stream open after it.
    """
    answer = decode(endpoint, _watch_document, document)
    if answer.error is not None:
        raise ErrorBody(error=answer.error).raised_by(endpoint)
    if answer.result is None:
        raise MalformedAnswer(endpoint, "a watch document has neither a result nor an error")
    result = answer.result
    if result.compact_revision:
        message = f"the revision has been compacted, the oldest left is {result.compact_revision}"
        raise Compacted(endpoint, message, result.compact_revision)
    if result.canceled:
        raise etcd_error(
            endpoint, Code.UNKNOWN, result.cancel_reason or "etcd ended the watch without a reason"
        )
    return result


def range_request(
    keys: KeyRange,
    *,
    limit: int = 0,
    revision: int = 0,
    count_only: bool = False,
    changed_since: int | None = None,
) -> bytes:
    """Body of kv/range: linearizable, ascending by key. `revision` 0 is the newest, `limit` 0 is none.

    `changed_since`: only keys, without values, that were put after that revision; the count is of all.
    """
    request: dict[str, object] = _interval(keys)
    if changed_since is not None:
        request |= {"min_mod_revision": str(changed_since + 1), "keys_only": True}
    if limit:
        request["limit"] = str(limit)
    if revision:
        request["revision"] = str(revision)
    if count_only:
        request["count_only"] = True
    return orjson.dumps(request)


def sample_request(interval: KeyRange, keys: Iterable[bytes], revision: int, newer_than: int) -> bytes:
    """Body of kv/txn: at `revision`, the count of `interval`, whether a key in it was put after `newer_than`,
    and each of the `keys`. Linearizable.
    """
    at = {"revision": str(revision)}
    newer = {"min_mod_revision": str(newer_than + 1), "limit": "1", "keys_only": True}
    ranges = [_interval(interval) | at | newer, *(_interval(KeyRange(key)) | at for key in keys)]
    return orjson.dumps({"success": [{"request_range": range_} for range_ in ranges]})


def watch_request(keys: KeyRange, start_revision: int) -> bytes:
    """The create_request of a watch.

    `fragment`: without it, catching up dies for ever on servers with the 4 MiB limit. `prev_kv` is left out:
    the store knows what a key held before, and it would double every message. So is `progress_notify`: ten
    minutes are its usual pace, and it says nothing about where etcd is.
    """
    create = {
        **_interval(keys),
        "start_revision": str(start_revision),
        "fragment": True,
    }
    return orjson.dumps({"create_request": create})


PROGRESS_REQUEST = b'{"progress_request":{}}'


def _interval(keys: KeyRange) -> dict[str, object]:
    interval: dict[str, object] = {"key": b64encode(keys.key).decode()}
    if keys.range_end:
        interval["range_end"] = b64encode(keys.range_end).decode()
    return interval
