"""The way to an endpoint: what was seen of it in, findings out."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from urllib.parse import urlsplit

from syncd.config import Etcd
from syncd.config.files import Unusable
from syncd.config.pem import read_certificates
from syncd.diagnosis.catalogue import found
from syncd.diagnosis.explain import explain
from syncd.diagnosis.look import look
from syncd.diagnosis.refusal import behind_the_gateway
from syncd.diagnosis.sight import Sight
from syncd.diagnosis.tls import Own, tls_findings
from syncd.findings import Finding
from syncd.gateway.errors import GatewayError, Unavailable

CLOCKS_AGREE = timedelta(seconds=5)
"""Less is the time that an answer takes, and that HTTP tells whole seconds."""


def own_certificates(etcd: Etcd) -> Own:
    """The certificates of the configuration; config.files.Unusable when they cannot be read any more."""
    tls = etcd.tls
    return Own(
        tls,
        read_certificates(tls.ca_file) if tls.ca_file else (),
        read_certificates(tls.cert_file) if tls.cert_file else (),
    )


def road_findings(sight: Sight, own: Own, now: datetime) -> list[Finding]:
    """What is to be said of the road, up to TLS."""
    url, etcd = sight.url, Etcd(endpoints=(sight.url,), tls=own.tls)
    if sight.error:
        return [explain(sight.error, etcd)]
    findings = []
    host = urlsplit(url).hostname or ""
    if host not in sight.addresses:
        findings.append(found("dns.ok", url, f"{host} is {', '.join(sight.addresses)}"))
    findings.append(
        found("tcp.ok", url, f"{sight.connected} took a connection within {sight.took * 1000:.0f} ms")
    )
    if sight.handshake:
        findings += tls_findings(url, sight.handshake, sight.plain, own, now)
    if not sight.secure and not _is_local(sight.connected):
        findings.append(
            found("tls.off", url, "the endpoint is http", "give etcd a certificate, and use https")
        )
    return findings


def clock_finding(sight: Sight, now: datetime) -> Finding | None:
    """Whether etcd's host and this one agree on the time, if etcd told its own."""
    if sight.date is None:
        return None
    differs = sight.date - now
    if abs(differs) <= CLOCKS_AGREE:
        return found("clock.ok", sight.url, "its clock and the one here agree")
    ahead = "ahead of" if differs > timedelta() else "behind"
    return found(
        "clock.differs",
        sight.url,
        f"its clock is {abs(differs).total_seconds():.0f} s {ahead} the one here",
        "see which one is wrong, and let it be set by NTP:\n  timedatectl",
    )


async def look_closer(error: GatewayError, etcd: Etcd) -> list[Finding]:
    """What the endpoint that `error` tells of shows by itself; nothing when there is nothing to be seen."""
    try:
        own = own_certificates(etcd)
    except Unusable as unusable:
        return [found(unusable.code, str(unusable.path), str(unusable), unusable.cure)]
    sight = await look(error.endpoint, etcd.tls)
    findings = [each for each in road_findings(sight, own, datetime.now(UTC)) if each.level == "error"]
    if not findings and isinstance(error, Unavailable) and sight.handshake:
        behind = behind_the_gateway(error.endpoint, sight.handshake, error.message)
        findings = [behind] if behind else []
    return findings


def _is_local(address: str) -> bool:
    return ip_address(address.partition("%")[0]).is_loopback
