"""The local API from a reader's side; small, blocking, and quick to import.

    with Client() as syncd:
        print(syncd.get("/apisix/routes/1").record.value)
        with syncd.watch("/apisix/") as changes:
            for message in changes: ...

The protocol is kept apart from the socket, so that any kind of I/O can carry it:

    query                   a wish          → a request
    http11                  bytes           → head and body bytes
    answers, lines, status  body, lines     → values, messages, errors
    connection              the one blocking socket, which only moves bytes
    streams, blocking       put the two together

Every error is a `ClientError`; the tree and what a watch does about each stand in `errors`.
"""

from syncd.client.answers import Freshness, Value
from syncd.client.blocking import DEFAULT_SOCKET, Client
from syncd.client.errors import (
    AnswerError,
    BadRequestError,
    ClientError,
    ClosingError,
    CompactedError,
    ConnectError,
    CutError,
    ForbiddenError,
    InternalError,
    NotFoundError,
    NotMirroredError,
    NotReadyError,
    OverloadedError,
    ProtocolError,
    Remedy,
    SilenceError,
    TooStaleError,
    remedy,
)
from syncd.client.lines import Bookmark, Progress, SnapshotEnd, SnapshotHead, WatchMessage
from syncd.client.query import Read
from syncd.client.status import RangeStatus, Status
from syncd.client.streams import Snapshot, Watch

__all__ = [
    "DEFAULT_SOCKET",
    "AnswerError",
    "BadRequestError",
    "Bookmark",
    "Client",
    "ClientError",
    "ClosingError",
    "CompactedError",
    "ConnectError",
    "CutError",
    "ForbiddenError",
    "Freshness",
    "InternalError",
    "NotFoundError",
    "NotMirroredError",
    "NotReadyError",
    "OverloadedError",
    "Progress",
    "ProtocolError",
    "RangeStatus",
    "Read",
    "Remedy",
    "SilenceError",
    "Snapshot",
    "SnapshotEnd",
    "SnapshotHead",
    "Status",
    "TooStaleError",
    "Value",
    "Watch",
    "WatchMessage",
    "remedy",
]
