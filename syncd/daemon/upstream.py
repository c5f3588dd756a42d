"""etcd as the server sees it: who it is, what it says of itself, and calls that are passed on to it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from math import inf
from typing import Any

import orjson

from syncd.errors import SyncdError
from syncd.gateway import Gateway
from syncd.gateway.errors import AnswerTooLong
from syncd.serve import Member
from syncd.serve.v3.errors import Code, EtcdError
from syncd.serve.v3.turns import Turns

AT_ONCE = 16
"""Calls that are with etcd at a time: each has a connection, and a descriptor."""

WAITING = 256
"""Calls that may wait for that."""

LARGEST = 8 << 20
"""Bytes of an answer, which is held until it is passed on."""

ASK_AGAIN = 1.0
"""Seconds after which etcd is asked again what it says of itself, however many want to know."""

PATIENCE = 1.0
"""Seconds that it has for that; then what it said last must do."""


class Upstream:
    """What `gateway` leads to; a call waits for its turn for `patience` seconds."""

    def __init__(self, gateway: Gateway, clock: Callable[[], float], patience: float) -> None:
        self._gateway = gateway
        self._clock = clock
        self._patience = patience
        self._turns = Turns(AT_ONCE, WAITING)
        self._told: dict[str, _Told] = {}

    def member(self) -> Member:
        """Who answered last."""
        header = self._gateway.last
        version = self._gateway.endpoints.current.version
        return Member(header.cluster_id, header.member_id, header.raft_term, version)

    async def call(self, path: str, body: bytes, user: int | None) -> tuple[int, bytes]:
        """etcd's own answer, a refusal included; GatewayError when there is none.

        EtcdError when it was not asked, as too many wait, or when its answer is longer than LARGEST.
        """
        async with self._turns.turn(user, asyncio.get_running_loop().time() + self._patience):
            try:
                reply = await self._gateway.forward(path, body, LARGEST)
            except AnswerTooLong as error:
                if error.status != 200:  # not etcd's
                    raise
                # Not RESOURCE_EXHAUSTED: whoever takes that for "too many requests" would do it twice.
                size = f"it is longer than {LARGEST >> 20} MiB"
                text = f"syncd: etcd has done {path}, but its answer is not passed on: {size}"
                raise EtcdError(Code.UNKNOWN, text) from error
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
                status, body = await self.call(path, b"{}", None)
            answer = orjson.loads(body) if status == 200 else None
        except (SyncdError, TimeoutError, orjson.JSONDecodeError):
            return None  # why etcd cannot be had, the mirrors tell
        return answer if isinstance(answer, dict) else None


class _Told:
    """The last answer at one path."""

    def __init__(self) -> None:
        self.asking = asyncio.Lock()
        self.asked = -inf
        self.answer: dict[str, Any] | None = None
