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
    """`code` is one of STATUS; `extra` are further members of the error object, such as oldest_revision.

    `detail` goes on where the message ends, for those alone who may read all that is mirrored: it tells of
    etcd, or of keys that were not asked for.
    """

    def __init__(self, code: str, message: str, detail: str = "", **extra: int) -> None:
        # A path may hold bytes that are not UTF-8, as surrogates, which JSON cannot.
        message, detail = (text.encode("utf-8", "backslashreplace").decode() for text in (message, detail))
        super().__init__(message)
        self.code = code
        self.status = STATUS[code]
        self.message = message
        self.detail = detail
        self._extra = extra

    def body(self, *, detailed: bool = False) -> bytes:
        """The answer's JSON, with a newline: people read it in terminals."""
        message = self.message + self.detail if detailed else self.message
        error = {"code": self.code, "message": message, **self._extra}
        return orjson.dumps({"error": error}, option=orjson.OPT_APPEND_NEWLINE)
