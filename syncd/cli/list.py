"""`syncd list PREFIX`: the keys, without their values."""

from __future__ import annotations

from syncd.cli.terminal import Output
from syncd.client import Client, ReadOptions


def list_keys(client: Client, output: Output, prefix: bytes, read: ReadOptions, *, as_json: bool) -> None:
    """Print one key a line, or one record a line as the daemon's JSON; CutError when some are missing."""
    with client.snapshot(prefix, keys_only=True, **read) as snapshot:
        for record in snapshot:
            if as_json:
                output.json(snapshot.line)
            else:
                output.key(record.key)
