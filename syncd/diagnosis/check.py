"""`syncd check`: the whole way, from this host to each range on each endpoint; what can, side by side."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from datetime import UTC, datetime

import msgspec

from syncd.config import Config
from syncd.config.files import Unusable
from syncd.diagnosis.bugs import version_findings
from syncd.diagnosis.catalogue import found
from syncd.diagnosis.certificates import in_files, shown_by
from syncd.diagnosis.ends import SOON, Certificate, end_finding
from syncd.diagnosis.explain import explain
from syncd.diagnosis.local import local_findings
from syncd.diagnosis.look import look
from syncd.diagnosis.members import Member, ask_member, member_findings
from syncd.diagnosis.ranges import range_findings
from syncd.diagnosis.tls import Own
from syncd.diagnosis.way import clock_finding, own_certificates, road_findings
from syncd.diagnosis.why import why
from syncd.findings import Finding
from syncd.gateway import Gateway, GatewayError, PermissionDenied
from syncd.keyrange import KeyRange

PATIENCE = 3.6
"""Seconds for one endpoint, all steps together."""

STEP = 1.2
"""Seconds for one answer of the gateway: an etcd that needs longer is not well."""


async def check(config: Config, progress: Callable[[str], None]) -> list[Finding]:
    """All that is found, within five seconds; `progress` is told what was looked at last."""
    return await _Check(config, progress).run()


class _Check:
    def __init__(self, config: Config, progress: Callable[[str], None]) -> None:
        self._config = config
        self._progress = progress
        self._here: list[Finding] = []
        self._endpoints: dict[str, list[Finding]] = {url: [] for url in config.etcd.endpoints}
        self._members: list[Member] = []
        self._shown: list[Certificate] = []
        self._ranges_are_asked_for = False

    async def run(self) -> list[Finding]:
        etcd = self._config.etcd
        try:
            own = own_certificates(etcd)
        except Unusable as error:  # it was good when the configuration was read
            return [found(error.code, str(error.path), str(error), error.cure)]
        async with asyncio.TaskGroup() as group:
            group.create_task(self._look_here(), name="this host")
            for url in etcd.endpoints:
                group.create_task(self._in_time(url, own), name=f"the way to {url}")
        findings = [*self._here, *_together(self._endpoints.values()), *self._ends(own)]
        for version in sorted({member.version for member in self._members}):
            findings += version_findings(f"etcd {version}".strip(), version)
        for member in self._members:
            if member.error:
                findings.append(explain(member.error, etcd))
        return findings + member_findings(self._members, etcd.endpoints)

    def _ends(self, own: Own) -> Iterator[Finding]:
        """The certificates that end soon; what those do that have ended, the handshakes tell."""
        now = datetime.now(UTC)
        for each in (*in_files(own.tls, own.authorities, own.chain), *self._shown):
            left = (each.not_after - now).total_seconds()
            if 0 < left < SOON:
                yield end_finding(each, left)

    async def _look_here(self) -> None:
        self._here += await asyncio.to_thread(local_findings, self._config)
        self._progress("this host")

    async def _in_time(self, url: str, own: Own) -> None:
        try:
            async with asyncio.timeout(PATIENCE):
                await self._walk(url, own)
        except TimeoutError:
            cure = "see how etcd and its host are doing:\n  etcdctl endpoint status --cluster"
            self._add(url, found("check.timeout", url, f"not done within {PATIENCE:g} s", cure))

    def _add(self, url: str, *findings: Finding) -> None:
        told = self._endpoints[url]
        for finding in findings:
            self._progress(f"{finding.subject}, {finding.code}")
            # Each range may say the same of the endpoint.
            if all((finding.code, finding.subject) != (other.code, other.subject) for other in told):
                told.append(finding)

    async def _walk(self, url: str, own: Own) -> None:
        sight = await look(url, own.tls)
        now = datetime.now(UTC)
        road = road_findings(sight, own, now)
        self._add(url, *road)
        if sight.handshake and sight.handshake.chain:
            self._shown.append(shown_by(url, sight.handshake.chain[0]))
        if not _good(road):
            self._add(url, found("check.skipped", url, "not looked at: the gateway and all behind it"))
            return
        if clock := clock_finding(sight, now):
            self._add(url, clock)
        etcd, usual = self._config.etcd, self._config.etcd.timeouts
        timeouts = msgspec.structs.replace(
            usual, connect=min(usual.connect, STEP), request=min(usual.request, STEP)
        )
        alone = msgspec.structs.replace(etcd, endpoints=(url,), timeouts=timeouts)
        dice = random.Random()  # noqa: S311 - spreads load, guards nothing
        async with Gateway(alone, draw=dice, clock=asyncio.get_running_loop().time) as gateway:
            await self._ask(gateway, url)

    async def _ask(self, gateway: Gateway, url: str) -> None:
        etcd, ranges = self._config.etcd, self._config.ranges
        try:
            await gateway.revision(ranges[0])
        except PermissionDenied:
            pass  # each range tells it of itself
        except GatewayError as error:
            self._add(url, *await why(error, etcd))
            self._add(url, found("check.skipped", url, "not looked at: the ranges"))
            # One that has lost the others still tells that.
            self._members.append(replace(await ask_member(gateway), error=None))
            return
        endpoint = gateway.endpoints.current
        self._add(url, found("gateway.ok", url, f"etcd {endpoint.version} answers at {endpoint.prefix}"))
        if gateway.unguarded:
            cure = "take etcd.user out of the configuration, or switch it on:\n  etcdctl auth enable"
            self._add(url, found("auth.off", url, "authentication is not enabled", cure))
        elif etcd.user is not None:
            self._add(url, found("auth.ok", url, f"etcd lets the user {etcd.user!r} in"))
        # Each member would say the same of all of them; one range tells what is different on another road.
        asked, self._ranges_are_asked_for = ranges[:1] if self._ranges_are_asked_for else ranges, True
        async with asyncio.TaskGroup() as group:
            group.create_task(self._ask_member(gateway), name=f"member at {url}")
            for keys in asked:
                group.create_task(self._ask_range(gateway, url, keys), name=f"{keys.name} at {url}")

    async def _ask_member(self, gateway: Gateway) -> None:
        self._members.append(await ask_member(gateway, self._config.ranges[0]))

    async def _ask_range(self, gateway: Gateway, url: str, keys: KeyRange) -> None:
        clock = asyncio.get_running_loop().time
        self._add(url, *await range_findings(gateway, keys, self._config, clock))


def _good(findings: Iterable[Finding]) -> bool:
    return all(finding.level != "error" for finding in findings)


def _together(endpoints: Iterable[list[Finding]]) -> list[Finding]:
    """The findings of all endpoints: what is wrong with one does not stop syncd when another one is good."""
    endpoints = list(endpoints)
    if not any(map(_good, endpoints)):
        return [finding for findings in endpoints for finding in findings]
    return [_spared(finding) for findings in endpoints for finding in findings]


def _spared(finding: Finding) -> Finding:
    if finding.level != "error":
        return finding
    means = f"{finding.means}; syncd goes on with another endpoint"
    return msgspec.structs.replace(finding, level="warning", means=means)
