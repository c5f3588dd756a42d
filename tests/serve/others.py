"""Readers that are other users of this machine. The kernel remembers who connected, whoever speaks then."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.serve.local import SECONDS, Answer, Stream, target

needs_root = pytest.mark.skipif(
    os.geteuid() != 0, reason="NOT TESTED: what processes of other users may read (needs root)"
)

_CONNECT = """
import os, socket, sys
channel, path, uid, gid, *groups = sys.argv[1:]
os.setgroups([int(group) for group in groups])
os.setgid(int(gid))
os.setuid(int(uid))
connection = socket.socket(socket.AF_UNIX)
connection.connect(path)
socket.send_fds(socket.socket(fileno=int(channel)), [b"x"], [connection.fileno()])
"""


@dataclass(frozen=True)
class Other:
    """A user with a primary and further groups, none of which need have a name."""

    uid: int
    gid: int = 4_000_000
    groups: tuple[int, ...] = ()

    def connected(self, path: Path) -> socket.socket:
        """A connection that a process of this user made, and gave away."""
        ours, theirs = socket.socketpair()
        with ours, theirs:
            subprocess.run(
                [sys.executable, "-I", "-S", "-c", _CONNECT, str(theirs.fileno()), str(path)]
                + [str(number) for number in (self.uid, self.gid, *self.groups)],
                pass_fds=[theirs.fileno()],
                check=True,
            )
            _, [connection], _, _ = socket.recv_fds(ours, 1, 1)
        received = socket.socket(fileno=connection)
        received.settimeout(SECONDS)
        return received

    def stream(
        self,
        path: Path,
        target: str,
        headers: Mapping[str, str] | None = None,
        method: str = "GET",
    ) -> Stream:
        """Begin an answer that goes on."""
        return Stream(path, target, headers, method=method, connection=self.connected(path))

    def ask(self, path: Path, target: str, method: str = "GET", **headers: str) -> Answer:
        """One request; `_` in the names of headers stands for `-`."""
        fields = {name.replace("_", "-"): value for name, value in headers.items()}
        with self.stream(path, target, fields, method) as stream:
            return stream.whole()

    def get(self, path: Path, call: str, /, **parameters: object) -> Answer:
        """One request with parameters."""
        return self.ask(path, target(call, **parameters))


def open_to_all(path: Path) -> None:
    """Let every user connect to the socket at `path`."""
    path.chmod(0o666)
    path.parent.chmod(0o755)
