"""What a look at the way to etcd found: frozen values, for `syncd check`, the daemon's log and its status."""

from __future__ import annotations

from typing import Literal

import msgspec

Level = Literal["ok", "note", "warning", "error"]
LEVELS: tuple[Level, ...] = ("ok", "note", "warning", "error")
"""From good to bad: all is well; worth knowing; goes well, but not for ever or not always; stops syncd."""


class Finding(msgspec.Struct, frozen=True):
    """One thing that was found out.

    `code` is made of dotted words, stable and documented (`tls.server_cert_expired`). `subject` is what was
    looked at: an endpoint's URL, a file, a range. `seen` is what was seen there, `means` what that means, and
    `cure` how to mend it, with the commands; both are empty when all is well.
    """

    code: str
    level: Level
    subject: str
    seen: str
    means: str = ""
    cure: str = ""
