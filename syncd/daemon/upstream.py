"""etcd as the server sees it: who it is, and calls that are passed on to it."""

from __future__ import annotations

from syncd.gateway import Gateway
from syncd.serve import Member


class Upstream:
    """What `gateway` leads to."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    def member(self) -> Member:
        """Who answered last."""
        header = self._gateway.last
        version = self._gateway.endpoints.current.version
        return Member(header.cluster_id, header.member_id, header.raft_term, version)

    async def call(self, path: str, body: bytes) -> tuple[int, bytes]:
        """etcd's own answer, a refusal included; GatewayError when there is none."""
        reply = await self._gateway.forward(path, body)
        return reply.status, reply.body
