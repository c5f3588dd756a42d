"""The cluster of the stage: three members that let nobody in without a token or, with TLS, a certificate."""

from __future__ import annotations

from tests.etcd import Cluster
from tests.reliability.keyring import Keyring

TOKEN_SECONDS = 3
"""How long a token lives that isn't used: so short that most of the daemon's are no longer good."""


class GuardedCluster(Cluster):
    """Its users' tokens are short-lived and cheap; `keyring` is None without TLS.

    Between themselves the members speak without TLS, so that it can be seen who is talking.
    """

    def __init__(self, version: str, *, tls: bool = False) -> None:
        cheap = () if version.startswith("3.3.") else ("--bcrypt-cost=4",)
        super().__init__(version, (*cheap, f"--auth-token-ttl={TOKEN_SECONDS}"))
        self.keyring = Keyring(self.members[0].directory) if tls else None
        if self.keyring:
            for member in self.members:
                member.tls = self.keyring.context
                member.flags += self.keyring.flags
                member.environment |= self.keyring.environment
