"""What a token says of its end."""

from __future__ import annotations

import json
from base64 import urlsafe_b64encode
from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncd.gateway.token import LIFE_LEAST, Token, life

DATE, THEN = "Mon, 23 Nov 2026 14:51:40 GMT", 1795445500
"""The same moment, twice."""


def jwt(payload: object) -> str:
    """A token with this payload, as JSON or as it is; etcd leaves the padding out."""
    written = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    return f"eyJhbGciOiJSUzI1NiJ9.{urlsafe_b64encode(written).decode().rstrip('=')}.signature"


def test_a_jwt_tells_its_end() -> None:
    """By the clock of the member that gave it; etcd's own claims, of any length."""
    for user in ("", "a", "ab", "abc"):
        token = jwt({"exp": THEN + 300, "revision": 8, "username": user})
        assert life(token, DATE) == 299  # the date is cut to a second
    assert life(jwt({"exp": THEN + 3.5}), DATE) == 2.5


@pytest.mark.parametrize(
    "token",
    [
        "",
        "EkhCgoIAMRLJIBBj.90",  # a simple one
        "a.b.c",
        "..",
        jwt({"revision": 8, "username": "reader"}),  # from 3.3.25
        jwt({"exp": str(THEN + 300)}),
        jwt({"exp": True}),
        jwt({"exp": None}),
        jwt({"exp": [THEN + 300]}),
        jwt([THEN + 300]),
        jwt(b""),
        jwt(b"\xff\xfe"),
        jwt(b"[" * 100_000),
        jwt(b'{"exp": NaN}'),
        jwt(b'{"exp": 1e999}'),
        jwt({"exp": THEN - 1}),  # over before it came: somebody's clock is wrong
        jwt({"exp": THEN}),
        jwt({"exp": THEN + 1 + LIFE_LEAST / 2}),
        jwt({"exp": -1e308}),
        jwt({"exp": THEN + 300}) + ".",
        jwt({"exp": THEN + 300}).replace(".eyJ", ".é"),
    ],
)
def test_whatever_is_odd_has_no_known_end(token: str) -> None:
    """It is used until etcd refuses it."""
    assert life(token, DATE) == inf


@pytest.mark.parametrize("date", ["", "now", "Mon, 23 Nov", "Mon, 99 Nov 2026 14:51:40 GMT", "\0"])
def test_without_a_date_there_is_no_known_end(date: str) -> None:
    """The clock here may be any."""
    assert life(jwt({"exp": THEN + 300}), date) == inf


@given(st.text(), st.text())
def test_any_text_is_taken(token: str, date: str) -> None:
    """What a server sends must not stop a daemon."""
    assert life(token, date) >= LIFE_LEAST
    assert life(f"a.{token}.b", DATE) >= LIFE_LEAST


@given(st.binary())
def test_any_payload_is_taken(payload: bytes) -> None:
    """The same, one layer further in."""
    assert life(jwt(payload), DATE) >= LIFE_LEAST


def test_a_token_does_not_show_itself() -> None:
    """Whoever prints one gets no secret."""
    assert "secret" not in repr(Token("secret")) + str(Token("secret"))
