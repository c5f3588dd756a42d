"""When certificates end: what is told, and when, by a clock that is turned by hand."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from structlog.testing import capture_logs

from syncd.daemon.expiry import Expiry
from syncd.diagnosis.ends import DAY, Certificate
from syncd.status import CertificateRole, CertificateStatus

END = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
HOUR = 3600.0


def certificate(
    role: CertificateRole = "client",
    source: str = "/own.pem",
    subject: str = "host-1",
    fingerprint: bytes = b"1",
) -> Certificate:
    """One that ends at END."""
    return Certificate(role, source, subject, END, fingerprint)


class Bench:
    """An Expiry with certificates and a clock of the test's; `left` is until END."""

    def __init__(self, *certificates: Certificate) -> None:
        self.certificates = certificates
        self.left = 1000 * DAY
        self.expiry = Expiry(lambda: self.certificates, lambda: END.timestamp() - self.left)

    def warned(self, left: float) -> list[dict[str, Any]]:
        """What is logged when so much time is left."""
        self.left = left
        with capture_logs() as lines:
            self.expiry.warn()
        return [dict(line) for line in lines]


def test_each_threshold_is_warned_about_once() -> None:
    """Below 30, 7 and 1 days and at the end; never twice, however often it is looked at."""
    bench = Bench(certificate())
    told = {
        left: [(line["log_level"], line["event"]) for line in bench.warned(left)]
        for days in (30, 7, 1, 0)
        for left in (days * DAY, days * DAY - 1, days * DAY - 2)
    }
    warning = [("warning", "certificate expires")]
    assert told == {
        30 * DAY: [],
        30 * DAY - 1: warning,
        30 * DAY - 2: [],
        7 * DAY: [],
        7 * DAY - 1: warning,
        7 * DAY - 2: [],
        DAY: [],
        DAY - 1: warning,
        DAY - 2: [],
        0: [],
        -1: [("error", "certificate has expired")],
        -2: [],
    }


def test_a_warning_tells_all_that_is_needed() -> None:
    """Whose certificate it is, where it stands, when it ends, what that means and what to do."""
    [line] = Bench(certificate()).warned(2.5 * DAY)
    cure = line.pop("cure")
    assert line == {
        "event": "certificate expires",
        "log_level": "warning",
        "code": "tls.client_cert_expires",
        "role": "client",
        "source": "/own.pem",
        "subject": "host-1",
        "not_after": "2026-01-02T03:04:05Z",
        "days_left": 2.5,
        "meaning": "after that, etcd will not let syncd in",
    }
    assert cure.endswith("\n  openssl x509 -noout -subject -enddate -in /own.pem")


@pytest.mark.parametrize(("left", "events"), [(HOUR, 1), (-HOUR, 1), (31 * DAY, 0)])
def test_one_that_is_seen_late_is_warned_about_once(left: float, events: int) -> None:
    """Not for each threshold that has passed already."""
    bench = Bench(certificate())
    assert len(bench.warned(left)) == events
    assert bench.warned(left) == []


def test_a_renewed_one_begins_anew() -> None:
    """So does another certificate, and the same one in another place."""
    bench = Bench(certificate())
    assert len(bench.warned(5 * DAY)) == 1
    bench.certificates = (certificate(fingerprint=b"2"),)
    assert len(bench.warned(5 * DAY)) == 1
    bench.certificates = (
        certificate(fingerprint=b"2"),
        certificate("server", "https://a:1", fingerprint=b"2"),
    )
    [line] = bench.warned(5 * DAY)
    assert line["source"] == "https://a:1"


def test_members_behind_one_url_show_theirs_in_turn() -> None:
    """Each is warned about once, however often it takes the other one's place."""
    one, two = certificate(), certificate()._replace(fingerprint=b"another")
    bench = Bench()
    told = []
    for _ in range(5):
        for shown in (one, two):
            bench.certificates = (shown,)
            told += bench.warned(2.5 * DAY)
    assert len(told) == 2


def test_a_clock_that_is_put_back_repeats_nothing() -> None:
    """What was said remains said; what comes next is said when it comes."""
    bench = Bench(certificate())
    assert len(bench.warned(6 * DAY)) == 1
    assert bench.warned(100 * DAY) == []
    assert bench.warned(6 * DAY) == []
    assert len(bench.warned(HOUR)) == 1


def test_status_has_every_certificate() -> None:
    """Also those that last; whole seconds, and never zero for one that has expired."""
    bench = Bench(certificate(), certificate("ca", "/ca.pem", "our CA"))
    for left, told in ((3650 * DAY, 3650 * 86400), (1.9, 1), (-0.1, -1)):
        bench.left = left
        assert bench.expiry.certificates() == (
            CertificateStatus("client", "/own.pem", "host-1", "2026-01-02T03:04:05Z", told),
            CertificateStatus("ca", "/ca.pem", "our CA", "2026-01-02T03:04:05Z", told),
        )


@pytest.mark.parametrize(
    ("role", "source", "code", "command"),
    [
        ("ca", "/it's", "tls.ca", "openssl storeutl -noout -text -certs '/it'\"'\"'s'"),
        ("client", "/a b", "tls.client_cert", "openssl x509 -noout -subject -enddate -in '/a b'"),
        (
            "server",
            "https://[::1]:2379",
            "tls.server_cert",
            "openssl s_client -connect '[::1]:2379' </dev/null | openssl x509 -noout -enddate",
        ),
        (
            "server",
            "https://etcd",
            "tls.server_cert",
            "openssl s_client -connect etcd:443 </dev/null | openssl x509 -noout -enddate",
        ),
    ],
)
def test_findings(role: CertificateRole, source: str, code: str, command: str) -> None:
    """None until there are 30 days left; then a warning, also at the end; each with its command."""
    bench = Bench(certificate(role, source))
    bench.left = 30 * DAY
    assert bench.expiry.findings() == ()
    for left, expected, level, seen in (
        (30 * DAY - 1, "expires", "warning", "expires in 29 days"),
        (47 * HOUR, "expires", "warning", "expires in 47 hours"),
        (119, "expires", "warning", "expires in 119 seconds"),
        (-120, "expired", "warning", "expired 2 minutes ago"),
    ):
        bench.left = left
        [finding] = bench.expiry.findings()
        assert (finding.code, finding.level) == (f"{code}_{expected}", level)
        assert finding.subject == source
        assert finding.seen == f"the certificate of host-1 {seen}, at 2026-01-02T03:04:05Z"
        assert finding.means
        assert finding.cure.endswith(f":\n  {command}")
