"""HTTP to one endpoint: the aiohttp session, its deadlines, and its exceptions turned into ours."""

from __future__ import annotations

import asyncio
import errno
import os
import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from types import SimpleNamespace
from typing import NamedTuple

import aiohttp
from aiohttp.abc import AbstractStreamWriter
from aiohttp.connector import Connection

from syncd.config import Etcd
from syncd.gateway.credentials import Credentials
from syncd.gateway.errors import (
    AnswerTooLong,
    CertificateRefused,
    Code,
    Dropped,
    MalformedAnswer,
    NoAnswer,
    Unreachable,
    Untrusted,
    Why,
    unary_error,
)
from syncd.gateway.shown import Connector, Shown

BODY_LIMIT = 256 << 20
"""Bytes of one unary answer. A page is sized far below it; this only bounds what a strange server can do."""

SLOWEST = 8 << 10
"""Bytes a second: an answer that has begun may take as long as that, beyond the request deadline. A page of
2 MiB over a thin line is no failure; one that trickles would never end."""

READ_BUFFER = 1 << 20
"""Bytes read ahead before the socket is left to wait; aiohttp's 64 KiB would make a page many wake-ups."""

CAUSES = 10
"""So many causes of an error are followed: more than there are, and nothing keeps them from a circle."""

_WHY: dict[int, Why] = {
    errno.ECONNREFUSED: "refused",
    errno.ETIMEDOUT: "late",
    errno.EHOSTUNREACH: "no route",
    errno.ENETUNREACH: "no route",
    errno.EADDRNOTAVAIL: "no route",
}


class _Request(aiohttp.ClientRequest):
    """aiohttp's; a task of its own writes the body, and nobody takes the error of one that cannot begin."""

    async def write_bytes(
        self, writer: AbstractStreamWriter, conn: Connection, content_length: int | None = None
    ) -> None:
        """As ever. Whoever waits for the answer learns from the connection itself that it was lost."""
        with suppress(aiohttp.ClientConnectionResetError):
            await super().write_bytes(writer, conn, content_length)


class Reply(NamedTuple):
    """An answer: `date` is the header, empty when there is none."""

    status: int
    date: str
    body: bytes


class Transport:
    """One aiohttp session for all calls and streams to etcd."""

    def __init__(self, etcd: Etcd, credentials: Credentials) -> None:
        self.timeouts = etcd.timeouts
        self.roads: dict[str, float] = {}
        """Seconds that the quickest connection to each endpoint took, TLS and all."""
        self.shown = Shown(etcd.endpoints)
        self._credentials = credentials
        trace = aiohttp.TraceConfig()
        trace.on_connection_create_start.append(self._connecting)
        trace.on_connection_create_end.append(self._connected)
        self._session = aiohttp.ClientSession(
            connector=Connector(self.shown),
            # Deadlines are set per call; aiohttp's own total of 300 s would cut every watch.
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=etcd.timeouts.connect),
            request_class=_Request,
            trace_configs=[trace],
            # Nothing to decompress: etcd does not compress, and a proxy that did would buffer the watch.
            headers={"Accept-Encoding": "identity"},
            auto_decompress=False,
            read_bufsize=READ_BUFFER,
            cookie_jar=aiohttp.DummyCookieJar(),
        )

    async def close(self) -> None:
        """Close every connection."""
        await self._session.close()

    async def call(
        self, url: str, path: str, body: bytes, headers: Mapping[str, str], most: int = BODY_LIMIT
    ) -> bytes:
        """POST `body` and return the body of the answer, of `most` bytes, within the request deadline."""
        reply = await self.exchange(url, path, body, headers, most)
        if reply.status != 200:
            raise unary_error(url, path, reply.status, unsaid(reply.body, headers))
        return reply.body

    async def exchange(
        self,
        url: str,
        path: str,
        body: bytes,
        headers: Mapping[str, str],
        most: int = BODY_LIMIT,
        *,
        patience: int = 1,
    ) -> Reply:
        """The same, whatever the answer's status is, within `patience` times the request deadline."""
        seconds = self.timeouts.request * patience
        with translated(url, f"{path}: no answer within {seconds:g} s, or too slow a one"):
            async with asyncio.timeout(seconds) as deadline:
                async with self.request(url, path, body, headers) as response:
                    answer = await read_limited(url, response, most, deadline)
        return Reply(response.status, response.headers.get("Date", ""), answer)

    async def get(self, url: str, path: str) -> bytes | None:
        """GET `path`; None for anything but 200."""
        return await self._get(self._session, url, path)

    async def look_again(self, url: str) -> None:
        """Connect once more, so that `shown` has the certificate of now; GatewayError as for a call."""
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=self.timeouts.connect)
        connector = Connector(self.shown, force_close=True)
        async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
            # Something is asked, too: in TLS 1.3, a refusal of our certificate comes only then.
            await self._get(session, url, "/version")

    async def _get(self, session: aiohttp.ClientSession, url: str, path: str) -> bytes | None:
        with translated(url, f"{path}: no answer within {self.timeouts.request:g} s"):
            async with asyncio.timeout(self.timeouts.request):
                async with session.get(
                    url + path,
                    allow_redirects=False,
                    ssl=self._ssl,
                    server_hostname=self._server_name,
                    trace_request_ctx=url,
                ) as response:
                    answer = await read_limited(url, response)
        return answer if response.status == 200 else None

    def request(
        self, url: str, path: str, body: object, headers: Mapping[str, str], *, expect100: bool = False
    ) -> aiohttp.client._RequestContextManager:
        """POST without a deadline of its own; `body` may be an async generator."""
        return self._session.post(
            url + path,
            data=body,
            headers=headers,
            expect100=expect100,
            # etcd never redirects; whoever does must not be sent the password.
            allow_redirects=False,
            ssl=self._ssl,
            server_hostname=self._server_name,
            trace_request_ctx=url,
        )

    async def _connecting(self, _: object, context: SimpleNamespace, __: object) -> None:
        context.began = asyncio.get_running_loop().time()

    async def _connected(self, _: object, context: SimpleNamespace, __: object) -> None:
        took, url = asyncio.get_running_loop().time() - context.began, context.trace_request_ctx
        self.roads[url] = min(self.roads.get(url, took), took)

    @property
    def context(self) -> ssl.SSLContext | None:
        """What secures a connection that is made now; None: http.

        A kept one is not used again with another context than its own: aiohttp asks for that.
        """
        return self._credentials.context

    @property
    def _ssl(self) -> ssl.SSLContext | bool:
        return self.context or True  # aiohttp's default, which an http URL never looks at

    @property
    def _server_name(self) -> str | None:
        return self._credentials.server_name if self.context else None


