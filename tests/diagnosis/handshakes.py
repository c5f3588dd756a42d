"""Made-up handshakes, of certificates that were really signed."""

from __future__ import annotations

from datetime import UTC, datetime

from cryptography import x509

from syncd.config.pem import read_certificates
from syncd.findings import Finding
from tests.certificates import Authority, Issued

URL = "https://etcd-1:2379"
NOW = datetime.now(UTC)


def certificate(file: Issued | Authority) -> x509.Certificate:
    """What was written into the file."""
    [read] = read_certificates(file.file if isinstance(file, Authority) else file.certificate)
    return read


def by_code(findings: list[Finding]) -> dict[str, Finding]:
    """Each code comes once, and what is wrong has a cure."""
    told = {finding.code: finding for finding in findings}
    assert len(told) == len(findings)
    assert all(finding.cure for finding in findings if finding.level != "ok")
    assert all(finding.subject == URL for finding in findings)
    return told
