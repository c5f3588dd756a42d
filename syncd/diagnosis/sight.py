"""What was to be seen of an endpoint: frozen values. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

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
    date: datetime | None = None
    """The endpoint's clock, as its answer tells."""

    @property
    def secure(self) -> bool:
        """Whether the endpoint is https."""
        return self.url.startswith("https:")
