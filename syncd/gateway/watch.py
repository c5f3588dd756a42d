"""One watch stream: HTTP/1.1, full duplex where possible.

The trick (gateway.md, seen on all five versions): sent with `Expect: 100-continue` and a chunked request
body that stays open, Go's server answers at once instead of first reading the body to its end. The
stream then is full duplex, and a progress request is answered within a millisecond. Where a proxy
buffers requests, nothing answers; after DUPLEX_PATIENCE the same watch is opened with a closed body,
and the endpoint is remembered as not duplex. When that is not answered either, the endpoint is dead.
"""

from __future__ import annotations

import asyncio
import ssl
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Self

import aiohttp

from syncd.gateway.endpoints import Endpoint
from syncd.gateway.errors import EtcdError, MalformedAnswer, Unreachable, unary_error
from syncd.gateway.framing import Documents, DocumentTooLong
from syncd.gateway.messages import PROGRESS_REQUEST, Header, WatchResult, watch_request, watch_result
from syncd.gateway.transport import Transport, read_limited, translated, unsaid
from syncd.keyrange import KeyRange

DUPLEX_PATIENCE = 2.0
"""Seconds to wait for the headers of a stream beyond the connection, duplex or not: a gateway sends them at
once. So a silent endpoint costs two times that, and not the deadline of a request, which has work to do."""

NO_CONNECTION = (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError)
"""Where nothing listens, another kind of request is not heard either."""


class WatchStream:
    """An open watch: `async for` over its results, in order.

    It ends only by raising: Unreachable when it was cut or etcd closed it, MalformedAnswer when what came
    is no watch document, EtcdError for an error that etcd sent or when it ended the watch (Compacted,
    PermissionDenied). Leave the context then. Waiting for the next result can be cancelled
    without losing anything.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        response: aiohttp.ClientResponse,
        requests: asyncio.Queue[bytes] | None,
        heard: Callable[[Header], None],
        context: ssl.SSLContext | None = None,
    ) -> None:
        self.context = context
        """What secures its connection."""
        self._endpoint = endpoint
        self._response = response
        self._heard = heard
        self.synchronised = endpoint.synchronised
        """Whether the answer to a progress request comes after all events up to its revision, as the member's
        version tells; known once the first result is here, which names the member."""
        self.refused = False
        """Whether etcd ended it with an error of its own, such as PermissionDenied."""
        self._requests = requests
        self._documents = Documents()
        self._complete: deque[bytes] = deque()

    @property
    def url(self) -> str:
        """The endpoint that the stream comes from."""
        return self._endpoint.url

    @property
    def duplex(self) -> bool:
        """Whether progress can be asked for."""
        return self._requests is not None

    @property
    def unfinished(self) -> int:
        """Bytes of a document that has not come to its end yet."""
        return self._documents.unfinished

    def request_progress(self) -> None:
        """Ask up to which revision the watch is complete.

        The answer is a result with `is_progress`. It may never come: from 3.4.31 and 3.5.13 on, a watch
        that is still catching up drops the request silently.
        """
        if self._requests is not None:
            self._requests.put_nowait(PROGRESS_REQUEST)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> WatchResult:
        while not self._complete:
            with translated(self.url, "the watch was cut"):
                chunk = await self._response.content.readany()
            if not chunk:
                return self._last()
            try:
                self._complete.extend(self._documents.feed(chunk))
            except DocumentTooLong as error:
                raise MalformedAnswer(self.url, str(error)) from error
        result = self._result(self._complete.popleft())
        if self._endpoint.member_id not in (0, result.header.member_id):
            self.synchronised = False  # another member than the one that told its version
        self._heard(result.header)
        return result

    def _last(self) -> WatchResult:
        """What stood unfinished when the stream ended: etcd's last error has no newline."""
        rest = self._documents.end()
        if not rest:
            raise Unreachable(self.url, "etcd closed the watch")
        try:
            return self._result(rest)
        except MalformedAnswer as error:
            raise Unreachable(self.url, "the watch was cut in the middle of a document") from error

    def _result(self, document: bytes) -> WatchResult:
        try:
            return watch_result(self.url, document)
        except EtcdError:
            self.refused = True
            raise


@asynccontextmanager
async def open_watch(
    transport: Transport,
    endpoint: Endpoint,
    path: str,
    keys: KeyRange,
    start_revision: int,
    headers: Mapping[str, str],
    *,
    duplex: bool,
    fall_back: bool,
    clock: Callable[[], float],
    heard: Callable[[Header], None],
) -> AsyncIterator[WatchStream]:
    """Open a watch on `endpoint`; see WatchStream.

    `duplex`: try it. `fall_back`: go on with a closed request body when duplex gets no answer. `heard` is
    told the header of each result.
    """
    # `hasleader`: without it, a watch on a member that lost its peers hangs silently instead of failing.
    # `held`: for another syncd, which may know what came after that revision, but not what it changed itself.
    headers = {**headers, "Grpc-Metadata-hasleader": "true", "Syncd-Held": str(start_revision)}
    began = clock()
    create = watch_request(keys, start_revision)
    post = _Post(transport, endpoint.url, path, headers)
    requests: asyncio.Queue[bytes] | None = None
    response = None
    if duplex:
        requests = asyncio.Queue()
        try:
            response = await post(_open_body(create, requests), patience=DUPLEX_PATIENCE, expect100=True)
        except (Unreachable, MalformedAnswer) as error:  # such as a proxy's "417 Expectation Failed"
            if not fall_back or isinstance(error.__cause__, NO_CONNECTION):
                raise
            requests = None
    if response is None:
        response = await post(create, patience=DUPLEX_PATIENCE)
    if duplex:
        # Only now is it known that the endpoint is alive, and whether duplex was the obstacle.
        endpoint.duplex_tried(clock(), began, refused=requests is None)
    try:
        yield WatchStream(endpoint, response, requests, heard, post.context)
    finally:
        # Not `release`: the rest of an endless answer is not worth waiting for.
        response.close()


class _Post:
    """One POST to one path, up to the headers of its answer."""

    def __init__(self, transport: Transport, url: str, path: str, headers: Mapping[str, str]) -> None:
        self._transport = transport
        self._url = url
        self._path = path
        self._headers = headers
        self.context = transport.context
        """What secures the connection of the last request."""

    async def __call__(
        self, body: object, *, patience: float, expect100: bool = False
    ) -> aiohttp.ClientResponse:
        transport, url = self._transport, self._url
        deadline = transport.timeouts.connect + patience
        with translated(url, f"{self._path}: no answer to the watch within {deadline:g} s"):
            async with asyncio.timeout(deadline):
                self.context = transport.context
                response = await transport.request(url, self._path, body, self._headers, expect100=expect100)
                if response.status != 200:
                    async with response:
                        answer = await read_limited(url, response)
                    raise unary_error(url, self._path, response.status, unsaid(answer, self._headers))
        return response


async def _open_body(create: bytes, requests: asyncio.Queue[bytes]) -> AsyncIterator[bytes]:
    yield create
    while True:
        yield await requests.get()
