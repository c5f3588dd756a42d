"""Asks members what they say of themselves and of each other, and compares that.

Alarms stand in a member's status from 3.4 on. Before, they have to be asked for, which goes through the log
of the members; and until 3.5.4 that did harm (etcd #14382: a member may not start again when it crashes after
a snapshot that such a question came last before). So they are asked for only where nothing else tells them.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from urllib.parse import urlsplit

import msgspec

from syncd.config import Etcd
from syncd.diagnosis.catalogue import found
from syncd.diagnosis.commands import etcdctl
from syncd.diagnosis.explain import no_leader, no_space
from syncd.findings import Finding
from syncd.gateway import Gateway, GatewayError, Header, PermissionDenied, Unauthenticated
from syncd.gateway.endpoints import parse_version
from syncd.gateway.membership import Alarm, AlarmAnswer, ListedMember, MemberListAnswer
from syncd.gateway.messages import StatusAnswer
from syncd.keyrange import KeyRange

ALARMS_IN_STATUS = (3, 4, 0)

LAG = 1_000
"""Revisions that a member that is well may be behind: those on their way to it."""

WRITES_A_SECOND = 10_000
"""Revisions that a busy etcd makes between two questions."""

ENDPOINTS = "etcd.endpoints"
"""What findings are about that concern all of them."""

NOT_TOLD = Header()

_status = msgspec.json.Decoder(StatusAnswer, strict=False)
_members = msgspec.json.Decoder(MemberListAnswer, strict=False)
_alarms = msgspec.json.Decoder(AlarmAnswer, strict=False)


@dataclass(frozen=True, slots=True)
class Member:
    """What was told at one endpoint, as far as it was."""

    url: str
    version: str = ""
    header: Header = NOT_TOLD
    """Which member of which cluster, at which revision: 0 when that is not told."""
    status: StatusAnswer | None = None
    """None also where it is for administrators alone: with authentication, by 3.5.30 (not yet by 3.5.16)."""
    at: float = 0.0
    """When that was told, in seconds."""
    alarms: tuple[Alarm, ...] = ()
    """Those of all members."""
    says: tuple[str, ...] = ()
    """What else the member complains of."""
    listed: tuple[ListedMember, ...] = ()
    """The members of its cluster, itself among them."""
    error: GatewayError | None = None
    """Why the rest is not known; for the caller to explain."""


async def ask_member(gateway: Gateway, keys: KeyRange | None = None) -> Member:
    """What the one endpoint of `gateway` tells, in three or four small questions; it raises nothing.

    Where the status is refused, a linearizable read of `keys`, which the user may read, tells the revision.
    """
    endpoint, now = gateway.endpoints.current, asyncio.get_running_loop().time
    member = Member(endpoint.url)
    try:
        if status := await _ask_status(gateway):
            alarms, says = _alarms_in(status.errors)
            member = Member(endpoint.url, status.version, status.header, status, now(), alarms, says)
        told = await gateway.ask("/cluster/member/list", b"{}", _members)
        member = replace(member, listed=told.members)
        if status is None:
            member = replace(member, version=endpoint.version, header=told.header)
            if keys:
                member = replace(member, header=await gateway.revision(keys), at=now())
        elif status.leader and parse_version(status.version) < ALARMS_IN_STATUS:
            answer = await gateway.ask("/maintenance/alarm", b'{"action":"GET"}', _alarms)
            member = replace(member, alarms=answer.alarms)
    except GatewayError as error:
        member = replace(member, error=error)
    return member


async def _ask_status(gateway: Gateway) -> StatusAnswer | None:
    """None when it is for administrators alone."""
    try:
        return await gateway.status()
    except Unauthenticated:
        pass  # that was without a token
    try:
        return await gateway.ask("/maintenance/status", b"{}", _status)
    except PermissionDenied:
        return None


def _alarms_in(errors: Iterable[str]) -> tuple[tuple[Alarm, ...], tuple[str, ...]]:
    """The alarms in a status's `errors`, and what else is there but "no leader", which `leader` says, too."""
    alarms, says = [], []
    for error in errors:
        if told := re.fullmatch(r"(?:memberID:(\d{1,20}) )?alarm:(\w+) ?", error):
            alarms.append(Alarm(int(told[1] or 0), told[2]))
        elif "no leader" not in error:
            says.append(error.strip())
    return tuple(alarms), tuple(says)


def member_findings(members: Sequence[Member], etcd: Etcd) -> list[Finding]:
    """What the answers say of each member and of their clusters; nothing of those that did not answer."""
    known = [member for member in members if member.header.cluster_id]
    findings = [_own(member, known, etcd) for member in known]
    for member in known:
        cure = f"see etcd's own log, and what all members say:\n  {etcdctl(etcd)} endpoint health"
        findings += [
            found("etcd.alarm", member.url, f"etcd says of itself: {text}", cure) for text in member.says
        ]
    findings += _raised(known, etcd)
    clusters: dict[int, list[str]] = {}
    for member in known:
        clusters.setdefault(member.header.cluster_id, []).append(member.url)
    if len(clusters) > 1:
        seen = "; ".join(f"{', '.join(urls)}: cluster {cluster:x}" for cluster, urls in clusters.items())
        findings.append(found("etcd.other_cluster", ENDPOINTS, seen, "leave those of one cluster there"))
    else:
        findings += _not_configured(known, etcd.endpoints)
    return findings


