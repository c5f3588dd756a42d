"""The watches of one request, counted among those of its user."""

from __future__ import annotations

from typing import Self

from aiohttp import web

from syncd.serve.context import Context
from syncd.serve.errors import ApiError

MOST = 1024
"""Watches on one stream, all of which are looked at whenever something changes."""


class Readers:
    """Takes a place for each watch, and gives back what is left of them at the end."""

    def __init__(self, context: Context, request: web.Request) -> None:
        self._tally = context.tally
        self._places = context.watches
        self._user = context.user(request)
        self.count = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.count:
            self._places.give_back(self._user, self.count)
            self.count = 0

    def add(self) -> None:
        """There is one more; ApiError overloaded when its stream, or its user, may have no more."""
        if self.count >= MOST:
            told = f"{self.count} watches are open on this stream, that is the limit; open another one"
            self._tally.tell("watches refused", reason=told)
            raise ApiError("overloaded", told)
        if not self._places.take(self._user):
            own = self._places.of(self._user)
            raise ApiError("overloaded", f"{own} watches are open, and no more are left for you; share one")
        self.count += 1

    def remove(self) -> None:
        """One is over."""
        self._places.give_back(self._user)
        self.count -= 1