def unsaid(body: bytes, headers: Mapping[str, str]) -> bytes:
    """What an error may quote of `body`: a proxy's page may repeat what it was sent, and so the token."""
    token = headers.get("Authorization")
    return body.replace(token.encode(), "…".encode()) if token else body


async def read_limited(
    url: str,
    response: aiohttp.ClientResponse,
    most: int = BODY_LIMIT,
    deadline: asyncio.Timeout | None = None,
) -> bytes:
    """The whole body, or AnswerTooLong when it passes `most` bytes: fewer keys at a time may fit.

    What has come moves `deadline` on, at SLOWEST.
    """
    chunks, size = [], 0
    async for chunk in response.content.iter_any():
        chunks.append(chunk)
        size += len(chunk)
        if deadline and (when := deadline.when()):
            deadline.reschedule(when + len(chunk) / SLOWEST)
        if size > most:
            text = f"an answer of more than {most} bytes"
            raise AnswerTooLong(url, Code.RESOURCE_EXHAUSTED, text, response.status)
    return b"".join(chunks)


@contextmanager
def translated(url: str, late: str) -> Iterator[None]:
    """Turn what aiohttp, TLS and the system raise into our errors; `late` describes a missed deadline."""
    try:
        yield
    except aiohttp.ConnectionTimeoutError as error:
        raise Unreachable(url, "no connection in time", "late") from error
    except TimeoutError as error:
        raise NoAnswer(url, late) from error
    except aiohttp.ClientConnectorCertificateError as error:
        code = getattr(error.certificate_error, "verify_code", 0)
        raise Untrusted(url, f"etcd's certificate is not trusted: {error}", code) from error
    except aiohttp.ClientConnectorDNSError as error:
        raise Unreachable(url, f"no connection: {error.os_error}", "unresolved") from error
    except aiohttp.ClientConnectorError as error:
        if tls := _tls_error(error):
            raise _tls_failure(url, tls) from error
        # aiohttp's and asyncio's own texts repeat the address, and hide the cause behind it.
        number, text = error.os_error.errno, error.os_error.strerror
        reason = os.strerror(number) if number and number > 0 else text or str(error.os_error)
        reason = reason or "it was cut in the TLS handshake"  # asyncio's own error for that is empty
        raise Unreachable(url, f"no connection: {reason}", _WHY.get(number or 0, "lost")) from error
    except (aiohttp.ClientConnectionError, OSError) as error:
        if tls := _tls_error(error):
            raise _tls_failure(url, tls) from error
        if isinstance(error, aiohttp.ServerDisconnectedError):
            raise Dropped(url, "the connection was closed where an answer should have come") from error
        raise Unreachable(url, _lost(error)) from error
    except aiohttp.ClientPayloadError as error:
        raise Unreachable(
            url, f"the connection was cut in the middle of an answer: {_kind(error)}"
        ) from error
    except (aiohttp.ClientError, ValueError) as error:
        raise MalformedAnswer(url, f"not HTTP as expected: {_kind(error)}") from error


def _lost(error: aiohttp.ClientConnectionError | OSError) -> str:
    """How a connection was lost; what has no number comes of writing to one that is closed already."""
    if not isinstance(error, OSError):
        return str(error) or type(error).__name__
    if error.errno:
        return f"the connection was lost: {os.strerror(error.errno)}"
    return "the connection was closed while the request was sent"


def _kind(error: Exception) -> str:
    """The kind of an error, which is left empty: it quotes what came, and its `repr` has what was sent."""
    cause: BaseException = error
    for _ in range(CAUSES):
        cause = cause.__cause__ or cause.__context__ or cause
    error.args = ()
    error.__cause__ = error.__context__ = None
    if isinstance(error, aiohttp.ClientResponseError):
        error.message = ""
        error.request_info = error.request_info._replace(headers={})  # type: ignore[arg-type]
    return type(cause).__name__


def _tls_error(error: BaseException) -> ssl.SSLError | None:
    """What TLS said, where aiohttp wraps it."""
    cause = error.os_error if isinstance(error, aiohttp.ClientConnectorError) else error.__cause__
    return next((each for each in (cause, error) if isinstance(each, ssl.SSLError)), None)


def _tls_failure(url: str, error: ssl.SSLError) -> CertificateRefused | Unreachable:
    """An alert about certificates is etcd's refusal of ours: the only one that we show."""
    reason = error.reason or str(error)
    if "ALERT" in reason and any(word in reason for word in ("CERTIFICATE", "UNKNOWN_CA", "ACCESS_DENIED")):
        said = reason.rpartition("ALERT_")[2].replace("_", " ").lower()
        return CertificateRefused(url, f"etcd demands a client certificate, or refuses ours: {said}")
    return Unreachable(url, f"no TLS: {reason.replace('_', ' ').lower()}", "no tls")