def _own(member: Member, members: Sequence[Member], etcd: Etcd) -> Finding:
    """What is to be said of a member by itself."""
    status, header, who = member.status, member.header, f"etcd {member.version}".strip()
    if status and not status.leader:
        return found("etcd.no_leader", member.url, f"{who} has no leader", no_leader(etcd))
    if status and status.is_learner:
        voters = [other.url for other in members if other.status and not other.status.is_learner]
        cure = (
            "leave it out of etcd.endpoints; or let it vote once it has caught up:\n"
            f"  {etcdctl(etcd, *voters)} member promote {header.member_id:x}"
        )
        return found("etcd.learner", member.url, f"{who} is a learner", cure)
    newest = max(
        (other for other in members if other.header.cluster_id == header.cluster_id),
        key=lambda other: other.header.revision,
    )
    behind = newest.header.revision - header.revision
    if header.revision and behind > LAG + WRITES_A_SECOND * abs(newest.at - member.at):
        return found(
            "etcd.lagging",
            member.url,
            f"{who} is at revision {header.revision}, {behind:,} behind {newest.url}",
            "its log tells whether its disk or the way to the others is slow; compare:\n"
            f"  {etcdctl(etcd, newest.url, member.url)} endpoint status",
        )
    facts = [who]
    if status:
        facts.append("leader" if status.leader == header.member_id else "follower")
    facts.append(f"cluster {header.cluster_id:x}")
    if header.revision:
        facts.append(f"revision {header.revision}")
    if status:
        facts.append(f"database {_size(status)}")
    return found("etcd.ok", member.url, ", ".join(facts))


def _size(status: StatusAnswer) -> str:
    size = status.db_size
    return f"{size / (1 << 20):.1f} MiB" if size >= 1 << 20 else f"{size >> 10} KiB"


def _raised(members: Sequence[Member], etcd: Etcd) -> list[Finding]:
    """Each alarm once, in an order that stays; all members tell of all, in any order."""
    raised: dict[Alarm, Finding] = {}
    for teller in members:
        for alarm in teller.alarms:
            culprit = next((each for each in members if each.header.member_id == alarm.member_id), teller)
            by = f" by member {alarm.member_id:x}" if alarm.member_id else ""
            means, cure = _alarm(alarm.alarm, etcdctl(etcd), teller.header.revision)
            seen = f"the alarm {alarm.alarm} was raised{by}"
            raised.setdefault(alarm, found("etcd.alarm", culprit.url, seen, cure, means=means))
    return [raised[alarm] for alarm in sorted(raised, key=lambda alarm: (alarm.alarm, alarm.member_id))]


def _alarm(alarm: str, etcdctl: str, revision: int) -> tuple[str, str]:
    """What it means, and its cure."""
    match alarm:
        case "NOSPACE":
            means = "its database has come to --quota-backend-bytes; reads go on, writes are refused"
            return means, no_space(etcdctl, revision)
        case "CORRUPT":
            means = (
                "members hold different data, and writes are refused; what is mirrored depends on who is "
                "asked"
            )
            cure = (
                "find the member that differs from most, remove it, and add it again with an empty data "
                "directory. Then let etcd write again:\n"
                f"  {etcdctl} endpoint hashkv\n"
                f"  {etcdctl} alarm disarm"
            )
            return means, cure
        case _:
            return "", f"see etcd's documentation and log:\n  {etcdctl} alarm list"


def _not_configured(members: Sequence[Member], endpoints: Sequence[str]) -> list[Finding]:
    """Voting members that stand in no endpoint.

    Names do not tell that: etcd may advertise http://localhost:2379, and an endpoint may be an alias. But
    who answered is known by its id; one that did not may be any of the others, unless one advertises it.
    """
    asked = {member.header.member_id for member in members}
    configured = {_place(url) for url in endpoints}
    listed = {one.id: one for member in members for one in member.listed}
    advertised = {_place(url) for one in listed.values() for url in one.client_urls}
    silent = configured - {_place(member.url) for member in members} - advertised
    missing = [
        one
        for one in listed.values()
        if one.id not in asked
        and one.client_urls
        and not one.is_learner
        and configured.isdisjoint(_place(url) for url in one.client_urls)
    ]
    if silent or not missing:
        return []
    named = ", ".join(f"{one.name or f'{one.id:x}'} at {' or '.join(one.client_urls)}" for one in missing)
    return [
        found(
            "etcd.members_not_configured",
            ENDPOINTS,
            f"the cluster has other members, too: {named}",
            "add their URLs there, unless an endpoint stands for several members",
        )
    ]


def _place(url: str) -> tuple[str, int | None]:
    """Host and port, without the scheme; what is no URL is nowhere else."""
    try:
        parts = urlsplit(url)
        return (parts.hostname or url).lower(), parts.port or {"https": 443}.get(parts.scheme, 80)
    except ValueError:
        return url, None
