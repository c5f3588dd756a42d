"""Answers of the local API that come whole: headers, records, refusals. No I/O."""

from __future__ import annotations

import msgspec

from syncd.client.errors import AnswerError, ProtocolError, answer_error
from syncd.client.http11 import Head
from syncd.records import Record


class Freshness(msgspec.Struct, frozen=True):
    """Which state an answer shows, and when that was last proved current."""

    revision: int
    """etcd's revision of what was answered; 0 when nothing is served yet."""
    epoch: str
    """Revisions of different epochs cannot be compared; empty when nothing is served yet."""
    state: str
    """`cold`, `warm`, `live` or `stale`; see the contract."""
    age_ms: float | None
    """Milliseconds since the last proof; None when there has been none."""
    at_ms: float | None = None
    """When the daemon said so, by CLOCK_BOOTTIME; None when it did not tell."""


class Value(msgspec.Struct, frozen=True):
    """One key, and how fresh that is."""

    record: Record
    freshness: Freshness


class WireError(msgspec.Struct):
    """What stands in `{"error": …}`."""

    code: str
    message: str = ""
    oldest_revision: int | None = None


class _Refusal(msgspec.Struct):
    error: WireError


_refusals = msgspec.json.Decoder(_Refusal)


def freshness(head: Head) -> Freshness:
    """Read what the `Syncd-*` headers say."""
    try:
        age, at = head.headers.get("syncd-age-ms"), head.headers.get("syncd-at-ms")
        return Freshness(
            revision=int(head.headers["syncd-revision"]),
            epoch=head.headers.get("syncd-epoch", ""),
            state=head.headers["syncd-state"],
            age_ms=None if age is None else float(age),
            at_ms=None if at is None else float(at),
        )
    except (KeyError, ValueError) as error:
        raise ProtocolError(f"the answer's headers do not come from syncd: {error!r}") from error


def value(key: bytes, head: Head, body: bytes) -> Value:
    """Read the record that `/v1/value` answered as plain bytes and headers."""
    try:
        record = Record(
            key=key,
            value=body,
            create_revision=int(head.headers["syncd-create-revision"]),
            mod_revision=int(head.headers["syncd-mod-revision"]),
            version=int(head.headers["syncd-version"]),
            lease=int(head.headers["syncd-lease"]),
        )
    except (KeyError, ValueError) as error:
        raise ProtocolError(f"the answer's headers do not tell of a record: {error!r}") from error
    return Value(record, freshness(head))


def refusal(head: Head, body: bytes) -> AnswerError:
    """Return the error that an answer with a status other than 200 carries."""
    try:
        told = _refusals.decode(body).error
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        # Not in syncd's words: the HTTP layer refused (with 400 what is too long), or it is another server.
        said = body[:200].decode("utf-8", "replace").strip()
        code = "bad_request" if head.status == 400 else "internal"
        return answer_error(code, f"HTTP status {head.status}: {said or 'no explanation'}")
    retry = head.headers.get("retry-after", "")
    return answer_error(
        told.code,
        told.message,
        retry_after=float(retry) if retry.isdecimal() else None,
        oldest_revision=told.oldest_revision,
    )
