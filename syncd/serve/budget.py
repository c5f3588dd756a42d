"""How much of something there is for everybody, so that nobody takes it all."""

from __future__ import annotations

from collections import Counter

User = int | None
"""A uid; None for everybody who comes through TCP."""


class Budget:
    """`limit` of something. A user may have no more of it than is left free then.

    So one alone gets half of it, two a third each, and who comes new always finds some.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.taken = 0
        """By all."""
        self._by_user: Counter[User] = Counter()

    def of(self, user: User) -> int:
        """What a user has."""
        return self._by_user[user]

    def take(self, user: User, amount: int = 1) -> bool:
        """Take so much, if that is left."""
        if self._by_user[user] + amount > self.limit - self.taken:
            return False
        self.taken += amount
        self._by_user[user] += amount
        return True

    def give_back(self, user: User, amount: int = 1) -> None:
        """It is free again."""
        self.taken -= amount
        self._by_user[user] -= amount
        if not self._by_user[user]:
            del self._by_user[user]
