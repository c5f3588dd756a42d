"""`syncd check`: the whole way, from this host to each range on each endpoint; what can, side by side."""

from __future__ import annotations

import asyncio
import random
import traceback
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

import msgspec

from syncd.config import Config
from syncd.config.files import Unusable
from syncd.diagnosis.bugs import version_findings
from syncd.diagnosis.catalogue import found
from syncd.diagnosis.certificates import in_files, shown_by
from syncd.diagnosis.commands import etcdctl
from syncd.diagnosis.ends import SOON, Certificate, end_finding
from syncd.diagnosis.explain import explain
from syncd.diagnosis.local import local_findings
from syncd.diagnosis.look import look
from syncd.diagnosis.members import Member, ask_member, member_findings
from syncd.diagnosis.ranges import range_findings
from syncd.diagnosis.tls import Own
from syncd.diagnosis.told import Told
from syncd.diagnosis.way import clock_finding, own_certificates, road_findings
from syncd.diagnosis.why import why
from syncd.findings import Finding
from syncd.gateway import Gateway, GatewayError, PermissionDenied
from syncd.keyrange import KeyRange

PATIENCE = 3.6
"""Seconds for one endpoint, all steps together."""

AT_A_TIME = 8
"""Ranges that are asked for at one endpoint."""

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
        self._told = Told(config.etcd.endpoints)
        self._members: list[Member] = []
        self._versions: set[str] = set()
        self._shown: list[Certificate] = []

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
        self._told.add(*member_findings(self._members, etcd))
        self._told.add(*self._ends(own))
        for version in sorted(self._versions):
            self._told.add(*version_findings(f"etcd {version}", version))
        return [*self._here, *self._told.findings()]

    def _ends(self, own: Own) -> Iterator[Finding]:
        """The certificates that end soon or have ended; where that is in the way, the handshake told it."""
        now = datetime.now(UTC)
        told = {finding.code for finding in self._told.findings()}
        for each in (*in_files(own.tls, own.authorities, own.chain), *self._shown):
            left = (each.not_after - now).total_seconds()
            if left < SOON and (end := end_finding(each, left)).code not in told:
                yield end

    async def _look_here(self) -> None:
        self._here += await asyncio.to_thread(local_findings, self._config)
        self._progress("this host")

    async def _in_time(self, url: str, own: Own) -> None:
        try:
            async with asyncio.timeout(PATIENCE):
                await self._walk(url, own)
        except TimeoutError:
            cure = (
                f"see how etcd and its host are doing:\n  {etcdctl(self._config.etcd, url)} endpoint status"
            )
            self._add(found("check.timeout", url, f"not done within {PATIENCE:g} s", cure))
        except Exception as error:  # noqa: BLE001 - one endpoint must not take the others' findings with it
            where = traceback.extract_tb(error.__traceback__)[-1]
            seen = f"{type(error).__name__}: {error}; in {where.filename} line {where.lineno}"
            self._add(found("check.failed", url, seen, "report it, with the version of syncd"))

    def _add(self, *findings: Finding) -> None:
        for finding in findings:
            self._progress(f"{finding.subject}, {finding.code}")
        self._told.add(*findings)

    async def _walk(self, url: str, own: Own) -> None:
        sight = await look(url, own.tls)
        now = datetime.now(UTC)
        road = road_findings(sight, own, now)
        self._add(*road)
        if sight.version:
            self._versions.add(sight.version)
        if sight.handshake and sight.handshake.chain:
            self._shown.append(shown_by(url, sight.handshake.chain[0]))
        if any(finding.level == "error" for finding in road):
            self._add(found("check.skipped", url, "not looked at: the gateway and all behind it"))
            return
        if clock := clock_finding(sight, now):
            self._add(clock)
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
            self._add(*await why(error, etcd))
            self._add(found("check.skipped", url, "not looked at: the ranges"))
            # One that has lost the others still tells that.
            self._members.append(await ask_member(gateway))
            return
        endpoint = gateway.endpoints.current
        self._add(found("gateway.ok", url, f"etcd {endpoint.version} answers at {endpoint.prefix}"))
        if gateway.unguarded:
            as_root = etcdctl(etcd, url, root=True)
            cure = (
                "take etcd.user out of the configuration; or let there be a root, and switch it on:\n"
                f"  {as_root} user add root\n"
                f"  {as_root} user grant-role root root\n"
                f"  {as_root} auth enable"
            )
            self._add(found("auth.off", url, "authentication is not enabled", cure))
        elif etcd.user is not None:
            self._add(found("auth.ok", url, f"etcd lets the user {etcd.user!r} in"))
        few = asyncio.Semaphore(AT_A_TIME)
        async with asyncio.TaskGroup() as group:
            group.create_task(self._ask_member(gateway), name=f"member at {url}")
            for keys in ranges:
                group.create_task(self._ask_range(gateway, url, keys, few), name=f"{keys.name} at {url}")

    async def _ask_member(self, gateway: Gateway) -> None:
        member = await ask_member(gateway, self._config.ranges[0])
        self._members.append(member)
        if member.error:
            self._add(explain(member.error, self._config.etcd))

    async def _ask_range(self, gateway: Gateway, url: str, keys: KeyRange, few: asyncio.Semaphore) -> None:
        async with few:
            clock = asyncio.get_running_loop().time
            findings = await range_findings(gateway, keys, self._config, clock)
        self._add(*findings)
        if all(finding.level != "error" for finding in findings):
            self._told.served(url, keys)
