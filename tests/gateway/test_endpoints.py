"""Which endpoint is asked, and what is remembered of each."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from syncd.gateway.endpoints import (
    DUPLEX_RETRY,
    DUPLEX_RETRY_MOST,
    HOME_AFTER,
    Endpoint,
    Endpoints,
    parse_version,
    quarantine,
)

URLS = ("http://a:1", "http://b:2", "http://c:3")


def test_the_first_endpoint_is_drawn() -> None:
    """A thousand daemons spread over the members."""
    first = [Endpoints(URLS, random.Random(seed)).current.url for seed in range(1000)]
    assert {url: first.count(url) > 250 for url in URLS} == dict.fromkeys(URLS, True)


def drawn(home: str, urls: tuple[str, ...] = URLS) -> Endpoints:
    """Endpoints with this one at home."""
    seeds = (Endpoints(urls, random.Random(seed)) for seed in range(1000))
    return next(endpoints for endpoints in seeds if endpoints.home.url == home)


def fail(endpoints: Endpoints, url: str, now: float, began: float | None = None) -> bool:
    """A call that began then failed now."""
    return endpoints.failed(endpoints.at(url), f"{url} is dead", now, now if began is None else began)


def passes(endpoints: Endpoints, url: str, now: float) -> bool:
    """A probe is passed now."""
    return endpoints.passed(endpoints.at(url), now, now)


def succeeds(endpoints: Endpoints, url: str, now: float) -> bool:
    """A call succeeds now."""
    return endpoints.succeeded(endpoints.at(url), now, now)


def test_a_failure_leads_to_an_endpoint_that_is_well() -> None:
    """To any of them: the daemons of one member that dies do not all go to the next one."""
    second = Counter[str]()
    for seed in range(1000):
        endpoints = Endpoints(URLS, random.Random(seed))
        first = endpoints.current.url
        assert fail(endpoints, first, 0.0)
        assert endpoints.current.url != first
        second[endpoints.current.url] += 1
        other = endpoints.current.url
        assert fail(endpoints, other, 0.0)
        assert endpoints.current.url not in {first, other}
    assert {url: second[url] > 250 for url in URLS} == dict.fromkeys(URLS, True)


def test_when_all_fail_the_one_is_asked_whose_quarantine_ends_first() -> None:
    """And nothing waits for that: there is always a current one, and all have their turn."""
    endpoints = drawn(URLS[0])
    asked = Counter[str]()
    for second in range(1000):
        current = endpoints.current
        if not any(endpoint.well for endpoint in endpoints):
            assert current.quarantined_until == min(
                endpoint.quarantined_until or 0.0 for endpoint in endpoints
            )
        asked[current.url] += 1
        assert fail(endpoints, current.url, float(second)) is (second < 3)
    assert min(asked.values()) > 200


@pytest.mark.parametrize(
    ("failures", "limit"), [(1, 1), (2, 2), (3, 4), (4, 8), (6, 32), (7, 60), (8, 60), (5000, 60)]
)
def test_quarantine_doubles_up_to_a_minute(failures: int, limit: float) -> None:
    """Each is drawn between half of its limit and all of it."""
    draw = random.Random(1)
    times = [quarantine(failures, draw) for _ in range(1000)]
    assert limit / 2 <= min(times) < 0.6 * limit
    assert 0.9 * limit < max(times) <= limit


@pytest.mark.parametrize(
    ("began", "failures", "name"),
    [
        (0.0, 1, "a call from before the first failure: one outage, one failure"),
        (9.9, 1, "just before it"),
        (10.0, 2, "a call from after it, as all others fail, too"),
        (11.0, 2, "the same, later"),
    ],
)
def test_a_late_failure_punishes_nobody_twice(began: float, failures: int, name: str) -> None:
    """Ten calls that hang at one endpoint are one failure, however late they end."""
    endpoints = drawn(URLS[0])
    assert fail(endpoints, URLS[0], 10.0, began=0.0)
    until = endpoints.home.quarantined_until
    moved_on = endpoints.current
    assert not fail(endpoints, URLS[0], 20.0, began=began)
    assert endpoints.home.failures == failures, name
    assert (endpoints.home.quarantined_until == until) is (failures == 1)
    assert endpoints.current is moved_on
    assert moved_on.failures == 0


def test_what_fails_after_its_endpoint_recovered_is_news_if_it_was_well_since() -> None:
    """A stream that brought something since, but not a call that has hung all the time."""
    endpoints = drawn(URLS[0])
    fail(endpoints, URLS[0], 10.0)
    passes(endpoints, URLS[0], 12.0)
    assert not fail(endpoints, URLS[0], 14.0, began=1.0)
    assert endpoints.home.well
    assert fail(endpoints, URLS[0], 100.0, began=99.0)


@pytest.mark.parametrize(
    ("began", "well"),
    [(9.0, False), (10.0, True), (11.0, True)],
)
def test_only_what_began_after_a_failure_makes_up_for_it(began: float, well: bool) -> None:
    """A call that was answered late says nothing about what was found meanwhile, such as that it lags."""
    for told in (Endpoints.succeeded, Endpoints.passed):
        endpoints = drawn(URLS[0])
        fail(endpoints, URLS[0], 10.0)
        assert told(endpoints, endpoints.home, 12.0, began) is well
        assert endpoints.home.well is well
        assert endpoints.home.failures == (not well)
        assert told(endpoints, endpoints.home, 13.0, 13.0) is not well


def test_a_probe_ends_the_quarantine_but_only_a_call_makes_the_next_one_short() -> None:
    """An endpoint that answers probes, and nothing else, is not asked again every second for ever."""
    endpoints = drawn(URLS[0])
    now, times = 0.0, []
    for _ in range(10):
        fail(endpoints, URLS[0], now)
        assert endpoints.home.failures == 1
        times.append((endpoints.home.quarantined_until or 0.0) - now)
        now += 100.0
        assert passes(endpoints, URLS[0], now)
    assert times[0] <= 1
    assert min(times[6:]) >= 30
    assert not succeeds(endpoints, URLS[0], now)
    fail(endpoints, URLS[0], now)
    assert (endpoints.home.quarantined_until or 0.0) - now <= 1


def test_the_first_that_is_well_again_is_asked() -> None:
    """While all others are still in quarantine; later ones change nothing."""
    for first in URLS:
        endpoints = drawn(URLS[0])
        for url in URLS:
            fail(endpoints, url, 0.0)
        assert passes(endpoints, first, 1.0)
        assert endpoints.current.url == first
        for url in URLS:
            assert passes(endpoints, url, 2.0) is (url != first)
        assert endpoints.current.url == first


def test_home_is_where_everybody_goes_when_it_has_been_well_for_long() -> None:
    """Not at once, not while it fails again, and not all daemons at the same time."""
    left_at = []
    for seed in range(200):
        endpoints = Endpoints(URLS, random.Random(seed))
        home = endpoints.home
        fail(endpoints, home.url, 0.0)
        away = endpoints.current
        for now in (0.0, 1e6):
            assert not endpoints.homeward(away, now), "home is not well"
            assert endpoints.choose(now) is away
        passes(endpoints, home.url, 1.0)
        fail(endpoints, home.url, 200.0)
        passes(endpoints, home.url, 300.0)
        assert not endpoints.homeward(away, 300.0 + HOME_AFTER)
        assert endpoints.choose(300.0 + HOME_AFTER) is away
        left_at.append(next(t for t in range(10_000) if endpoints.homeward(away, float(t))))
        assert not endpoints.homeward(home, 1e6)
        assert endpoints.choose(float(left_at[-1])) is home is endpoints.current
        assert endpoints.homeward(away, float(left_at[-1])), "streams that are still there are told, too"
    assert 300 + HOME_AFTER < min(left_at) < 330 + HOME_AFTER
    assert 270 + 2 * HOME_AFTER < max(left_at) <= 301 + 2 * HOME_AFTER


def test_the_only_endpoint_stays() -> None:
    """There is no other; but what stands there may be another server now."""
    endpoints = drawn("http://a:1", ("http://a:1",))
    endpoint = endpoints.current
    endpoint.prefix, endpoint.version = "/v3", "3.5.16"
    assert fail(endpoints, endpoint.url, 1.0)
    assert not fail(endpoints, endpoint.url, 2.0)
    assert endpoints.current is endpoint
    assert endpoint.error == "http://a:1 is dead"
    assert [endpoint.prefix, endpoint.version] == [None, ""]
    assert succeeds(endpoints, endpoint.url, 3.0)
    assert endpoint.well


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


def test_a_refused_duplex_stream_is_tried_again_ever_more_rarely() -> None:
    """Each try costs seconds; one that is granted makes the next refusal the first."""
    endpoint = Endpoint("http://a:1")
    assert endpoint.try_duplex(0)
    for turn in range(12):
        tried = 1e6 * turn + 100.0
        for began in (tried - 10.0, tried - 5.0):  # the streams of two ranges: that is one refusal
            endpoint.duplex_tried(tried, began, refused=True)
        pause = min(DUPLEX_RETRY * 2**turn, DUPLEX_RETRY_MOST)
        assert not endpoint.try_duplex(tried + pause)
        assert endpoint.try_duplex(tried + 0.1 + pause)
        endpoint.forget()
        assert not endpoint.try_duplex(tried + 1.0)
    endpoint.duplex_tried(2e7, 2e7, refused=False)
    assert endpoint.try_duplex(2e7)
    endpoint.duplex_tried(3e7, 3e7, refused=True)
    assert endpoint.try_duplex(3e7 + 0.1 + DUPLEX_RETRY)
