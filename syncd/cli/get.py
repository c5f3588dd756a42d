"""`syncd get KEY`: one value, quickly."""

from __future__ import annotations

from syncd.cli.terminal import Output
from syncd.client import Client, Read, ReadOptions
from syncd.client.query import value


def get(client: Client, output: Output, key: bytes, read: ReadOptions, *, as_json: bool) -> None:
    """Print the value of `key`, or the whole record as the daemon's JSON."""
    _, body = client.fetch(value(key, Read(**read), as_json=as_json))
    if as_json:
        output.json(body.rstrip(b"\n"))
    else:
        output.value(body)
