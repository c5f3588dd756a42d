"""The gateway client: unary calls and watch streams on whichever endpoint answers."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from types import TracebackType
from typing import Self, TypeVar

import msgspec

from syncd.config import Etcd
from syncd.gateway.auth import Tokens
from syncd.gateway.authenticate import Authenticate
from syncd.gateway.credentials import Certificates, Credentials
from syncd.gateway.endpoints import Endpoint, Endpoints
from syncd.gateway.errors import (
    CredentialsUnusable,
    Dropped,
    GatewayError,
    NoAnswer,
    NoSpace,
    PermissionDenied,
    Unauthenticated,
    Unreachable,
)
from syncd.gateway.health import FAULTS, Health
from syncd.gateway.identity import Identity
from syncd.gateway.messages import (
    Header,
    Page,
    Sample,
    StatusAnswer,
    decode,
    range_request,
    sample_of,
    sample_request,
)
from syncd.gateway.rotation import Rotation
from syncd.gateway.seen import Seen, unfit
from syncd.gateway.transport import BODY_LIMIT, Reply, Transport, translated
from syncd.gateway.unary import Unary, authorization
from syncd.gateway.watch import WatchStream, open_watch
from syncd.keyrange import KeyRange

Answer = TypeVar("Answer", Page, Sample)
Told = TypeVar("Told")


class Gateway:
    """etcd, as far as a mirror needs it.

    Every method raises GatewayError. A call that did not reach its endpoint makes the next one go to
    another; whether and when to try again is for the caller to decide.
    """

    def __init__(self, etcd: Etcd, *, draw: random.Random, clock: Callable[[], float]) -> None:
        self._etcd = etcd
        self._clock = clock
        self._credentials = Credentials(etcd)
        self._transport = Transport(etcd, self._credentials)
        self.endpoints = Endpoints(etcd.endpoints, draw)
        self._identity = Identity(etcd, self._transport, self.endpoints)
        authenticate = Authenticate(etcd, self._credentials, self._transport, self._identity, self.endpoints)
        self._tokens = Tokens(authenticate, etcd.endpoints, draw, clock)
        self._unary = Unary(etcd, self._transport, self._identity, self._tokens)
        self._seen = Seen()
        self._last = Header()
        self.rotation = Rotation(etcd, self._credentials, self.endpoints, draw, clock, self._renewed)
        self._health = Health(self.endpoints, clock, self.rotation.hurry)

    @property
    def road(self) -> float:
        """Seconds that connecting to the endpoint asked now took at its quickest; 0 before the first time.

        Nearly all of it is the kernels' work, so it tells how long the road is, whatever etcd does.
        """
        return self._transport.roads.get(self.endpoints.current.url, 0.0)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._transport.close()

    @property
    def unguarded(self) -> bool:
        """Whether there is a user, but etcd has its authentication switched off."""
        return self._tokens.off

    @property
    def certificates(self) -> Certificates | None:
        """Those in use; None: http."""
        return self._credentials.certificates

    @property
    def shown(self) -> Mapping[str, bytes]:
        """The certificates that endpoints showed last, in DER, by URL."""
        return self._transport.shown.certificates

    async def look_again(self, url: str) -> None:
        """Connect to the endpoint at `url` once more: `shown` then has the certificate of now.

        A failure is no reason to leave the endpoint: what is connected already goes on.
        """
        await self._transport.look_again(url)

    def avoid(self, url: str, reason: str = "avoided") -> None:
        """Go on with another endpoint than the one at `url`, if there is one; `reason` is for the status."""
        self._health.avoid(url, reason)

    async def pause(self, seconds: float) -> None:
        """Wait so long, or until something has changed for the better: then another try is worth it."""
        await self._health.pause(seconds)

    def elsewhere(self, url: str) -> bool:
        """Whether another endpoint than the one at `url` is well, for all that is known."""
        return self._health.elsewhere(url)

    def outdated(self, stream: WatchStream) -> bool:
        """Whether `stream` had better be opened anew: for other certificates, at home, or perhaps duplex."""
        endpoint, now = self.endpoints.at(stream.url), self._clock()
        renewed = stream.context is not self._credentials.context
        duplex = not stream.duplex and self._etcd.duplex == "auto" and endpoint.try_duplex(now)
        return renewed or duplex or self.endpoints.homeward(endpoint, now)

    async def probe(self, keys: KeyRange) -> None:
        """Look after endpoints that failed and tokens that end, until cancelled.

        `keys` is a range that the user may read.
        """
        async with asyncio.TaskGroup() as group:
            group.create_task(self._health.run(partial(self._unfit, keys=keys)), name="probes")
            group.create_task(self._tokens.run(), name="renewal of tokens")

    async def range_page(self, keys: KeyRange, *, limit: int, revision: int, most: int = BODY_LIMIT) -> Page:
        """The first `limit` keys of an interval at `revision` (0: now).

        Linearizable: a member cut off from its peers does not answer. An answer of more than `most` bytes
        is not read to its end, but raised as MessageTooLarge.
        """
        body = range_request(keys, limit=limit, revision=revision)
        return await self._read(self._health.current(), "/kv/range", body, Page, most)

    async def revision(self, keys: KeyRange, url: str | None = None, within: float | None = None) -> Header:
        """etcd's revision now, linearizable; `keys` is a range that the user may read.

        Asked of the endpoint at `url`, or of the current one. At `url` a failure is no reason to leave it:
        that is for whoever has a stream there. `within`: seconds for all of it, a token included.
        """
        endpoint = self._health.current() if url is None else self.endpoints.at(url)
        # One key, counted: the cheapest linearizable read there is.
        body = range_request(KeyRange(keys.key), count_only=True)
        return (await self._read(endpoint, "/kv/range", body, Page, within=within, blame=url is None)).header

    async def count(self, keys: KeyRange) -> Page:
        """How many keys there are in an interval, linearizable: a page without them. etcd counts each."""
        body = range_request(keys, count_only=True)
        return await self._read(self._health.current(), "/kv/range", body, Page)

    async def changes(self, keys: KeyRange, since: int, url: str, within: float) -> Page:
        """Whether anything was put after revision `since`: one of those keys, and how many there are in all.

        So an empty page with the count of `since` says that nothing has changed at all: a delete lowers the
        count, and what raises it again was put. Linearizable, asked of the endpoint at `url`. It costs etcd a
        look at every key (17 ms for 20,000 of 200 bytes), on all versions. `within`: seconds for the answer.
        """
        body = range_request(keys, limit=1, changed_since=since)
        return await self._read(self.endpoints.at(url), "/kv/range", body, Page, within=within, blame=False)

    async def sample(
        self, interval: KeyRange, keys: Sequence[bytes], revision: int, newer_than: int
    ) -> Sample:
        """What `interval` was at `revision`: its count, if any key was put after `newer_than`, some keys.

        Linearizable. It costs etcd a look at every key, as `changes` does.
        """
        body = sample_request(interval, keys, revision, newer_than)
        try:
            return await self._read(self._health.current(), "/kv/txn", body, partial(sample_of, keys=keys))
        except NoSpace:
            # Up to 3.4.19 and 3.5.6, no transaction is answered then, but reads are; of the same revision.
            body = range_request(interval, limit=1, revision=revision, changed_since=newer_than)
            newer = await self._read(self._health.current(), "/kv/range", body, Page)
            pages = {key: await self.range_page(KeyRange(key), limit=1, revision=revision) for key in keys}
        records = {key: next(iter(page.records()), None) for key, page in pages.items()}
        return Sample(newer.header, newer.count, len(newer) > 0, records)

    async def status(self) -> StatusAnswer:
        """What the member asked now says of itself; without a token, which needs a leader to be had."""
        return await self._identity.status(self._health.current())

    @property
    def last(self) -> Header:
        """That of the last answer, or of the last document of a stream; empty before any."""
        return self._last

    async def forward(self, path: str, body: bytes, most: int) -> Reply:
        """What etcd answers to a call of somebody else's, whatever it is; not tried again.

        An answer of more than `most` bytes is not read to its end, but raised as AnswerTooLong.
        """
        return await self._unary.forward(self._health.current(), path, body, most)

    async def ask(self, path: str, body: bytes, told: msgspec.json.Decoder[Told]) -> Told:
        """What the member asked now answers to a call that no mirror makes, such as /cluster/member/list."""
        endpoint = self._health.current()
        return decode(endpoint.url, told, await self._unary(endpoint, path, body, BODY_LIMIT))

    @asynccontextmanager
    async def watch(self, keys: KeyRange, start_revision: int) -> AsyncIterator[WatchStream]:
        """A stream of all changes of `keys` from `start_revision` on.

        Duplex where the endpoint and the configuration allow it: `stream.duplex` tells.
        """
        endpoint, began = self._health.current(), self._clock()
        heard_at = began
        wanted = self._etcd.duplex
        stream: WatchStream | None = None

        def heard(header: Header) -> None:
            nonlocal heard_at
            heard_at = self._clock()
            self._last = header
            self._seen.told(header, heard_at)
            if not endpoint.well:
                self._health.succeeded(endpoint, began)

        try:
            path = await self._identity.prefix(endpoint) + "/watch"
            if self._etcd.user:
                # A call that is refused for its token is repeated with another. A watch is not, and before
                # 3.5.6 it would be told "permission denied" for that, too.
                await self.revision(keys, endpoint.url)
            token = await self._unary.token(endpoint)
            try:
                async with open_watch(
                    self._transport,
                    endpoint,
                    path,
                    keys,
                    start_revision,
                    authorization(token),
                    duplex=wanted == "on" or (wanted == "auto" and endpoint.try_duplex(self._clock())),
                    fall_back=wanted == "auto",
                    clock=self._clock,
                    heard=heard,
                ) as stream:
                    yield stream
            except (Unauthenticated, PermissionDenied) as error:
                # Whoever follows the stream may have made a call that was refused: that says nothing of it.
                if stream is None or stream.refused:
                    self._tokens.reject(endpoint.url, token, error.message)
                raise
        except FAULTS as error:
            # Whoever follows the stream may have asked elsewhere, too.
            if error.endpoint == endpoint.url:
                self._blame(endpoint, error, heard_at)
            raise

    async def _read(
        self,
        endpoint: Endpoint,
        path: str,
        body: bytes,
        answered: Callable[[str, bytes], Answer],
        most: int = BODY_LIMIT,
        *,
        within: float | None = None,
        blame: bool = True,
    ) -> Answer:
        url, began, before = endpoint.url, self._clock(), self._seen.newest
        try:
            with translated(url, f"{path}: no answer within {within} s"):
                async with asyncio.timeout(within):
                    read = answered(url, await self._unary(endpoint, path, body, most))
        except FAULTS as error:
            if blame:
                self._blame(endpoint, error, began)
            raise
        self._last = read.header
        if self._seen.proved(read.header, before, self._clock()):
            self._tokens.forget_all()
        self._health.succeeded(endpoint, began)
        return read

    async def _unfit(self, endpoint: Endpoint, keys: KeyRange) -> str | None:
        """Why the endpoint should not be asked; None when it is well."""
        expected = self._seen.expected(self._clock())
        try:
            status = await self._identity.status(endpoint)
        except (Unauthenticated, PermissionDenied):
            # With authentication, 3.5.30 tells its status to administrators alone (3.5.16 to everybody).
            await self.revision(keys, endpoint.url)
            return None
        self._seen.told(status.header, self._clock())
        return unfit(status, expected)

    def _blame(self, endpoint: Endpoint, error: GatewayError, began: float) -> None:
        if isinstance(error, NoAnswer):
            self._tokens.forget(endpoint.url, error.message)
        elif isinstance(error, Dropped) or (isinstance(error, Unreachable) and error.why == "refused"):
            # It may have restarted. Other failures do not tell: one that is busy may be late to connect to,
            # too, or not be there for its proxy.
            self._tokens.gone(endpoint.url)
        elif isinstance(error, CredentialsUnusable):
            self.rotation.hurry()
        self._health.failed(endpoint, error.message, began)

    def _renewed(self) -> None:
        """There are other certificates or another password: what was refused may be granted now."""
        self._tokens.retry()
        self._health.wake()
