"""Reads and watches a range for a moment, as the daemon would: what that shows.

It costs etcd little: one key, a sample, a watch that ends at once; and, where the range is larger than 4 MiB,
one page of that size, of which only the beginning is taken.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from math import ceil

from syncd.config import Config, Etcd
from syncd.diagnosis.catalogue import found
from syncd.diagnosis.commands import etcdctl
from syncd.diagnosis.explain import explain
from syncd.findings import Finding
from syncd.gateway import (
    AnswerTooLong,
    Gateway,
    GatewayError,
    MalformedAnswer,
    MessageTooLarge,
    Page,
    WatchStream,
)
from syncd.gateway.transport import translated
from syncd.keyrange import KeyRange
from syncd.sync.fullread import GRPC_KEY
from syncd.sync.heartbeat import TAKE_UP

WATCH_PATIENCE = 2.0
"""Seconds until a watch must have begun; etcd needs a millisecond."""

DUPLEX_PATIENCE = 1.0
"""Seconds, beyond some roads, for what comes a millisecond after a question. The daemon waits for longer: it
remembers what it finds. A check must come to its end."""

ROADS = 6
"""Round trips that connecting, TLS and a first answer take, and some more."""

EARLY_HEARTBEAT = 3.0
"""Seconds that a proof may take where an answer is believed only after a quiet second and another one: a
progress answer that may be early, or a comparison of the whole range (sync/heartbeat.py)."""

ROUND_TRIPS = 4
"""… in a heartbeat, at least: it asks thrice, and gives a stream up that is silent for half of one."""

SAMPLE_KEYS = 32
SAMPLE_BYTES = 6 << 20
"""Keys, and bytes of JSON at most, from which the size of the whole range is guessed."""

LARGE_PAGE = 9 << 19
"""Bytes as gRPC counts them: 4.5 MiB, more than gRPC's default limit of 4 MiB."""

BEGINNING = 64 << 10
"""Bytes of a large page that are taken. The gateway has all of it before it sends the first one."""

UNBUFFERED = (
    "let the proxy pass requests on as they come; nginx needs\n"
    "  proxy_request_buffering off;\n"
    "  proxy_buffering off;\n"
    "  proxy_http_version 1.1;\n"
    "HAProxy needs nothing. Or name etcd itself in etcd.endpoints"
)


async def range_findings(
    gateway: Gateway, keys: KeyRange, config: Config, clock: Callable[[], float]
) -> list[Finding]:
    """What there is to say of `keys` at the one endpoint that `gateway` knows. It takes some hundred ms.

    `clock` gives seconds, as the gateway's own.
    """
    etcd = config.etcd
    try:
        page = await gateway.range_page(keys, limit=1, revision=0)
        findings = [_read(keys, page, etcd)]
    except GatewayError as error:
        return [explain(error, etcd, keys)]
    try:
        watched = await _watch(gateway, keys, page.header.revision, etcd, clock)
    except GatewayError as error:
        findings.append(_watch_failed(explain(error, etcd, keys)))
    else:
        findings += watched.findings(keys, etcd)
    if page.count > 1:
        findings += await _message_limit(gateway, keys, page.count)
    return findings


def _ms(seconds: float) -> str:
    return f"{ceil(seconds * 1000)} ms"


def _subject(url: str, keys: KeyRange) -> str:
    return f"{url} {keys.name or '(all keys)'}"


def _read(keys: KeyRange, page: Page, etcd: Etcd) -> Finding:
    subject, revision = _subject(page.url, keys), page.header.revision
    if not page.count:
        return found(
            "range.empty",
            subject,
            f"no keys at revision {revision}",
            f"see which keys there are:\n  {etcdctl(etcd, page.url)} get --prefix '' --keys-only --limit=20",
        )
    return found(
        "range.ok", subject, f"{page.count:,} {'key' if page.count == 1 else 'keys'} at revision {revision}"
    )


@dataclass(frozen=True, slots=True)
class _Watched:
    """What a watch showed; times are seconds."""

    url: str
    revision: int
    """Where etcd was when it began; 0 when it did not."""
    round_trip: float
    """How long the cheapest linearizable read took."""
    duplex: bool
    progress: float | None
    """How long the answer to a progress request took; None when there was none."""
    synchronised: bool

    def findings(self, keys: KeyRange, etcd: Etcd) -> list[Finding]:
        """What that means."""
        findings = self._duplex(keys, etcd)
        if all(finding.level != "error" for finding in findings):
            subject = _subject(self.url, keys)
            findings.insert(0, found("watch.ok", subject, f"a watch began at revision {self.revision}"))
        return findings + self._heartbeat(etcd.timeouts.heartbeat)

    def _duplex(self, keys: KeyRange, etcd: Etcd) -> list[Finding]:
        if etcd.duplex == "off":
            return []
        if self.progress is not None:
            seen = f"a progress request on the stream was answered within {_ms(self.progress)}"
            return [found("gateway.duplex", self.url, seen)]
        seen = (
            f"a progress request on the stream was not answered within {DUPLEX_PATIENCE:g} s"
            if self.duplex
            else "reads are answered, but not a watch whose request stays open"
        )
        if etcd.duplex == "on":
            cure = f"{UNBUFFERED}. Or set etcd.duplex: auto"
            return [found("watch.failed", _subject(self.url, keys), f"{seen}, and etcd.duplex is on", cure)]
        return [found("gateway.no_duplex", self.url, seen, UNBUFFERED)]

    def _heartbeat(self, heartbeat: float) -> list[Finding]:
        early = EARLY_HEARTBEAT if self.progress is None or not self.synchronised else 0.0
        needed = max(early, ROUND_TRIPS * self.round_trip)
        if heartbeat >= needed:
            return []
        reason = (
            "two answers, a second apart, prove that a range is current here"
            if needed == early
            else f"one question takes {_ms(self.round_trip)} here"
        )
        return [
            found(
                "gateway.heartbeat_short",
                self.url,
                f"etcd.timeouts.heartbeat is {heartbeat:g} s; {reason}",
                f"set etcd.timeouts.heartbeat to {ceil(needed)}s or more",
            )
        ]


