"""The way to one member, as the daemon has it: a proxy that knows what became of the daemon's tokens.

With `tls` it only passes on what it cannot read, so it knows nothing.
"""

from __future__ import annotations

from tests.proxy import Proxy

REFUSED = b"invalid auth token"
"""What etcd answers to a token that it does not know, or no longer; in whatever JSON its version makes."""

AUTHENTICATE = b"/auth/authenticate HTTP/1.1\r\n"


class Road(Proxy):
    """Nobody but the daemon uses it, so all tokens on it are the daemon's."""

    def __init__(self, port: int, *, tls: bool = False) -> None:
        super().__init__(port)
        self._scheme = "https" if tls else "http"
        self.replaced = 0
        """Tokens that etcd refused, and for each of which the daemon asked for another one then."""
        self._refused = False

    @property
    def url(self) -> str:
        """What stands in syncd's configuration."""
        return f"{self._scheme}://127.0.0.1:{self.port}"

    def saw(self, piece: bytes, *, up: bool) -> None:
        """Look for tokens refused, and for requests for others. They are short, and come in one piece."""
        if not up:
            self._refused = self._refused or REFUSED in piece
        elif self._refused and AUTHENTICATE in piece:
            self._refused = False
            self.replaced += 1
