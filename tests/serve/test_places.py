"""Places for connections: how many there are, whose they are, and that each comes back."""

from __future__ import annotations

import resource
import socket
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncd.serve.places import MOST, RESERVED, Held, Places, enough
from syncd.serve.tally import TELL_AGAIN, Tally

Logged = list[Any]


class Clock:
    """Seconds, turned by hand."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        """The time now."""
        return self.now


@pytest.fixture
def clock() -> Clock:
    """It stands still."""
    return Clock()


@pytest.fixture
def places(clock: Clock) -> Places:
    """Ten places."""
    return Places(10, Tally(clock), "turned away")


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Two ends of a connection."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, theirs


def test_nobody_takes_all_of_them(places: Places, logged: Logged) -> None:
    """Neither one user, nor one who comes through TCP as well: whoever else comes finds a place."""
    assert [places.take(1) for _ in range(6)] == [True] * 5 + [False]
    assert [places.take(None) for _ in range(4)] == [True] * 3 + [False]
    assert [places.take(2) for _ in range(2)] == [True, False]
    assert places.take(3)
    assert [(line["event"], line["user"], line["open"], line["open_in_all"]) for line in logged] == [
        ("turned away", 1, 5, 5)
    ]
    logged.clear()


def test_it_is_told_once_a_minute(places: Places, clock: Clock, logged: Logged) -> None:
    """With how often it has happened since."""
    for _ in range(5):
        places.take(1)
    for _ in range(100):
        assert not places.take(1)
    clock.now += TELL_AGAIN
    assert not places.take(1)
    assert [(line["count"], line["user"], line["open"]) for line in logged] == [(1, 1, 5), (100, 1, 5)]
    logged.clear()


@given(st.lists(st.tuples(st.sampled_from([None, 0, 1]), st.booleans())), st.integers(1, 8))
def test_against_a_list(steps: list[tuple[int | None, bool]], limit: int) -> None:
    """Whatever comes and goes: all are counted."""
    clock = Clock()
    tally = Tally(clock)
    tally.tell = lambda event, **fields: None  # type: ignore[method-assign]
    places, model = Places(limit, tally, "turned away"), list[int | None]()
    for user, comes in steps:
        if comes:
            free = model.count(user) + 1 <= limit - len(model)
            assert places.take(user) == free
            if free:
                model.append(user)
        elif user in model:
            places.give_back(user)
            model.remove(user)


def test_it_comes_back_when_the_socket_is_closed(
    places: Places, pair: tuple[socket.socket, socket.socket]
) -> None:
    """Once, however often it is closed; and the connection is the one that was accepted."""
    ours, theirs = pair
    for _ in range(5):
        places.take(7)
    with closing(Held(ours, places, 7)) as held:
        assert (held.family, held.type) == (socket.AF_UNIX, socket.SOCK_STREAM)
        held.sendall(b"x")
        assert theirs.recv(1) == b"x"
        held.close()
        assert places.take(7)
    places.give_back(7)
    assert places.take(7)


@pytest.mark.parametrize(
    ("soft", "places"), [(20_000, MOST), (1024, 1024 - RESERVED), (300, 150), (1, 1), (1 << 30, MOST)]
)
def test_how_many_there_are(monkeypatch: pytest.MonkeyPatch, soft: int, places: int) -> None:
    """What the limit on open files leaves, up to a bound; never none."""
    monkeypatch.setattr(resource, "getrlimit", lambda _: (soft, soft))
    assert enough() == places
