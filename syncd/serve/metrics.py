"""The metrics, computed when they are asked for: nothing is counted twice."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime

from aiohttp import web
from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_1_0_0, generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from syncd.keyrange import KeyRange
from syncd.serve.context import Context
from syncd.serve.source import Source
from syncd.status import READ_REASONS, RECONNECT_REASONS, STATES, CacheStatus, CertificateStatus


def exposition(request: web.Request) -> tuple[bytes, str]:
    """What whoever asks may see, in Prometheus' text format, and its content type."""
    context = Context.of(request)
    visible = context.visible(request)
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Ranges(visible, context.readers))
    registry.register(_Caches(visible, context.caches()))
    if context.sees_all(request):
        registry.register(_Certificates(context.etcd().certificates))
    ProcessCollector(registry=registry)
    return generate_latest(registry), CONTENT_TYPE_PLAIN_1_0_0


class _Ranges(Collector):
    def __init__(self, sources: Sequence[Source], readers: int) -> None:
        self._sources = sources
        self._readers = readers

    def collect(self) -> Iterator[Metric]:
        def gauge(name: str, text: str, *labels: str) -> GaugeMetricFamily:
            return GaugeMetricFamily(f"syncd_{name}", text, labels=["range", *labels])

        def counter(name: str, text: str, *labels: str) -> CounterMetricFamily:
            return CounterMetricFamily(f"syncd_{name}", text, labels=["range", *labels])

        state = gauge("range_state", "1 for the state that the range is in, else 0", "state")
        held = gauge("range_held", "1 while the range's guard holds back what etcd has, else 0")
        revision = gauge("range_revision", "etcd's revision that the range is served at")
        age = gauge("range_age_seconds", "Seconds since the range was last proved current")
        lag = gauge("range_lag_revisions", "Revisions that etcd was ahead when it was last heard of")
        keys = gauge("range_keys", "Keys in the range")
        size = gauge("range_bytes", "Bytes of keys and values in the range")
        events = counter("events_applied", "Events taken over from etcd")
        reads = counter("full_reads", "Times that the whole range was read, and why", "reason")
        reconnects = counter("watch_reconnects", "Times that the watch was opened anew, and why", "reason")
        for source in self._sources:
            status = source.status()
            name = status.range
            for each in STATES:
                state.add_metric([name, each], float(status.state == each))
            held.add_metric([name], float(status.held is not None))
            revision.add_metric([name], status.revision)
            # Never proved: an alert on the age must see that.
            age.add_metric([name], math.inf if status.age is None else status.age)
            keys.add_metric([name], status.keys)
            size.add_metric([name], status.bytes)
            events.add_metric([name], status.counters.events_applied)
            lag.add_metric([name], status.lag)
            # Every reason from the start: a counter that appears with its first count has no rate.
            for reason in READ_REASONS:
                reads.add_metric([name, reason], status.counters.full_reads.get(reason, 0))
            for reason in RECONNECT_REASONS:
                reconnects.add_metric([name, reason], status.counters.watch_reconnects.get(reason, 0))
        yield from (state, held, revision, age, lag, keys, size, events, reads, reconnects)
        yield GaugeMetricFamily("syncd_readers", "Local watches that are open", value=self._readers)


class _Caches(Collector):
    def __init__(self, sources: Sequence[Source], caches: Mapping[KeyRange, CacheStatus]) -> None:
        self._caches = {keys: caches[keys] for source in sources if (keys := source.store.keys) in caches}

    def collect(self) -> Iterator[Metric]:
        works = GaugeMetricFamily(
            "syncd_cache_works",
            "1 when the range's copy on disk is written, 0 when it cannot be",
            labels=["range"],
        )
        revision = GaugeMetricFamily(
            "syncd_cache_revision", "etcd's revision of the range's copy on disk", labels=["range"]
        )
        size = GaugeMetricFamily("syncd_cache_bytes", "Bytes of the range's files on disk", labels=["range"])
        commits = CounterMetricFamily(
            "syncd_cache_commits", "Times that the copy was written", labels=["range"]
        )
        failures = CounterMetricFamily("syncd_cache_failures", "Times that it could not be", labels=["range"])
        for keys, status in self._caches.items():
            works.add_metric([keys.name], float(status.error is None))
            revision.add_metric([keys.name], status.revision)
            size.add_metric([keys.name], status.bytes)
            commits.add_metric([keys.name], status.commits)
            failures.add_metric([keys.name], status.failures)
        yield from (works, revision, size, commits, failures)


class _Certificates(Collector):
    def __init__(self, certificates: Iterable[CertificateStatus]) -> None:
        self._certificates = certificates

    def collect(self) -> Iterator[Metric]:
        ends: dict[tuple[str, ...], float] = {}
        for each in self._certificates:
            labels = each.role, each.source, each.subject
            end = datetime.fromisoformat(each.not_after).timestamp()
            # A file may hold a CA's old certificate beside the new one, both with the CA's name.
            ends[labels] = min(end, ends.get(labels, math.inf))
        expiry = GaugeMetricFamily(
            "syncd_certificate_expiry_timestamp_seconds",
            "When a certificate on the way to etcd expires, in seconds since 1970",
            labels=["role", "source", "subject"],
        )
        for names, first in ends.items():
            expiry.add_metric(names, first)
        if ends:
            yield expiry
