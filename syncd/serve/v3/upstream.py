"""What only etcd itself can tell, seen from the serving side."""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol


class Member(NamedTuple):
    """The member that answered last, which stands in every header; zeros and empty while none has."""

    cluster_id: int = 0
    member_id: int = 0
    raft_term: int = 0
    version: str = ""


class Upstream(Protocol):
    """etcd. Whoever speaks to it is not the server's business."""

    def member(self) -> Member:
        """Who answered last; without asking."""

    async def call(self, path: str, body: bytes, user: int | None) -> tuple[int, bytes]:
        """etcd's own answer to a unary call, such as /kv/put: HTTP status and JSON, also of a refusal.

        `user`: who asks, a uid, or None for who came through TCP. EtcdError when so many ask that etcd was
        not asked, or when it has done it, and says more than can be passed on; any other SyncdError when
        there is no answer, so that nobody knows.
        """

    async def about(self, path: str) -> dict[str, Any] | None:
        """What etcd says of itself at `path`, such as /maintenance/status, or said last if it is silent now.

        None when it never said anything. That takes a moment, whatever the state of etcd. Whoever takes the
        answer changes nothing in it.
        """
