"""What an endpoint tells of itself: etcd's version, the prefix of its gateway's paths, its status.

Any living member answers these questions at once, without asking the others.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec
import structlog

from syncd.config import Etcd
from syncd.gateway.endpoints import Endpoint, Endpoints, parse_version
from syncd.gateway.errors import CredentialsUnusable, EtcdError, GatewayError, NoGateway, Unreachable
from syncd.gateway.messages import StatusAnswer, VersionAnswer, decode
from syncd.gateway.transport import Transport

PREFIXES = ("/v3", "/v3beta", "/v3alpha")
"""3.4 and later answer to /v3, 3.3 only to /v3beta and /v3alpha."""

ANSWER_PATIENCE = 2.0
"""Seconds that an answer may take, beyond those for the connection."""

_status = msgspec.json.Decoder(StatusAnswer, strict=False)
_version = msgspec.json.Decoder(VersionAnswer, strict=False)

log = structlog.get_logger("syncd.gateway")


class Identity:
    """Asks endpoints who they are; every method raises GatewayError."""

    def __init__(self, etcd: Etcd, transport: Transport, endpoints: Endpoints) -> None:
        self._prefixes: tuple[str, ...] = PREFIXES if etcd.api_prefix == "auto" else (etcd.api_prefix,)
        self._patience = min(etcd.timeouts.connect + ANSWER_PATIENCE, etcd.timeouts.request)
        self._transport = transport
        self._asking = {endpoint.url: asyncio.Lock() for endpoint in endpoints}
        self._in_vain = dict.fromkeys(self._asking, 0)  # how often it was asked so far

    async def prefix(self, endpoint: Endpoint) -> str:
        """The prefix of the endpoint's gateway, found out once, together with etcd's version."""
        in_vain = self._in_vain[endpoint.url]
        async with self._asking[endpoint.url]:
            if endpoint.prefix is None:
                if self._in_vain[endpoint.url] > in_vain:
                    # Found out while this call waited; it need not wait for the same deadline again.
                    raise Unreachable(endpoint.url, "it did not answer another call just now")
                try:
                    async with self._soon(endpoint):
                        endpoint.prefix = await self._find_prefix(endpoint)
                except GatewayError:
                    self._in_vain[endpoint.url] += 1
                    raise
                found = (endpoint.version, endpoint.prefix)
                if found != endpoint.announced:
                    endpoint.announced = found
                    log.info("etcd found", endpoint=endpoint.url, version=found[0], prefix=found[1])
            return endpoint.prefix

    async def status(self, endpoint: Endpoint) -> StatusAnswer:
        """What the member says of itself."""
        prefix = await self.prefix(endpoint)
        async with self._soon(endpoint):
            return await self._status(endpoint, prefix)

    async def _find_prefix(self, endpoint: Endpoint) -> str:
        url, candidates = endpoint.url, self._prefixes
        version = await self._transport.get(url, "/version")
        endpoint.version = "" if version is None else _version_in(version)
        if endpoint.version and parse_version(endpoint.version) < (3, 4, 0):
            candidates = tuple(c for c in candidates if c != "/v3") or candidates
        for prefix in candidates:
            try:
                status = await self._status(endpoint, prefix)
            except NoGateway:
                continue
            except (EtcdError, CredentialsUnusable):
                # It does not let us in (yet), but it is there and speaks the gateway's language.
                return prefix
            endpoint.version = status.version or endpoint.version
            endpoint.member_id = status.header.member_id
            return prefix
        tried = ", ".join(candidates)
        raise NoGateway(url, f"no etcd gateway answers under {tried}; is this etcd's client URL?")

    async def _status(self, endpoint: Endpoint, prefix: str) -> StatusAnswer:
        answer = await self._transport.call(endpoint.url, f"{prefix}/maintenance/status", b"{}", {})
        return decode(endpoint.url, _status, answer)

    @asynccontextmanager
    async def _soon(self, endpoint: Endpoint) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(self._patience):
                yield
        except TimeoutError as error:
            raise Unreachable(endpoint.url, f"no answer within {self._patience:g} s") from error


def _version_in(body: bytes) -> str:
    try:
        return _version.decode(body).etcdserver
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return ""  # a proxy's own page; the gateway's status may still tell
