"""The socket: one blocking connection to the daemon, one request at a time on it."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterator

from syncd.client.errors import ClientError, ConnectError, CutError, ProtocolError, SilenceError
from syncd.client.http11 import Head, ResponseReader, encode_request
from syncd.client.query import Request

RECEIVE = 256 * 1024
"""Bytes asked of the socket at once."""

_LOCAL = {"Accept-Encoding": "identity"}


class Connection:
    """Sends requests and reads answers; `timeout` seconds without a byte are a SilenceError.

    A connection on which anything went wrong is closed and stays so.
    """

    def __init__(self, path: str, timeout: float) -> None:
        self.path = path
        self._timeout = timeout
        self._answer: ResponseReader | None = None
        self._early = b""  # body bytes that came together with the head
        self._socket = _connect(path, timeout)

    def request(self, request: Request) -> Head:
        """Send a request and read the head of its answer; the body is read with `body()`."""
        self._answer = ResponseReader()
        self._early = b""
        data = encode_request(request.target, {**_LOCAL, **request.headers}, request.method)
        self._send(data, request.patience)
        while self._answer.head is None:
            self._early += self._receive(self._answer)
        self._socket.settimeout(self._timeout)
        return self._answer.head

    def body(self) -> Iterator[bytes]:
        """Read the body as it comes; CutError when the connection ends before the body does."""
        answer = self._answer
        if answer is None:
            return
        if self._early:
            yield self._early
            self._early = b""
        while not answer.done:
            if data := self._receive(answer):
                yield data

    def expect_every(self, seconds: float) -> None:
        """From now on, take silence for longer than this for the end."""
        self._timeout = seconds
        self._socket.settimeout(seconds)

    @property
    def reusable(self) -> bool:
        """Whether another request can be sent: the last answer was read to its end."""
        answer = self._answer
        finished = answer is None or (answer.done and answer.head is not None and answer.head.reusable)
        return finished and self._socket.fileno() >= 0

    def close(self) -> None:
        """Close the socket; any number of times."""
        self._socket.close()

    def _send(self, data: bytes, patience: float) -> None:
        self._socket.settimeout(self._timeout + patience)
        try:
            self._socket.sendall(data)
        except OSError as error:
            raise self._failed(error) from error

    def _receive(self, answer: ResponseReader) -> bytes:
        try:
            return answer.feed(self._socket.recv(RECEIVE))
        except OSError as error:
            raise self._failed(error) from error
        except (CutError, ProtocolError):
            self.close()
            raise

    def _failed(self, error: OSError) -> ClientError:
        seconds = self._socket.gettimeout()
        self.close()
        if isinstance(error, TimeoutError):
            return SilenceError(f"{self.path} said nothing for {seconds:g} s")
        return CutError(f"the connection to {self.path} was lost: {os.strerror(error.errno or errno.EIO)}")


def _connect(path: str, timeout: float) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    sock.settimeout(timeout)
    try:
        sock.connect(path)
    except OSError as error:
        sock.close()
        # A path that is too long for an address has no errno; a full backlog times out or says EAGAIN.
        raise ConnectError(path, error.errno, error.strerror or str(error)) from error
    except BaseException:
        sock.close()
        raise
    return sock
