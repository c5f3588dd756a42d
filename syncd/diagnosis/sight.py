"""What was to be seen of an endpoint: frozen values. Pure."""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from cryptography import x509

from syncd.gateway.errors import Unreachable

NO_ANSWER = "no answer"
"""What `failed` is when nothing came in time."""


@dataclass(frozen=True, slots=True)
class Fault:
    """What verification finds wrong: one of OpenSSL's X509_V_ERR_…, and with which certificate."""

    number: int
    depth: int
    """0 is etcd's own, what follows are its CAs."""
    certificate: x509.Certificate


@dataclass(frozen=True, slots=True)
class Handshake:
    """What one handshake showed; without a `chain` there was none."""

    protocol: str = ""
    """Such as TLSv1.3; also when etcd refused afterwards."""
    chain: tuple[x509.Certificate, ...] = ()
    """The certificates that etcd shows, its own first."""
    faults: tuple[Fault, ...] = ()
    wrong_name: bool = False
    """Whether etcd's certificate is for other names than the one that is expected."""
    authorities: tuple[x509.Name, ...] = ()
    """From which etcd wants a client's certificate to be; none: it wants none, or does not say."""
    alert: str = ""
    """With which etcd ended it, such as `bad certificate`."""
    failed: str = ""
    """Why it came to no end, or why there was none."""
    answer: bytes = b""
    """The begin of what was answered to the request."""


@dataclass(frozen=True, slots=True)
class Sight:
    """All that was to be seen of one endpoint."""

    url: str
    addresses: tuple[str, ...] = ()
    connected: str = ""
    """The address that took a connection."""
    took: float = 0.0
    """Seconds until it did."""
    error: Unreachable | None = None
    """Why there is no connection."""
    plain: bool = False
    """Whether it answers in HTTP without TLS."""
    handshake: Handshake | None = None
    answer: bytes = b""
    """The begin of its answer to a question for the version."""

    @property
    def secure(self) -> bool:
        """Whether the endpoint is https."""
        return self.url.startswith("https:")

    @property
    def version(self) -> str:
        """etcd's, as it tells; empty when it does not."""
        found = re.search(rb'"etcdserver": ?"(\d[\w.+-]{1,50})"', self.answer)
        return found[1].decode() if found else ""

    @property
    def date(self) -> datetime | None:
        """The endpoint's clock, as its answer tells."""
        found = re.search(rb"(?i)\r\ndate: ([^\r]*)", self.answer)
        if found:
            with suppress(ValueError):
                date = parsedate_to_datetime(found[1].decode("ascii", "replace"))
                return date if date.tzinfo else date.replace(tzinfo=UTC)  # what has no zone is UTC
        return None
