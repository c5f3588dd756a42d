"""watch: to be written."""

from __future__ import annotations

from syncd.serve.v3.handler import Handler

CALLS: dict[str, Handler] = {}
