"""Both fronts in one shape, so that one test asks both: that of `AsyncClient`."""

from collections.abc import Callable
from typing import Any, Self, cast

from syncd.client import AsyncClient, Client

Front = Callable[..., AsyncClient]
"""Makes a client, as the classes do."""


def blocking(*arguments: Any, **options: Any) -> AsyncClient:
    """Make a blocking client that can be awaited: it blocks the loop, but in a test nothing else is in it."""
    return cast("AsyncClient", _Awaitable(Client(*arguments, **options)))


FRONTS: dict[str, Front] = {"blocking": blocking, "asyncio": AsyncClient}

_AWAITED = {"get", "list", "status", "wait", "accept", "fetch", "open", "receive"}
_GIVE_STREAMS = {"snapshot", "watch"}


class _Awaitable:
    """A blocking client, snapshot, watch or iterator, with the asynchronous one's methods."""

    def __init__(self, blocking: Any) -> None:
        self._blocking = blocking

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(self._blocking, name)
        if name in _AWAITED:

            async def ask(*arguments: Any, **options: Any) -> Any:
                return attribute(*arguments, **options)

            return ask
        if name in _GIVE_STREAMS:
            return lambda *arguments, **options: _Awaitable(attribute(*arguments, **options))
        if name == "messages":
            return lambda: _Awaitable(attribute())
        return attribute

    async def __aenter__(self) -> Self:
        self._blocking.__enter__()
        return self

    async def __aexit__(self, *error: object) -> None:
        self._blocking.__exit__(*error)

    def __aiter__(self) -> Self:
        return type(self)(iter(self._blocking))

    async def __anext__(self) -> Any:
        try:
            return next(self._blocking)
        except StopIteration:
            raise StopAsyncIteration from None
