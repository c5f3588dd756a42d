"""A token of etcd's authentication, and for how long it is good. Pure.

A simple token does not tell: etcd ends it when it was not used for `--auth-token-ttl` (300 s). A JWT names
its end as seconds since 1970, by the clock of the member that gave it; etcd's do not say when they began
(seen on all versions), and those of 3.3 have no end. The answer that brings one has a Date of the same
clock, so the difference is its life, however wrong the clock here is.
"""

from __future__ import annotations

from base64 import urlsafe_b64decode
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from math import inf

import msgspec

LIFE_LEAST = 1.0
"""Seconds. Nobody configures a shorter life, but the Date may be that of a proxy with a wrong clock, and
would have tokens renewed all the time."""


@dataclass(frozen=True, slots=True)
class Token:
    """What is sent as `Authorization`, as it is: a `Bearer ` prefix fails before 3.5.32."""

    text: str = field(repr=False)
    life: float = inf
    """Seconds from when it was asked for; infinite when nobody knows."""


NO_TOKEN = Token("")
"""What is there to send while etcd has its authentication switched off."""


class _Claims(msgspec.Struct):
    exp: float = inf


_claims = msgspec.json.Decoder(_Claims)


def life(token: str, date: str) -> float:
    """Seconds that `token` has left at `date`, a header of HTTP; infinite when that cannot be told.

    The claims are not verified: whoever forged them could as well refuse the token.
    """
    parts = token.split(".")
    if len(parts) != 3:
        return inf
    try:
        payload = urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4))
        # Dates are whole seconds: it may have begun nearly one later.
        seconds = _claims.decode(payload).exp - parsedate_to_datetime(date).timestamp() - 1
    except (ValueError, OverflowError, RecursionError, msgspec.MsgspecError):
        return inf
    return seconds if seconds >= LIFE_LEAST else inf
