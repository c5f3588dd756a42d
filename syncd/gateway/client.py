"""The gateway client: unary calls and watch streams on whichever endpoint answers."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Self

import msgspec
import orjson
import structlog

from syncd.config import Etcd
from syncd.gateway.auth import Tokens
from syncd.gateway.credentials import Credentials
from syncd.gateway.endpoints import Endpoint, Endpoints, parse_version
from syncd.gateway.errors import (
    CredentialsUnusable,
    EtcdError,
    MalformedAnswer,
    NoGateway,
    PermissionDenied,
    Unauthenticated,
    Unavailable,
    Unreachable,
)
from syncd.gateway.messages import (
    AuthAnswer,
    Header,
    Page,
    StatusAnswer,
    VersionAnswer,
    decode,
    range_request,
)
from syncd.gateway.transport import BODY_LIMIT, Transport
from syncd.gateway.watch import WatchStream, open_watch
from syncd.keyrange import KeyRange

PREFIXES = ("/v3", "/v3beta", "/v3alpha")
"""3.4 and later answer to /v3, 3.3 only to /v3beta and /v3alpha."""

_status = msgspec.json.Decoder(StatusAnswer, strict=False)
_version = msgspec.json.Decoder(VersionAnswer, strict=False)
_auth = msgspec.json.Decoder(AuthAnswer, strict=False)

log = structlog.get_logger("syncd.gateway")


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
        self._tokens = Tokens(self._authenticate)
        self._identify = asyncio.Lock()
        self.endpoints = Endpoints(etcd.endpoints, draw)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._transport.close()

    def reload(self) -> None:
        """Read certificates and password again; raises CredentialsUnusable and then keeps the old ones."""
        self._credentials.reload()

    def avoid(self, url: str, reason: str = "avoided") -> None:
        """Go on with another endpoint than the one at `url`, if there is one; `reason` is for the status."""
        self.endpoints.failed(self.endpoints.at(url), reason)

    async def range_page(self, keys: KeyRange, *, limit: int, revision: int, most: int = BODY_LIMIT) -> Page:
        """The first `limit` keys of an interval at `revision` (0: now).

        Linearizable: a member cut off from its peers does not answer. An answer of more than `most` bytes
        is not read to its end, but raised as MessageTooLarge.
        """
        body = range_request(keys, limit=limit, revision=revision)
        return await self._range(self.endpoints.current, body, most)

    async def revision(self, keys: KeyRange, url: str | None = None) -> Header:
        """etcd's revision now, linearizable; `keys` is a range that the user may read.

        Asked of the endpoint at `url`, or of the current one.
        """
        endpoint = self.endpoints.current if url is None else self.endpoints.at(url)
        # One key, counted: the cheapest linearizable read there is.
        page = await self._range(endpoint, range_request(KeyRange(keys.key), count_only=True))
        return page.header

    @asynccontextmanager
    async def watch(self, keys: KeyRange, start_revision: int) -> AsyncIterator[WatchStream]:
        """A stream of all changes of `keys` from `start_revision` on.

        Duplex where the endpoint and the configuration allow it: `stream.duplex` tells.
        """
        endpoint = self.endpoints.current
        wanted = self._etcd.duplex
        headers: dict[str, str] = {}
        try:
            path = await self._known(endpoint) + "/watch"
            headers = await self._headers(endpoint)
            async with open_watch(
                self._transport,
                endpoint,
                path,
                keys,
                start_revision,
                headers,
                duplex=wanted == "on" or (wanted == "auto" and endpoint.try_duplex(self._clock())),
                fall_back=wanted == "auto",
                clock=self._clock,
            ) as stream:
                endpoint.failures = 0
                yield stream
        except (Unauthenticated, PermissionDenied):
            # Before 3.5.6, an unknown token on a watch reads as "permission denied".
            self._tokens.reject(endpoint.url, headers.get("Authorization"))
            raise
        except (Unreachable, NoGateway, Unavailable, MalformedAnswer) as error:
            self.endpoints.failed(endpoint, error.message)
            raise

    async def _range(self, endpoint: Endpoint, body: bytes, most: int = BODY_LIMIT) -> Page:
        url = endpoint.url
        try:
            path = await self._known(endpoint) + "/kv/range"
            headers = await self._headers(endpoint)
            try:
                answer = await self._transport.call(url, path, body, headers, most)
            except Unauthenticated:
                # Expired, unknown after the member's restart, or older than the last change of users:
                # all of them are cured by one fresh token, or by nothing that can be done here.
                if not headers:
                    raise
                self._tokens.reject(url, headers["Authorization"])
                headers = await self._headers(endpoint)
                answer = await self._transport.call(url, path, body, headers, most)
            page = Page(url, answer)
        except (Unreachable, NoGateway, Unavailable, MalformedAnswer) as error:
            self.endpoints.failed(endpoint, error.message)
            raise
        endpoint.failures = 0
        return page

    async def _headers(self, endpoint: Endpoint) -> dict[str, str]:
        # The raw token: a `Bearer ` prefix fails before 3.5.32.
        return {"Authorization": await self._tokens.get(endpoint.url)} if self._etcd.user else {}

    async def _authenticate(self, url: str) -> str:
        endpoint = self.endpoints.at(url)
        prefix = await self._known(endpoint)
        body = orjson.dumps({"name": self._etcd.user, "password": self._credentials.password})
        try:
            answer = await self._transport.call(url, prefix + "/auth/authenticate", body, {})
        except EtcdError as error:
            if "authentication failed" in str(error):
                raise CredentialsUnusable(
                    url, f"etcd refuses the password of user {self._etcd.user!r}"
                ) from error
            raise
        token = decode(url, _auth, answer).token
        if not (token and token.isascii() and token.isprintable()):
            raise MalformedAnswer(url, "the token that etcd gave cannot be sent in a header")
        return token

    async def _known(self, endpoint: Endpoint) -> str:
        """The prefix of the endpoint's gateway, found out once, together with etcd's version."""
        failures = endpoint.failures
        async with self._identify:
            if endpoint.prefix is None:
                if endpoint.failures > failures:
                    # Found out while this call waited; it need not wait for the same deadline again.
                    raise Unreachable(endpoint.url, "it did not answer another call just now")
                configured = self._etcd.api_prefix
                candidates = PREFIXES if configured == "auto" else (configured,)
                endpoint.prefix = await self._find_prefix(endpoint, candidates)
                found = (endpoint.version, endpoint.prefix)
                if found != endpoint.announced:
                    endpoint.announced = found
                    log.info("etcd found", endpoint=endpoint.url, version=found[0], prefix=found[1])
            return endpoint.prefix

    async def _find_prefix(self, endpoint: Endpoint, candidates: tuple[str, ...]) -> str:
        url = endpoint.url
        version = await self._transport.get(url, "/version")
        endpoint.version = "" if version is None else _version_in(version)
        if endpoint.version and parse_version(endpoint.version) < (3, 4, 0):
            candidates = tuple(c for c in candidates if c != "/v3") or candidates
        for prefix in candidates:
            try:
                status = await self._transport.call(url, f"{prefix}/maintenance/status", b"{}", {})
            except NoGateway:
                continue
            except (EtcdError, CredentialsUnusable):
                # It does not let us in (yet), but it is there and speaks the gateway's language.
                return prefix
            endpoint.version = endpoint.version or decode(url, _status, status).version
            return prefix
        tried = ", ".join(candidates)
        raise NoGateway(url, f"no etcd gateway answers under {tried}; is this etcd's client URL?")


def _version_in(body: bytes) -> str:
    try:
        return _version.decode(body).etcdserver
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return ""  # a proxy's own page; the gateway's status may still tell
