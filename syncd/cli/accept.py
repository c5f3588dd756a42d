"""`syncd accept RANGE`: let a guarded range shrink as etcd says."""

from __future__ import annotations

from syncd.cli.terminal import Output
from syncd.client import Client


def accept(client: Client, output: Output, name: str) -> None:
    """Accept what is held, and say whether there was anything."""
    held, shown = client.accept(name), name or "(all keys)"
    said = f"accepted: {shown} is read from etcd again" if held else f"nothing of {shown} is held"
    output.key(said.encode())
