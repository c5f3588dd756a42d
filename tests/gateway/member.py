"""What gives tokens to tests of them, and dice that are none."""

from __future__ import annotations

import asyncio
import random
from collections import deque
from math import inf

from syncd.gateway.auth import Tokens
from syncd.gateway.errors import GatewayError
from syncd.gateway.token import Token

URL, OTHER = "http://a:2379", "http://b:2379"


class Latest(random.Random):
    """No dice: always the upper bound."""

    def uniform(self, a: float, b: float) -> float:
        """The upper bound."""
        return b


class Earliest(random.Random):
    """The other way round."""

    def uniform(self, a: float, b: float) -> float:
        """The lower bound."""
        return a


class Member:
    """What gives tokens: `token 1`, `token 2`, … with this `life`, or what `answers` say; else `error`."""

    def __init__(self, life: float = inf, draw: random.Random | None = None) -> None:
        self.life = life
        self.answers: deque[GatewayError | Token] = deque()
        self.hung: asyncio.Event | None = None
        """What an answer waits for, if it has to."""
        self.error: GatewayError | None = None
        self.now = 0.0
        self.asked: list[tuple[float, str]] = []
        self.tokens = Tokens(self.authenticate, (URL, OTHER), draw or Latest(), lambda: self.now)

    async def authenticate(self, url: str) -> Token:
        """One request, which takes a moment."""
        self.asked.append((self.now, url))
        number = len(self.asked)
        await asyncio.sleep(0)
        if self.hung:
            await self.hung.wait()
        answer = self.answers.popleft() if self.answers else self.error
        if isinstance(answer, GatewayError):
            raise answer
        return answer if isinstance(answer, Token) else Token(f"token {number}", self.life)
