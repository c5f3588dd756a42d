"""What a local reader is told when it cannot have what it asked for."""

from __future__ import annotations

import orjson

from syncd.errors import SyncdError

STATUS = {
    "bad_request": 400,
    "forbidden": 403,
    "not_found": 404,
    "not_mirrored": 404,
    "compacted": 410,
    "internal": 500,
    "not_ready": 503,
    "overloaded": 503,
    "too_stale": 503,
}
"""HTTP status of each code; the codes are part of the contract."""


class ApiError(SyncdError):
    """`code` is one of STATUS; `extra` are further members of the error object, such as oldest_revision."""

    def __init__(self, code: str, message: str, **extra: int) -> None:
        # A path may hold bytes that are not UTF-8, as surrogates, which JSON cannot.
        message = message.encode("utf-8", "backslashreplace").decode()
        super().__init__(message)
        self.code = code
        self.status = STATUS[code]
        self._error = {"code": code, "message": message, **extra}

    def body(self) -> bytes:
        """The answer's JSON, with a newline: people read it in terminals."""
        return orjson.dumps({"error": self._error}, option=orjson.OPT_APPEND_NEWLINE)
