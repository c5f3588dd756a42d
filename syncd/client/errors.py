"""What can go wrong between a local reader and syncd.

    ClientError
    ├── ConnectError        the socket cannot be reached: missing, nobody behind it, not permitted
    ├── SilenceError        connected, but nothing came for longer than was agreed
    ├── CutError            the answer broke off: what was read so far is not the whole
    ├── ProtocolError       the answer is not what syncd would say
    └── AnswerError         syncd's own refusal, with its `code`
        ├── BadRequestError  ├── ForbiddenError  ├── NotFoundError    ├── NotMirroredError
        ├── NotReadyError    ├── TooStaleError   ├── CompactedError   ├── OverloadedError
        └── InternalError    └── ClosingError

`remedy()` alone decides whether a watch that met an error goes on.
"""

from __future__ import annotations

import enum
from typing import ClassVar

from syncd.errors import SyncdError


class ClientError(SyncdError):
    """Base of all that a reader of the local API can meet."""


class ConnectError(ClientError):
    """The socket cannot be reached; `errno` and `path` say why and which."""

    def __init__(self, path: str, errno: int | None, reason: str) -> None:
        super().__init__(f"cannot connect to {path}: {reason}")
        self.path = path
        self.errno = errno
        self.reason = reason


class SilenceError(ClientError):
    """Nothing came within the agreed time; a watch that lives sends progress."""


class CutError(ClientError):
    """The answer broke off before its end."""


class ProtocolError(ClientError):
    """The answer cannot be understood; it does not come from a syncd of this API."""


class AnswerError(ClientError):
    """What syncd refused, in its own words; `code` is one of the contract's."""

    code: ClassVar[str] = ""

    def __init__(
        self, message: str, *, retry_after: float | None = None, oldest_revision: int | None = None
    ) -> None:
        super().__init__(message)
        self.retry_after = retry_after
        """Seconds after which to ask again; None when syncd did not say."""
        self.oldest_revision = oldest_revision
        """With `compacted`: the oldest revision that a watch can begin after."""


class BadRequestError(AnswerError):
    """A parameter is wrong."""

    code = "bad_request"


class ForbiddenError(AnswerError):
    """The user of this process may not read these keys."""

    code = "forbidden"


class NotFoundError(AnswerError):
    """The key does not exist at the answer's revision."""

    code = "not_found"


class NotMirroredError(AnswerError):
    """No mirrored range covers what was asked for."""

    code = "not_mirrored"


class NotReadyError(AnswerError):
    """The range has nothing to serve yet."""

    code = "not_ready"


class TooStaleError(AnswerError):
    """What syncd holds was last proved longer ago, or is an older revision, than asked for."""

    code = "too_stale"


class CompactedError(AnswerError):
    """The history no longer reaches back to the revision a watch wanted to resume after."""

    code = "compacted"


class OverloadedError(AnswerError):
    """Too many readers, or this one did not read."""

    code = "overloaded"


class InternalError(AnswerError):
    """A fault of syncd's own; its log has the details."""

    code = "internal"


class ClosingError(AnswerError):
    """The daemon stops; watch again when it is back."""

    code = "closing"


_BY_CODE: dict[str, type[AnswerError]] = {cls.code: cls for cls in AnswerError.__subclasses__()}


def answer_error(
    code: str, message: str, *, retry_after: float | None = None, oldest_revision: int | None = None
) -> AnswerError:
    """Make the error for a code; one that is not known here is an `InternalError` that names it."""
    known = _BY_CODE.get(code)
    text = message if known else f"{code}: {message}"
    return (known or InternalError)(text, retry_after=retry_after, oldest_revision=oldest_revision)


class Remedy(enum.Enum):
    """How to go on with a watch that met an error."""

    RESUME = "resume"
    """Connect again and resume after the last revision seen."""
    START_OVER = "start over"
    """The changes since are lost; begin again with a snapshot."""
    GIVE_UP = "give up"
    """It would fail in the same way again."""


def asked_to_wait(error: ClientError) -> float:
    """Return the seconds that the daemon asked to be left in peace, if it did."""
    return (isinstance(error, AnswerError) and error.retry_after) or 0.0


def remedy(error: ClientError) -> Remedy:
    """Decide what a watch that had been connected does about `error`."""
    match error:
        case CompactedError():
            return Remedy.START_OVER
        case BadRequestError() | ForbiddenError() | NotFoundError() | NotMirroredError() | ProtocolError():
            return Remedy.GIVE_UP
        case _:
            return Remedy.RESUME
