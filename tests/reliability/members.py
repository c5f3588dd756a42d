"""Calls to a cluster's members as one user, in the test's own event loop: whichever answers will do."""

from __future__ import annotations

import asyncio
import json
import time
from base64 import b64encode
from collections.abc import Mapping, Sequence
from typing import Any, Self

import aiohttp

from tests.calls import RefusedError
from tests.etcd import Etcd

CALL_SECONDS = 1.0
"""For one member to answer: the next one may be well."""

ASK_AGAIN_SECONDS = 0.1
PATIENCE = 60.0  # far more than an election takes: a busy machine is no failure

Body = Mapping[str, Any]
Answer = dict[str, Any]


class SilentError(Exception):
    """No member answered."""


class Members:
    """The members of one cluster, asked at their own addresses, without a user until there is one."""

    def __init__(self, members: Sequence[Etcd]) -> None:
        self.members = members
        self._user: str | None = None
        self._password = ""
        self._tokens: dict[int, str] = {}
        self._first = 0
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        connector = aiohttp.TCPConnector(ssl=self.members[0].tls or True)
        self._session = aiohttp.ClientSession(connector=connector)
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._session:
            await self._session.close()

    def be(self, user: str | None, password: str = "") -> None:
        """Go on as that user (None: nobody), without the tokens of before.

        That matters where etcd's data was replaced: a token tells in which raft index it was given, and who
        has not come so far does not refuse it, but lets the call wait.
        """
        self._user, self._password = user, password
        self._tokens.clear()

    async def ask(self, path: str, body: Body, seconds: float = CALL_SECONDS) -> Answer:
        """Ask the member that answered last, then the others; SilentError when none answers.

        RefusedError is an answer, except for a member's "I have no leader".
        """
        failures: list[str] = []
        for turn in range(len(self.members)):
            index = (self._first + turn) % len(self.members)
            try:
                answer = await self.ask_member(index, path, body, seconds)
            except SilentError as error:
                failures.append(str(error))
            except RefusedError as error:
                if error.status < 500 or turn + 1 == len(self.members):
                    raise
                failures.append(str(error))
            else:
                self._first = index
                return answer
        raise SilentError("; ".join(failures))

    async def insist(self, path: str, body: Body, patience: float = PATIENCE) -> Answer:
        """Ask until a member answers, whatever befalls them meanwhile; for what may be done twice."""
        deadline = time.monotonic() + patience
        while True:
            try:
                return await self.ask(path, body, 5 * CALL_SECONDS)
            except SilentError:
                if time.monotonic() > deadline:
                    raise
            except RefusedError as error:
                if error.status < 500 or time.monotonic() > deadline:
                    raise
            await asyncio.sleep(ASK_AGAIN_SECONDS)

    async def ask_member(self, index: int, path: str, body: Body, seconds: float = CALL_SECONDS) -> Answer:
        """Ask that member alone; a token that is no longer good is replaced once."""
        deadline = time.monotonic() + seconds
        known = index in self._tokens
        try:
            return await self._authorised(index, path, body, deadline)
        except (RefusedError, SilentError) as error:
            late = time.monotonic() >= deadline  # which says nothing about the token
            if late or (isinstance(error, RefusedError) and not _about_token(error)):
                raise
            # 3.4 answers some unknown tokens by dropping the connection.
            self._tokens.pop(index, None)
            if not known:
                raise
        return await self._authorised(index, path, body, deadline)

    async def try_member(self, index: int, path: str, body: Body) -> bool:
        """Ask that member alone; whether it did so: it may be out of order just now."""
        try:
            await self.ask_member(index, path, body, 5 * CALL_SECONDS)
        except (SilentError, RefusedError):
            return False
        return True

    async def revision(self) -> int:
        """The cluster's revision now, whatever befalls it meanwhile."""
        return revision(await self.insist("/kv/range", {"key": b64(b"/"), "count_only": True}))

    async def member_id(self, index: int) -> int:
        """How that member calls itself, once it answers; SilentError when it doesn't for long."""
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                return int((await self.status(index))["header"]["member_id"])
            except (SilentError, RefusedError):
                if time.monotonic() > deadline:
                    raise
            await asyncio.sleep(ASK_AGAIN_SECONDS)

    async def some_member_id(self) -> int:
        """The id of a member that answers."""
        return int(
            (await self.insist("/kv/range", {"key": b64(b"/"), "count_only": True}))["header"]["member_id"]
        )

    async def leader(self) -> int:
        """The index of the leader, as soon as there is one; TimeoutError when that takes too long."""
        async with asyncio.timeout(PATIENCE):
            while True:
                for index, member in enumerate(self.members):
                    if member.is_running and await self._leads(index):
                        return index
                await asyncio.sleep(ASK_AGAIN_SECONDS)

    async def _leads(self, index: int) -> bool:
        try:
            status = await self.status(index)
        except (SilentError, RefusedError):
            return False
        return bool(status.get("leader") == status["header"]["member_id"])

    async def status(self, index: int) -> Answer:
        """What that member says about itself. 3.5.30 wants a token, and a lone member gives no new one."""
        try:
            return await self._post(index, "/maintenance/status", {}, time.monotonic() + CALL_SECONDS)
        except RefusedError as error:
            if not _about_token(error):
                raise
        return await self.ask_member(index, "/maintenance/status", {})

    async def _authorised(self, index: int, path: str, body: Body, deadline: float) -> Answer:
        if self._user is None:
            return await self._post(index, path, body, deadline)
        if index not in self._tokens:
            credentials = {"name": self._user, "password": self._password}
            answer = await self._post(index, "/auth/authenticate", credentials, deadline)
            self._tokens[index] = answer["token"]
        return await self._post(index, path, body, deadline, {"Authorization": self._tokens[index]})

    async def _post(
        self, index: int, path: str, body: Body, deadline: float, headers: Mapping[str, str] | None = None
    ) -> Answer:
        member = self.members[index]
        if self._session is None:
            raise RuntimeError("use it with `async with`")
        timeout = aiohttp.ClientTimeout(total=max(deadline - time.monotonic(), 0.01))
        try:
            async with self._session.post(
                member.endpoint + member.api_prefix + path,
                data=json.dumps(body),
                headers=headers,
                timeout=timeout,
            ) as response:
                text = await response.text()
        except (TimeoutError, aiohttp.ClientError) as error:
            raise SilentError(f"{member.name}{path}: {type(error).__name__} {error}") from error
        if response.status != 200:
            raise RefusedError(path, response.status, text)
        answer: Answer = json.loads(text)
        return answer


def b64(data: bytes) -> str:
    """How the gateway wants bytes."""
    return b64encode(data).decode()


def revision(answer: Answer) -> int:
    """The revision of which an answer is."""
    return int(answer["header"]["revision"])


def _about_token(error: RefusedError) -> bool:
    return any(
        words in error.text
        for words in ("invalid auth token", "auth store is old", "user name is empty", "permission denied")
    )