async def _watch(
    gateway: Gateway, keys: KeyRange, revision: int, etcd: Etcd, clock: Callable[[], float]
) -> _Watched:
    asked = clock()
    await gateway.revision(keys)
    round_trip = clock() - asked
    async with AsyncExitStack() as stack:
        stream = await _open(stack, gateway, keys, revision, etcd, clock)
        if stream is None:
            endpoint = gateway.endpoints.current
            return _Watched(endpoint.url, 0, round_trip, False, None, endpoint.synchronised)
        with translated(stream.url, f"a watch did not begin within {WATCH_PATIENCE:g} s"):
            async with asyncio.timeout(WATCH_PATIENCE):
                first = await anext(stream)
        if not first.created:
            raise MalformedAnswer(stream.url, "a watch does not begin with `created`")
        progress = await _progress(stream, round_trip, clock) if stream.duplex else None
        revision = first.header.revision
        return _Watched(stream.url, revision, round_trip, stream.duplex, progress, stream.synchronised)


async def _open(
    stack: AsyncExitStack,
    gateway: Gateway,
    keys: KeyRange,
    revision: int,
    etcd: Etcd,
    clock: Callable[[], float],
) -> WatchStream | None:
    """A watch from `revision` on; None when it must be duplex, and gets no answer.

    Not from the next revision on: a watch that begins in the future tells no progress (sync/mirror.py).
    """
    endpoint, asked = gateway.endpoints.current, clock()
    if etcd.duplex == "on" or (etcd.duplex == "auto" and endpoint.try_duplex(asked)):
        try:
            async with asyncio.timeout(DUPLEX_PATIENCE + ROADS * gateway.road):
                return await stack.enter_async_context(gateway.watch(keys, revision))
        except TimeoutError:
            # The gateway would find out by itself, but takes longer.
            endpoint.duplex_tried(clock(), asked, refused=True)
            if etcd.duplex == "on":
                return None
    with translated(endpoint.url, f"no answer to a watch within {WATCH_PATIENCE:g} s"):
        async with asyncio.timeout(WATCH_PATIENCE):
            return await stack.enter_async_context(gateway.watch(keys, revision))


async def _progress(stream: WatchStream, round_trip: float, clock: Callable[[], float]) -> float | None:
    """Seconds that the answer to a progress request took; None when none came."""
    until = clock() + DUPLEX_PATIENCE
    while (asked := clock()) < until:
        stream.request_progress()
        # Until etcd has taken the watch up, newer versions drop the request; so it is made again.
        try:
            async with asyncio.timeout(TAKE_UP + 2 * round_trip):
                while not (await anext(stream)).is_progress:
                    pass
                return clock() - asked
        except TimeoutError:
            continue
    return None


def _watch_failed(finding: Finding) -> Finding:
    """`finding`, which says that the range failed where nothing closer is known, of a watch."""
    if finding.code != "range.failed":
        return finding
    return found("watch.failed", finding.subject, finding.seen, finding.cure)


async def _message_limit(gateway: Gateway, keys: KeyRange, count: int) -> list[Finding]:
    """Whether etcd refuses an answer of more than 4 MiB, if the range has as much."""
    url = gateway.endpoints.current.url
    try:
        sample = await gateway.range_page(keys, limit=SAMPLE_KEYS, revision=0, most=SAMPLE_BYTES)
        weight = sum(len(record.key) + len(record.value) + GRPC_KEY for record in sample.records())
        if weight * count > LARGE_PAGE * len(sample):
            limit = LARGE_PAGE * len(sample) // weight + 1
            await gateway.range_page(keys, limit=limit, revision=0, most=BEGINNING)
    except AnswerTooLong:
        pass  # it did begin to answer
    except MessageTooLarge as error:
        cure = "upgrade etcd to 3.4.17 or later"
        return [found("gateway.message_limit", url, f"etcd refuses a large answer: {error.message}", cure)]
    except GatewayError as error:
        return [
            found("check.skipped", url, f"whether answers of more than 4 MiB get through: {error.message}")
        ]
    return []
