"""A stand-in for the daemon on a real Unix socket, for the faults that a real one cannot be made to have."""

import json
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Self

FRESH = {"Syncd-Revision": "7", "Syncd-Epoch": "e1", "Syncd-State": "live", "Syncd-Age-Ms": "12"}
RECORD = {
    "Syncd-Create-Revision": "5",
    "Syncd-Mod-Revision": "7",
    "Syncd-Version": "2",
    "Syncd-Lease": "0",
}


def head(status: int = 200, headers: dict[str, str] | None = None) -> bytes:
    """Write a status line and headers, such as aiohttp writes them."""
    lines = [f"HTTP/1.1 {status} Whatever", *(f"{k}: {v}" for k, v in {**FRESH, **(headers or {})}.items())]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def whole(body: bytes, status: int = 200, headers: dict[str, str] | None = None) -> bytes:
    """Write an answer with a Content-Length."""
    return head(status, {"Content-Length": str(len(body)), **(headers or {})}) + body


def refusal(status: int, code: str, headers: dict[str, str] | None = None, **more: Any) -> bytes:
    """Write a refusal in the contract's JSON."""
    error = {"code": code, "message": f"it is {code}", **more}
    return whole(json.dumps({"error": error}).encode(), status, headers)


def chunks(*bodies: bytes) -> bytes:
    """Write chunks of a body, without the end of it."""
    return b"".join(b"%x\r\n%s\r\n" % (len(body), body) for body in bodies)


CHUNKED = {"Transfer-Encoding": "chunked"}
END = b"0\r\n\r\n"


def streamed(*bodies: bytes) -> bytes:
    """Write a whole answer in chunks."""
    return head(headers=CHUNKED) + chunks(*bodies) + END


class FakeDaemon:
    """Takes one connection after the other; each answers its requests as scripted, then is closed.

    A script is a list of answers, one for each request that comes on that connection. When all are used up,
    connections are accepted and closed. `requests` has every request line and its headers.
    """

    def __init__(self, path: Path, *scripts: Sequence[bytes]) -> None:
        self.path = str(path)
        self.requests: list[str] = []
        self._scripts = list(scripts)
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(self.path)
        self._listener.listen()
        self._thread = threading.Thread(target=self._serve, name="fake daemon", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(10)
        Path(self.path).unlink(missing_ok=True)

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with connection, suppress(ConnectionError):  # a reader may leave
                for answer in self._scripts.pop(0) if self._scripts else ():
                    if not self._read_request(connection):
                        break
                    connection.sendall(answer)

    def _read_request(self, connection: socket.socket) -> bool:
        request = b""
        while not request.endswith(b"\r\n\r\n"):
            data = connection.recv(65536)
            if not data:
                return False
            request += data
        self.requests.append(request.decode())
        return True


@contextmanager
def echoing(path: Path) -> Iterator[Callable[[], int]]:
    """Serve keys that are their own values; gives how many connections there have been."""
    accepted = 0

    def answer(connection: socket.socket) -> None:
        with connection:
            while request := connection.recv(65536):
                key = request.partition(b"?key=")[2].partition(b" ")[0]
                connection.sendall(whole(key, headers=RECORD))

    with socket.socket(socket.AF_UNIX) as listener, ThreadPoolExecutor(16) as pool:

        def serve() -> None:
            nonlocal accepted
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                accepted += 1
                pool.submit(answer, connection)

        listener.bind(str(path))
        listener.listen()
        pool.submit(serve)
        yield lambda: accepted
        listener.shutdown(socket.SHUT_RDWR)
