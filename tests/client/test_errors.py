"""The errors: one for each code of the contract, and what a watch does about them."""

import pytest

from syncd.client import errors
from syncd.client.answers import freshness, refusal, value
from syncd.client.errors import ClientError, ConnectError, ProtocolError, Remedy, answer_error, remedy
from syncd.client.http11 import Head
from syncd.client.status import decode_status
from syncd.errors import SyncdError
from syncd.records import Record

CODES = [
    "bad_request",
    "not_found",
    "not_mirrored",
    "forbidden",
    "not_ready",
    "too_stale",
    "compacted",
    "overloaded",
    "internal",
    "closing",
]


@pytest.mark.parametrize("code", CODES)
def test_every_code_has_its_error(code: str) -> None:
    """A reader can catch what it expects."""
    error = answer_error(code, "why")
    assert error.code == code
    assert str(error) == "why"
    assert isinstance(error, SyncdError)


def test_a_code_of_the_future_is_named() -> None:
    """A daemon that is newer than its reader does not confuse it."""
    assert str(answer_error("sulking", "why not")) == "sulking: why not"


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (answer_error("compacted", ""), Remedy.START_OVER),
        (answer_error("closing", ""), Remedy.RESUME),
        (answer_error("not_ready", ""), Remedy.RESUME),
        (answer_error("overloaded", ""), Remedy.RESUME),
        (errors.CutError(""), Remedy.RESUME),
        (errors.SilenceError(""), Remedy.RESUME),
        (ConnectError("/s", 2, "gone"), Remedy.RESUME),
        (answer_error("forbidden", ""), Remedy.GIVE_UP),
        (answer_error("not_mirrored", ""), Remedy.GIVE_UP),
        (answer_error("bad_request", ""), Remedy.GIVE_UP),
        (ProtocolError(""), Remedy.GIVE_UP),
    ],
)
def test_a_watch_goes_on_when_that_can_help(error: ClientError, expected: Remedy) -> None:
    """Lost connections are resumed, lost history means starting over, all else would fail again."""
    assert remedy(error) is expected


def test_a_refusal_tells_what_the_daemon_said() -> None:
    """Code, message, and what comes with some of them."""
    body = b'{"error":{"code":"compacted","message":"too old","oldest_revision":40}}'
    error = refusal(Head(410, {"retry-after": "2"}), body)
    assert isinstance(error, errors.CompactedError)
    assert (str(error), error.oldest_revision, error.retry_after) == ("too old", 40, 2.0)


@pytest.mark.parametrize(
    "body", [b"", b"502 Bad Gateway", b"\xff", b'{"error":"no"}', b'{"x":' + b"[" * 10_000]
)
def test_a_refusal_in_other_words_is_still_an_error(body: bytes) -> None:
    """Whatever answers there, its status is told."""
    error = refusal(Head(502, {}), body)
    assert isinstance(error, errors.InternalError)
    assert "502" in str(error)


def test_headers_tell_how_fresh_an_answer_is() -> None:
    """While nothing was ever proved there is neither age nor epoch."""
    head = Head(200, {"syncd-revision": "0", "syncd-state": "cold"})
    found = freshness(head)
    assert (found.revision, found.epoch, found.state, found.age_ms) == (0, "", "cold", None)


@pytest.mark.parametrize("headers", [{}, {"syncd-revision": "x", "syncd-state": "live"}])
def test_an_answer_without_our_headers_is_refused(headers: dict[str, str]) -> None:
    """Another server behind the socket is noticed."""
    with pytest.raises(ProtocolError):
        freshness(Head(200, headers))
    with pytest.raises(ProtocolError):
        value(b"k", Head(200, headers), b"")


def test_a_value_is_a_whole_record() -> None:
    """The headers tell what the value's bytes cannot."""
    headers = {
        "syncd-create-revision": "1",
        "syncd-mod-revision": "2",
        "syncd-version": "3",
        "syncd-lease": "4",
    }
    fresh = {"syncd-revision": "9", "syncd-epoch": "e", "syncd-state": "live", "syncd-age-ms": "0.5"}
    found = value(b"k", Head(200, {**headers, **fresh}), b"v")
    assert found.record == Record(b"k", b"v", 1, 2, 3, 4)
    assert found.freshness.age_ms == 0.5


def test_a_status_of_another_version_is_read_as_far_as_it_goes() -> None:
    """Unknown fields are passed over, missing ones have defaults."""
    found = decode_status(b'{"version":"9","moon":"full","ranges":[{"range":"/a","state":"cold"}]}')
    assert found.ranges[0].syncing is None
    assert found.ranges[0].counters.events_applied == 0
    for body in (b"[]", b'{"x":' + b"[" * 10_000):
        with pytest.raises(ProtocolError):
            decode_status(body)
