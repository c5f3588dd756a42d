"""Why an error of the gateway came: as it says itself, or as a look at its endpoint tells."""

from __future__ import annotations

import asyncio
from importlib import import_module

from syncd.config import Etcd
from syncd.diagnosis.explain import explain
from syncd.findings import Finding
from syncd.gateway.errors import GatewayError
from syncd.keyrange import KeyRange

_LOOK_CLOSER = ("tls.", "gateway.cut", "gateway.malformed", "gateway.unavailable")
"""What an error may say that has causes which only the endpoint itself can show."""


async def why(error: GatewayError, etcd: Etcd, keys: KeyRange | None = None) -> list[Finding]:
    """At least one finding; within some seconds. `keys` is the range that was asked for, if it was one."""
    said = explain(error, etcd, keys)
    if not said.code.startswith(_LOOK_CLOSER):
        return [said]
    # Not before it is needed, as OpenSSL takes 9 MB; and in a thread, as it takes 60 ms.
    await asyncio.to_thread(import_module, "syncd.diagnosis.way")
    from syncd.diagnosis.way import look_closer  # noqa: PLC0415

    return await look_closer(error, etcd) or [said]
