"""One unary call to one endpoint: with a token if there is a user, and with another if that is refused."""

from __future__ import annotations

import asyncio

from syncd.config import Etcd
from syncd.gateway.auth import Tokens
from syncd.gateway.endpoints import Endpoint
from syncd.gateway.errors import Dropped, NoAnswer, Unauthenticated, unary_error
from syncd.gateway.identity import Identity
from syncd.gateway.transport import Reply, Transport

OK = 200


class Unary:
    """`await unary(endpoint, path, body, most)`: the body of the answer, of `most` bytes; GatewayError."""

    def __init__(self, etcd: Etcd, transport: Transport, identity: Identity, tokens: Tokens) -> None:
        self._user = etcd.user
        self._transport = transport
        self._identity = identity
        self._tokens = tokens

    async def __call__(self, endpoint: Endpoint, path: str, body: bytes, most: int) -> bytes:
        """`path` is without the gateway's prefix. The endpoint's health is for the caller."""
        url, path = endpoint.url, await self._identity.prefix(endpoint) + path
        refused = dropped = False
        while True:
            token = await self.token(endpoint)
            try:
                return await self._transport.call(url, path, body, authorization(token), most)
            except Unauthenticated as error:
                # Expired, unknown after the member's restart, or older than the last change of users:
                # all of them are cured by one fresh token, or by nothing that can be done here.
                if refused or not self._user:
                    raise
                refused = True
                self._tokens.reject(url, token, error.message)
            except Dropped as error:
                # An idle connection, or one that was cut, is cured by another one. What still is no answer
                # then may be about the token.
                if not token or (dropped and not self._tokens.doubt(url, error.message)):
                    raise
                dropped = True

    async def forward(self, endpoint: Endpoint, path: str, body: bytes, most: int) -> Reply:
        """The answer as it is, of `most` bytes, whatever its status.

        Only what was refused for its token is asked again: etcd may have done what it was asked before an
        answer was lost.
        """
        url, path = endpoint.url, await self._identity.prefix(endpoint) + path
        token = await self.token(endpoint)
        reply = await self._transport.exchange(url, path, body, authorization(token), most)
        if not token or reply.status == OK:
            return reply
        refusal = unary_error(url, path, reply.status, reply.body)
        if not isinstance(refusal, Unauthenticated):
            return reply
        self._tokens.reject(url, token, refusal.message)
        token = await self.token(endpoint)
        return await self._transport.exchange(url, path, body, authorization(token), most)

    async def token(self, endpoint: Endpoint) -> str:
        """What to send to `endpoint`; empty for nobody.

        NoAnswer after the deadline of a request, though etcd may have longer for it: the next call finds the
        token, and other endpoints may be quicker.
        """
        if not self._user:
            return ""
        seconds = self._transport.timeouts.request
        try:
            async with asyncio.timeout(seconds):
                return await self._tokens.get(endpoint.url)
        except TimeoutError as error:
            raise NoAnswer(endpoint.url, f"it gave no token within {seconds:g} s") from error


def authorization(token: str) -> dict[str, str]:
    """The headers that `token` is sent in: as it is, without `Bearer`."""
    return {"Authorization": token} if token else {}
