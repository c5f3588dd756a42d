"""Requests: what is asked is what was wished, with any bytes in a key."""

from urllib.parse import parse_qsl, unquote_to_bytes, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncd.client import Bookmark, query
from syncd.client.query import Read, Request, Selection

ALL = Selection("prefix", b"")
UNDER_A = Selection("prefix", b"/a")


def parameters(request: Request) -> dict[str, str]:
    """Read a request's parameters as a server does."""
    return dict(parse_qsl(urlsplit(request.target).query, keep_blank_values=True, strict_parsing=True))


@given(st.binary())
def test_a_key_of_any_bytes_arrives_as_it_is(key: bytes) -> None:
    """Percent-encoding leaves nothing that could end the target or the parameter."""
    target = query.value(key).target
    assert target.isascii()
    assert not set(target) & set(" \r\n#+")
    assert unquote_to_bytes(target.removeprefix("/v1/value?key=")) == key


def test_a_plain_read_asks_for_nothing_special() -> None:
    """Whatever is served now is the default."""
    assert query.value(b"/a b").target == "/v1/value?key=/a%20b"
    assert query.snapshot(ALL).target == "/v1/snapshot?prefix="
    assert query.status().target == "/v1/status"


@pytest.mark.parametrize("request_for", [query.value, query.snapshot])
def test_conditions_of_a_read_are_parameters(request_for: object) -> None:
    """Seconds become the contract's milliseconds; the time to wait is added to the time-out."""
    read = Read(max_age=1.5, min_revision=7, wait=0.25, linearizable=True)
    request = query.value(b"k", read) if request_for is query.value else query.snapshot(ALL, read)
    asked = parameters(request)
    assert {name: asked[name] for name in asked if name not in {"key", "prefix"}} == {
        "max_age_ms": "1500",
        "min_revision": "7",
        "wait_ms": "250",
        "linearizable": "true",
    }
    assert request.patience == 0.25


def test_a_value_can_be_asked_for_as_json() -> None:
    """The Accept header says so."""
    assert query.value(b"k", as_json=True).headers == {"Accept": "application/json"}


def test_a_list_asks_for_keys_only() -> None:
    """Values are not sent for nothing."""
    assert parameters(query.snapshot(UNDER_A, keys_only=True))["keys_only"] == "true"


def test_a_watch_says_how_often_it_wants_to_hear_something() -> None:
    """The heartbeat is asked for, because the reader's time-out hangs on it."""
    assert parameters(query.watch(UNDER_A)) == {"prefix": "/a", "heartbeat_ms": "5000"}


def test_a_watch_resumes_after_a_revision_of_an_epoch() -> None:
    """Everything a watch can be asked for."""
    request = query.watch(UNDER_A, after=Bookmark(7, "c/1"), with_snapshot=True, prev_kv=True, heartbeat=0.5)
    assert parameters(request) == {
        "prefix": "/a",
        "heartbeat_ms": "500",
        "from": "7",
        "epoch": "c/1",
        "snapshot": "true",
        "prev_kv": "true",
    }


def test_a_bookmark_without_an_epoch_is_not_checked() -> None:
    """`--from` of the command line knows none."""
    asked = parameters(query.watch(UNDER_A, after=Bookmark(0)))
    assert (asked["from"], "epoch" in asked) == ("0", False)


def test_keys_are_those_under_a_prefix_or_a_single_one() -> None:
    """One of the two, and in a text the bytes that are not UTF-8 are escaped as a mirror gives them out."""
    assert query.selection("", None) == ALL
    assert query.selection(None, "/a\udcff") == Selection("key", b"/a\xff")
    assert parameters(query.watch(Selection("key", b"/a"))) == {"key": "/a", "heartbeat_ms": "5000"}
    assert query.snapshot(Selection("key", b"/a")).target == "/v1/snapshot?key=/a"
    for prefix, key in ((None, None), ("/", "/a")):
        with pytest.raises(TypeError, match="exactly one"):
            query.selection(prefix, key)
