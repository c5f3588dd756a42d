"""The metrics, computed when they are asked for: nothing is counted twice."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_1_0_0, generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from syncd.serve.context import Context
from syncd.status import STATES


def exposition(context: Context) -> tuple[bytes, str]:
    """The metrics in Prometheus' text format, and its content type."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Ranges(context))
    ProcessCollector(registry=registry)
    return generate_latest(registry), CONTENT_TYPE_PLAIN_1_0_0


class _Ranges(Collector):
    def __init__(self, context: Context) -> None:
        self._context = context

    def collect(self) -> Iterator[Metric]:
        def gauge(name: str, text: str, *labels: str) -> GaugeMetricFamily:
            return GaugeMetricFamily(f"syncd_{name}", text, labels=["range", *labels])

        def counter(name: str, text: str, *labels: str) -> CounterMetricFamily:
            return CounterMetricFamily(f"syncd_{name}", text, labels=["range", *labels])

        state = gauge("range_state", "1 for the state that the range is in, else 0", "state")
        revision = gauge("range_revision", "etcd's revision that the range is served at")
        age = gauge("range_age_seconds", "Seconds since the range was last proved current")
        keys = gauge("range_keys", "Keys in the range")
        size = gauge("range_bytes", "Bytes of keys and values in the range")
        events = counter("events_applied", "Events taken over from etcd")
        reads = counter("full_reads", "Times that the whole range was read, and why", "reason")
        reconnects = counter("watch_reconnects", "Times that the watch was opened anew, and why", "reason")
        for source in self._context.sources:
            status = source.status()
            name = status.range
            for each in STATES:
                state.add_metric([name, each], float(status.state == each))
            revision.add_metric([name], status.revision)
            if status.age is not None:
                age.add_metric([name], status.age)
            keys.add_metric([name], status.keys)
            size.add_metric([name], status.bytes)
            events.add_metric([name], status.counters.events_applied)
            for reason, count in status.counters.full_reads.items():
                reads.add_metric([name, reason], count)
            for reason, count in status.counters.watch_reconnects.items():
                reconnects.add_metric([name, reason], count)
        yield from (state, revision, age, keys, size, events, reads, reconnects)
        yield GaugeMetricFamily("syncd_readers", "Local watches that are open", value=self._context.readers)
