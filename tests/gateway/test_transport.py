"""What the HTTP library raises, in our words."""

from __future__ import annotations

import aiohttp
import pytest

from syncd.gateway import Unreachable
from syncd.gateway.transport import translated

CLOSED = "the connection was closed while the request was sent"


@pytest.mark.parametrize(
    ("raised", "told"),
    [
        (aiohttp.ClientOSError(None, "Can not write request body for http://etcd"), CLOSED),
        (aiohttp.ClientConnectionResetError("Cannot write to closing transport"), CLOSED),
        (aiohttp.ClientOSError(104, "Connection reset by peer"), "lost: Connection reset by peer"),
        (BrokenPipeError(32, "Broken pipe"), "lost: Broken pipe"),
        (aiohttp.ServerDisconnectedError(), "closed where an answer should have come"),
        (aiohttp.ClientConnectionError("Connection closed"), "Connection closed"),
    ],
)
def test_a_lost_connection_is_told_in_words(raised: Exception, told: str) -> None:
    """Not in the HTTP library's, which speak of its own insides; which one comes is a matter of chance."""
    with pytest.raises(Unreachable) as caught, translated("http://etcd", "too late"):
        raise raised
    assert caught.value.message.endswith(told)
    assert caught.value.why == "lost"
