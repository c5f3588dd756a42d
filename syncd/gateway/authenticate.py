"""Asking etcd for a token, with the user and the password of the configuration."""

from __future__ import annotations

import msgspec
import orjson

from syncd.config import Etcd
from syncd.gateway.credentials import Credentials
from syncd.gateway.endpoints import Endpoints
from syncd.gateway.errors import (
    TEXT_LIMIT,
    CommonNameRefused,
    EtcdError,
    MalformedAnswer,
    WrongPassword,
    unary_error,
)
from syncd.gateway.identity import Identity
from syncd.gateway.messages import AuthAnswer, decode
from syncd.gateway.token import NO_TOKEN, Token, life
from syncd.gateway.transport import Reply, Transport

PATH = "/auth/authenticate"

PATIENCE = 3
"""Request deadlines that a token may take. An etcd that many ask at once hashes for all of them side by side,
and is late for each; whoever gives up has had it hash for nothing. At 80 ms a hash, 3,000 hosts on 8 cores
take 30 s."""

UNSAID = "(not repeated here, as the password may be in it)"
"""Instead of what was answered."""

_auth = msgspec.json.Decoder(AuthAnswer, strict=False)


class Authenticate:
    """`await authenticate(url)`: a token of the endpoint at `url`; GatewayError when it gives none."""

    def __init__(
        self,
        etcd: Etcd,
        credentials: Credentials,
        transport: Transport,
        identity: Identity,
        endpoints: Endpoints,
    ) -> None:
        self._user = etcd.user
        self._credentials = credentials
        self._transport = transport
        self._identity = identity
        self._endpoints = endpoints

    async def __call__(self, url: str) -> Token:
        """One request; WrongPassword when etcd refuses, NO_TOKEN when it has authentication switched off."""
        path = await self._identity.prefix(self._endpoints.at(url)) + PATH
        password = self._credentials.password or ""
        body = orjson.dumps({"name": self._user, "password": password})
        reply = await self._transport.exchange(url, path, body, {}, patience=PATIENCE)
        if reply.status != 200:
            return self._refused(url, path, reply, password)
        text = decode(url, _auth, reply.body).token
        if not (text and text.isascii() and text.isprintable()):
            raise MalformedAnswer(url, "the token that etcd gave cannot be sent in a header")
        return Token(text, life(text, reply.date))

    def _refused(self, url: str, path: str, reply: Reply, password: str) -> Token:
        error = unary_error(url, path, reply.status, reply.body)
        said = error.message if isinstance(error, EtcdError) else ""
        if not isinstance(error, (EtcdError, CommonNameRefused)):
            # Not etcd's words. Whose they are, may repeat what was sent to them.
            error = unary_error(url, path, reply.status, UNSAID.encode())
        elif (password and password in error.message) or len(reply.body) > TEXT_LIMIT:
            # By chance, repeated, or perhaps cut off in the middle of it. A hole in words that everybody
            # knows would tell the password, too.
            error.message = f"{UNSAID} (code {error.code})" if isinstance(error, EtcdError) else UNSAID
            error.args = (f"{url}: {error.message}",)
        if "authentication is not enabled" in said:
            return NO_TOKEN
        if "authentication failed" in said:
            raise WrongPassword(url, f"etcd refuses the password of user {self._user!r}") from error
        raise error
