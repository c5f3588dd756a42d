"""What both ways find: `syncd check`'s, and the daemon's, which begins with the error that its call met."""

from __future__ import annotations

import asyncio
import random

from syncd.config import TLS, Config, Timeouts
from syncd.config import Etcd as EtcdConfig
from syncd.diagnosis.check import check
from syncd.diagnosis.why import why
from syncd.findings import Finding
from syncd.gateway import Gateway, GatewayError
from syncd.keyrange import prefix_range
from tests.certificates import Authority, Issued

KEYS = prefix_range(b"/")
TIMEOUTS = Timeouts(connect=2.0, request=5.0)


def tls(authority: Authority, own: Issued | None = None, server_name: str | None = None) -> TLS:
    """What syncd is configured with."""
    if own is None:
        return TLS(ca_file=authority.file, server_name=server_name)
    return TLS(ca_file=authority.file, cert_file=own.certificate, key_file=own.key, server_name=server_name)


async def told(etcd: EtcdConfig) -> dict[str, Finding]:
    """The errors that both ways find, by their codes: they must agree."""
    etcd = EtcdConfig(
        endpoints=etcd.endpoints,
        api_prefix=etcd.api_prefix,
        user=etcd.user,
        password_file=etcd.password_file,
        tls=etcd.tls,
        timeouts=TIMEOUTS,
    )
    findings = await check(Config(etcd=etcd, ranges=(KEYS,)), lambda _: None)
    by_check = {finding.code: finding for finding in findings if is_about_etcd(finding)}
    by_daemon: dict[str, Finding] = {}
    async with Gateway(etcd, draw=random.Random(1), clock=asyncio.get_running_loop().time) as gateway:
        try:
            await gateway.range_page(KEYS, limit=1, revision=0)
        except GatewayError as error:
            by_daemon = {finding.code: finding for finding in await why(error, etcd, KEYS)}
    assert set(by_check) == set(by_daemon)
    for finding in by_check.values():
        assert finding.seen
        assert finding.means
        assert finding.cure
    return by_check


def is_about_etcd(finding: Finding) -> bool:
    """Whether it stops syncd, and is not about the host that the tests run on."""
    return finding.level == "error" and not finding.code.startswith(("socket.", "cache."))
