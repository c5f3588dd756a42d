"""The local API from a reader's side: quick to import, for threads and for asyncio.

    with Client() as syncd:
        print(syncd.get("/apisix/routes/1").record.value)
        with syncd.watch("/apisix/") as changes:
            for batch in changes: ...

    async with AsyncClient() as syncd:
        print((await syncd.get("/apisix/routes/1")).record.value)
        async with syncd.watch("/apisix/") as changes:
            async for batch in changes: ...

    with Mirror("/apisix/routes/", decode=json) as routes:
        routes.wait_ready(timeout=10)
        print(routes["/apisix/routes/1"])

The protocol stands here once, and the two fronts only bring along how to wait:

    query                   a wish          → a request
    http11                  bytes           → head and body bytes
    answers, lines, status  body, lines     → values, messages, errors
    packed                  many records at a time
    connection              a socket that never blocks, and one request at a time on it
    streams, watching       a snapshot; a watch that goes on when its connection ends
    reader                  all of these together, as coroutines
    blocking, polling       one front: `Client` runs the coroutines, and waits in poll()
    asynchronous            the other one: `AsyncClient` lets them be awaited
    mirror                  a prefix as a local mapping, on top of a watch

Every error is a `ClientError`; the tree and what a watch does about each stand in `errors`.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from syncd.client.answers import Freshness, Value
from syncd.client.blocking import Client, Snapshot, Watch
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
from syncd.client.lines import (
    Bookmark,
    Progress,
    SnapshotEnd,
    SnapshotHead,
    SnapshotMessage,
    WatchMessage,
)
from syncd.client.packed import Block
from syncd.client.query import Read, ReadOptions
from syncd.client.reader import DEFAULT_SOCKET, SocketPath
from syncd.client.status import RangeStatus, Status
from syncd.client.streams import AsyncSnapshot
from syncd.client.watching import AsyncWatch, Change, Connected, Interrupted, Told, WatchOptions
from syncd.records import Batch, Event, Record

if TYPE_CHECKING:
    from syncd.client.asynchronous import AsyncClient
    from syncd.client.mirror.keeper import State
    from syncd.client.mirror.mirrored import Loads, MirrorOptions
    from syncd.client.mirror.replica import DecodeError
    from syncd.client.mirror.tasks import AsyncChanges, AsyncMirror
    from syncd.client.mirror.threaded import Changes, Mirror
    from syncd.client.mirror.updates import KeyChange, Update
    from syncd.client.mirror.view import View

__all__ = [
    "DEFAULT_SOCKET",
    "AnswerError",
    "AsyncChanges",
    "AsyncClient",
    "AsyncMirror",
    "AsyncSnapshot",
    "AsyncWatch",
    "BadRequestError",
    "Batch",
    "Block",
    "Bookmark",
    "Change",
    "Changes",
    "Client",
    "ClientError",
    "ClosingError",
    "CompactedError",
    "ConnectError",
    "Connected",
    "CutError",
    "DecodeError",
    "Event",
    "ForbiddenError",
    "Freshness",
    "InternalError",
    "Interrupted",
    "KeyChange",
    "Loads",
    "Mirror",
    "MirrorOptions",
    "NotFoundError",
    "NotMirroredError",
    "NotReadyError",
    "OverloadedError",
    "Progress",
    "ProtocolError",
    "RangeStatus",
    "Read",
    "ReadOptions",
    "Record",
    "Remedy",
    "SilenceError",
    "Snapshot",
    "SnapshotEnd",
    "SnapshotHead",
    "SnapshotMessage",
    "SocketPath",
    "State",
    "Status",
    "Told",
    "TooStaleError",
    "Update",
    "Value",
    "View",
    "Watch",
    "WatchMessage",
    "WatchOptions",
    "remedy",
]


_LATER = {
    "AsyncChanges": "syncd.client.mirror.tasks",
    "AsyncClient": "syncd.client.asynchronous",
    "AsyncMirror": "syncd.client.mirror.tasks",
    "Changes": "syncd.client.mirror.threaded",
    "DecodeError": "syncd.client.mirror.replica",
    "KeyChange": "syncd.client.mirror.updates",
    "Loads": "syncd.client.mirror.mirrored",
    "Mirror": "syncd.client.mirror.threaded",
    "MirrorOptions": "syncd.client.mirror.mirrored",
    "State": "syncd.client.mirror.keeper",
    "Update": "syncd.client.mirror.updates",
    "View": "syncd.client.mirror.view",
}
"""What not everybody needs, and where it is: asyncio alone costs more to import than all of the rest."""


if not TYPE_CHECKING:  # which would take any name that is imported from here for one that there is

    def __getattr__(name: str) -> object:
        if name in _LATER:
            return getattr(import_module(_LATER[name]), name)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
