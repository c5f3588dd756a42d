"""Which endpoint is asked, and what is remembered of each."""

from __future__ import annotations

import random

import pytest

from syncd.gateway.endpoints import DUPLEX_RETRY, Endpoint, Endpoints, parse_version

URLS = ("http://a:1", "http://b:2", "http://c:3")


def test_the_first_endpoint_is_drawn() -> None:
    """A thousand daemons spread over the members."""
    first = [Endpoints(URLS, random.Random(seed)).current.url for seed in range(1000)]
    assert {url: first.count(url) > 250 for url in URLS} == dict.fromkeys(URLS, True)


def test_all_endpoints_take_their_turn() -> None:
    """Each failure leads to the next one, round and round."""
    endpoints = Endpoints(URLS, random.Random(1))
    seen = []
    for _ in range(6):
        seen.append(endpoints.current.url)
        endpoints.failed(endpoints.current, "silent")
    assert set(seen[:3]) == set(URLS)
    assert seen[3:] == seen[:3]
    assert [endpoint.failures for endpoint in endpoints] == [2, 2, 2]


def test_a_late_failure_moves_nothing() -> None:
    """Ten calls that fail at one endpoint skip no other."""
    endpoints = Endpoints(URLS, random.Random(1))
    dead = endpoints.current
    endpoints.failed(dead, "silent")
    alive = endpoints.current
    for _ in range(9):
        endpoints.failed(dead, "silent")
    assert endpoints.current is alive
    assert (dead.failures, alive.failures) == (10, 0)


def test_the_only_endpoint_stays() -> None:
    """There is no other; but what stands there may be another server now."""
    endpoints = Endpoints(("http://a:1/",), random.Random(1))
    endpoint = endpoints.current
    assert endpoint.url == "http://a:1"
    endpoint.prefix, endpoint.version = "/v3", "3.5.16"
    endpoints.failed(endpoint, "silent")
    assert endpoints.current is endpoint
    assert [endpoint.prefix, endpoint.version] == [None, ""]


def test_an_endpoint_is_found_by_its_url() -> None:
    """As errors and answers name it."""
    endpoints = Endpoints(URLS, random.Random(1))
    assert [endpoints.at(url).url for url in URLS] == list(URLS)


@pytest.mark.parametrize(
    ("version", "synchronised"),
    [
        ("", False),
        ("not a version", False),
        ("3.3.25", False),
        ("3.4.23", False),
        ("3.4.24", False),
        ("3.4.25", True),
        ("3.4.40", True),
        ("3.5.0", False),
        ("3.5.1", False),
        ("3.5.7", False),
        ("3.5.8", True),
        ("3.5.16", True),
        ("3.5.30", True),
        ("3.6.0", True),
        ("3.6.0-rc.2", True),
        ("4.0.0", True),
    ],
)
def test_which_versions_answer_progress_in_order(version: str, synchronised: bool) -> None:
    """Only those prove completeness; an unknown version counts as old."""
    assert Endpoint("http://a:1", version=version).synchronised is synchronised


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("3.5.16", (3, 5, 16)),
        ("3.5.16-pre+git", (3, 5, 16)),
        ("3.5", (0, 0, 0)),
        ("v3.5.1", (0, 0, 0)),
        ("", (0, 0, 0)),
    ],
)
def test_versions_are_compared_as_numbers(text: str, version: tuple[int, int, int]) -> None:
    """3.5.16 is newer than 3.5.8; what is no version is older than all."""
    assert parse_version(text) == version


def test_a_refused_duplex_stream_is_tried_again_after_an_hour() -> None:
    """Not before: each try costs seconds."""
    endpoint = Endpoint("http://a:1")
    assert endpoint.try_duplex(0)
    endpoint.duplex_refused_at = 100.0
    assert not endpoint.try_duplex(100.0 + DUPLEX_RETRY)
    assert endpoint.try_duplex(100.1 + DUPLEX_RETRY)
    endpoint.forget()
    assert not endpoint.try_duplex(101.0)
