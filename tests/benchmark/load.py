"""Requests as fast as they are answered, over many connections that are kept: how many a second.

    python -m tests.benchmark.load HOST:PORT CONNECTIONS SECONDS < REQUEST

A process of its own, so that it takes no time from what it measures but the processor's. It knows of HTTP
only as much as it needs: an answer has a Content-Length, and a status of 200.
"""

from __future__ import annotations

import re
import select
import socket
import subprocess
import sys
import time

RECEIVE = 64 << 10

_LENGTH = re.compile(rb"^content-length: *([0-9]+)\r$", re.IGNORECASE | re.MULTILINE)


def requests_a_second(port: int, request: bytes, *, connections: int, seconds: float) -> float:
    """Of the server on this machine's `port`, asked by a process of its own."""
    command = [sys.executable, "-m", __name__, str(port), str(connections), str(seconds)]
    return float(subprocess.run(command, input=request, stdout=subprocess.PIPE, check=True).stdout)


class _Connection:
    """One that asks again as soon as it was answered."""

    def __init__(self, port: int, request: bytes) -> None:
        self._request = request
        self._answer = b""
        self._end = 0  # where the answer ends; 0: not known yet
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.ask()

    def ask(self) -> None:
        """Send the request; a few hundred bytes always fit into the socket's buffer."""
        self.socket.sendall(self._request)

    def receive(self) -> bool:
        """Whether this completed an answer."""
        data = self.socket.recv(RECEIVE)
        if not data:
            raise ConnectionResetError("it hung up")
        self._answer += data
        if not self._end and (head := self._answer.find(b"\r\n\r\n")) >= 0:
            length = _LENGTH.search(self._answer, 0, head + 2)
            if length is None or not self._answer.startswith(b"HTTP/1.1 200"):
                raise ValueError(f"not an answer that can be counted: {self._answer[:300]!r}")
            self._end = head + 4 + int(length[1])
        if not self._end or len(self._answer) < self._end:
            return False
        self._answer, self._end = self._answer[self._end :], 0
        return True


def main(port: int, count: int, seconds: float) -> None:
    """Ask, and print how many answers came a second."""
    request = sys.stdin.buffer.read()
    poll = select.epoll()
    connections = {}
    for _ in range(count):
        connection = _Connection(port, request)
        connections[connection.socket.fileno()] = connection
        poll.register(connection.socket, select.EPOLLIN)
    answers = 0
    began = time.perf_counter()
    while time.perf_counter() - began < seconds:
        for number, _ in poll.poll(1.0):
            connection = connections[number]
            if connection.receive():
                answers += 1
                connection.ask()
    print(answers / (time.perf_counter() - began))


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]))
