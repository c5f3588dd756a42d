"""A gateway client of one endpoint, as `syncd check` makes it for each."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from typing import Any

from syncd.config import Config, Etcd, Timeouts
from syncd.diagnosis.members import Member, member_findings
from syncd.diagnosis.ranges import range_findings
from syncd.findings import Finding
from syncd.gateway import Gateway
from syncd.keyrange import KeyRange, prefix_range


def alone(url: str, *, heartbeat: float = 5.0, request: float = 5.0, **settings: Any) -> tuple[Gateway, Etcd]:
    """Make the gateway, to be closed, and the configuration that it has."""
    timeouts = Timeouts(connect=1.0, request=request, heartbeat=heartbeat)
    etcd = Etcd(endpoints=(url,), timeouts=timeouts, **settings)
    clock = asyncio.get_running_loop().time
    return Gateway(etcd, draw=random.Random(1), clock=clock), etcd


def findings_of(members: Sequence[Member], urls: Sequence[str]) -> list[Finding]:
    """What is found of the members when these are the endpoints."""
    return member_findings(members, Etcd(endpoints=tuple(urls)))


async def ranged(url: str, keys: KeyRange | str = "/", **settings: Any) -> dict[str, Finding]:
    """Look at a range, or all keys with a prefix, at one endpoint: what is found, by code; each only once."""
    if isinstance(keys, str):
        keys = prefix_range(keys.encode())
    gateway, etcd = alone(url, **settings)
    async with gateway:
        clock = asyncio.get_running_loop().time
        findings = await range_findings(gateway, keys, Config(etcd=etcd, ranges=(keys,)), clock)
    by_code = {finding.code: finding for finding in findings}
    assert len(by_code) == len(findings)
    return by_code
