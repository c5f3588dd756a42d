"""How fresh an answer must be, and the headers that say how fresh it is."""

from __future__ import annotations

import asyncio
import time
from math import ceil

from syncd.errors import SyncdError
from syncd.serve.context import Context
from syncd.serve.errors import ApiError
from syncd.serve.params import MAX_WAIT_MS, Params
from syncd.serve.source import Source

DEFAULT_WAIT_MS = 5000


async def require(context: Context, source: Source, params: Params, least: int = 0) -> None:
    """Wait until `source` is at `least`, and as fresh as `params` demand; or not_ready, too_stale."""
    max_age_ms = params.optional_integer("max_age_ms")
    least = max(least, params.integer("min_revision", 0))
    wait = params.integer("wait_ms", DEFAULT_WAIT_MS, most=MAX_WAIT_MS) / 1000
    unknown = params.flag("linearizable")
    try:
        async with asyncio.timeout(wait):
            if unknown:
                least = max(least, await etcd_revision(source))
                unknown = False
            if least:
                await reach(source, least)
    except TimeoutError as error:
        must_be_ready(context, source)
        if unknown or least > source.store.revision:  # it may have come in that very moment
            raise ApiError(
                "too_stale",
                f"revision {'of etcd' if unknown else least} was not reached within {wait:g} s",
                f"; {source.store.keys.name!r} is at {source.store.revision}",
            ) from error
    must_be_ready(context, source)
    if max_age_ms is not None:
        _, age = source.freshness()
        if age is None or age * 1000 > max_age_ms:
            proved = "it was never proved" if age is None else f"it was proved {age * 1000:.0f} ms ago"
            raise ApiError(
                "too_stale",
                f"revision {source.store.revision} is not proved current within {max_age_ms} ms: {proved}",
            )


def must_be_ready(context: Context, source: Source) -> None:
    """ApiError not_ready, with the reason and the cure if it is known, while there is nothing to serve."""
    if source.store.ready:
        return
    status = source.status()
    if status.error:
        reason = status.error
    elif status.syncing and status.syncing.count:
        reason = f"the first read is at {status.syncing.keys} of {status.syncing.count} keys"
    else:
        reason = "the first read has just begun"
    # One is enough to begin with; the status has them all.
    found = next((each for each in context.etcd().findings if each.level == "error"), None)
    if found:
        reason = f"{reason}; {found.code}, {found.subject}"
        if found.cure:
            reason = f"{reason}; cure: {_one_line(found.cure)}"
    raise ApiError("not_ready", "nothing was read yet", f" of {status.range!r}: {reason}")


def headers(source: Source) -> dict[str, str]:
    """Syncd-Revision, -Epoch, -State, -Age-Ms, -At-Ms; no epoch while cold, no age before the first proof."""
    state, age = source.freshness()
    return header_fields(source.store.revision, source.store.epoch, state, age)


def header_fields(revision: int, epoch: str, state: str, age: float | None) -> dict[str, str]:
    """The headers, from their values."""
    fields = {"Syncd-Revision": str(revision), "Syncd-State": state}
    if epoch:
        fields["Syncd-Epoch"] = epoch
    if age is not None:
        fields["Syncd-Age-Ms"] = str(age_ms(age))
        fields["Syncd-At-Ms"] = str(at_ms())
    return fields


def at_ms() -> int:
    """When an age is told, by a clock that every process of this machine shares (CLOCK_BOOTTIME).

    Whoever was stopped, and reads it later, knows by that how old it is by then.
    """
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1_000_000


def age_ms(age: float | None) -> int | None:
    """Whole milliseconds, rounded up: an age is never told too low. None stays None."""
    return None if age is None else ceil(age * 1000)


def _one_line(cure: str) -> str:
    sentence, *commands = cure.splitlines()
    return f"{sentence} {'; '.join(map(str.strip, commands))}".rstrip()


async def etcd_revision(source: Source) -> int:
    """etcd's revision now, or ApiError too_stale."""
    try:
        return await source.etcd_revision()
    except SyncdError as error:
        raise ApiError("too_stale", "linearizable: etcd did not tell its revision", f": {error}") from error


async def reach(source: Source, revision: int) -> None:
    """Wait until `source` is at `revision`."""
    moved = asyncio.Event()
    unsubscribe = source.store.subscribe(moved.set)
    try:
        if source.store.revision < revision:
            # An idle range learns of newer revisions only by asking.
            source.hurry()
        while source.store.revision < revision:
            moved.clear()
            await moved.wait()
    finally:
        unsubscribe()
