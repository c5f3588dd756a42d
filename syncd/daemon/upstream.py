"""etcd as the server sees it: who it is, what it says of itself, and calls that are passed on to it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from math import inf
from typing import Any

import orjson

from syncd.gateway import Gateway
from syncd.gateway.errors import GatewayError
from syncd.serve import Member

ASK_AGAIN = 1.0
"""Seconds after which etcd is asked again what it says of itself, however many want to know."""

PATIENCE = 1.0
"""Seconds that it has for that; then what it said last must do."""


class Upstream:
    """What `gateway` leads to."""

    def __init__(self, gateway: Gateway, clock: Callable[[], float]) -> None:
        self._gateway = gateway
        self._clock = clock
        self._told: dict[str, _Told] = {}

    def member(self) -> Member:
        """Who answered last."""
        header = self._gateway.last
        version = self._gateway.endpoints.current.version
        return Member(header.cluster_id, header.member_id, header.raft_term, version)

    async def call(self, path: str, body: bytes) -> tuple[int, bytes]:
        """etcd's own answer, a refusal included; GatewayError when there is none."""
        reply = await self._gateway.forward(path, body)
        return reply.status, reply.body

    async def about(self, path: str) -> dict[str, Any] | None:
        """What etcd says, or said last, at a path that asks about itself."""
        told = self._told.setdefault(path, _Told())
        async with told.asking:
            if self._clock() - told.asked >= ASK_AGAIN:
                told.answer = await self._ask(path) or told.answer
                told.asked = self._clock()
        return told.answer

    async def _ask(self, path: str) -> dict[str, Any] | None:
        try:
            async with asyncio.timeout(PATIENCE):
                status, body = await self.call(path, b"{}")
            answer = orjson.loads(body) if status == 200 else None
        except (GatewayError, TimeoutError, orjson.JSONDecodeError):
            return None  # why etcd cannot be had, the mirrors tell
        return answer if isinstance(answer, dict) else None


class _Told:
    """The last answer at one path."""

    def __init__(self) -> None:
        self.asking = asyncio.Lock()
        self.asked = -inf
        self.answer: dict[str, Any] | None = None
