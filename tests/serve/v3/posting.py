"""One call of etcd's API on a Unix socket."""

from __future__ import annotations

import json
from collections.abc import Callable
from http.client import HTTPConnection
from pathlib import Path
from socket import socket
from typing import Any

from tests.serve.local import SECONDS, Answer, connected


def post(
    path: Path,
    call: str,
    body: bytes | dict[str, Any] = b"{}",
    prefix: str = "/v3",
    connect: Callable[[Path], socket] = connected,
) -> Answer:
    """POST it to a path below the prefix."""
    connection = HTTPConnection("localhost", timeout=SECONDS)
    connection.sock = connect(path)
    try:
        sent = json.dumps(body).encode() if isinstance(body, dict) else body
        connection.request("POST", prefix + call, sent)
        response = connection.getresponse()
        return Answer(response.status, response.headers, response.read())
    finally:
        connection.close()
