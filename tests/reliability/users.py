"""Who may do what in the guarded cluster: `root` everything, and the daemon's user read one range."""

from __future__ import annotations

from tests.calls import RefusedError, prefix_end
from tests.reliability.members import Members, b64

ROOT, ROOT_PASSWORD = "root", "sesame"
USER, ROLE = "syncd", "reading"


class Users:
    """The users of the cluster behind `members`; the daemon's may read the keys with `prefix`."""

    def __init__(self, members: Members, prefix: bytes) -> None:
        self._members = members
        self._prefix = prefix
        self._changes = 0

    @property
    def password(self) -> str:
        """That of the daemon's user."""
        return f"open {self._changes}"

    async def guard(self) -> None:
        """Switch authentication on in an etcd that has none, and go on as root."""
        permission = {
            "permType": "READ",
            "key": b64(self._prefix),
            "range_end": b64(prefix_end(self._prefix)),
        }
        for path, body in (
            ("user/add", {"name": ROOT, "password": ROOT_PASSWORD}),
            ("role/add", {"name": ROOT}),
            ("user/grant", {"user": ROOT, "role": ROOT}),
            ("user/add", {"name": USER, "password": self.password}),
            ("role/add", {"name": ROLE}),
            ("role/grant", {"name": ROLE, "perm": permission}),
            ("user/grant", {"user": USER, "role": ROLE}),
            ("enable", {}),
        ):
            try:
                await self._members.insist(f"/auth/{path}", body)
            except RefusedError as error:
                if "already" not in error.text:  # done by a call whose answer was lost
                    raise
        self._members.be(ROOT, ROOT_PASSWORD)

    async def change_password(self) -> None:
        """Give the daemon's user another password, which the daemon doesn't know yet."""
        self._changes += 1
        await self._members.insist("/auth/user/changepw", {"name": USER, "password": self.password})

    async def grant(self) -> None:
        """Let the daemon's user read its range."""
        await self._members.insist("/auth/user/grant", {"user": USER, "role": ROLE})

    async def revoke(self) -> None:
        """Take that back."""
        await self._members.insist("/auth/user/revoke", {"name": USER, "role": ROLE})
