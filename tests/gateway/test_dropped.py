"""Connections that are closed where an answer should come: so 3.4.23 may refuse a token (etcd #15256).

That depends on the grpc-gateway that etcd was built with; none of the servers here does it, hence a fake.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from syncd.gateway import Gateway
from syncd.gateway.errors import Dropped, NoAnswer
from syncd.keyrange import prefix_range
from tests.gateway.conftest import Connect
from tests.gateway.fake import HEADER, Fake, answer, fake_gateway, silence

KEYS = prefix_range(b"/a/")
AUTHENTICATE, RANGE = "/v3/auth/authenticate", "/v3/kv/range"


class Strict:
    """Gives `token 1`, `token 2`, …; answers to one of them, and closes the connection for all others."""

    def __init__(self, fake: Fake) -> None:
        self.fake = fake
        self.given = 0
        self.good = 1
        fake.answers[AUTHENTICATE] = self.give
        fake.answers[RANGE] = self.read

    async def give(self, _: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Give another token."""
        self.given += 1
        writer.write(answer({"header": HEADER, "token": f"token {self.given}"}))

    async def read(self, _: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer, or not."""
        if f"Authorization: token {self.good}\r\n" in self.fake.requests[-1]:
            writer.write(answer({"header": HEADER}))


@pytest.fixture
def password(tmp_path: Path) -> Path:
    """Write one; the fake takes any."""
    file = tmp_path / "password"
    file.write_text("any")
    return file


def reads(fake: Fake) -> int:
    """How often something was read, or tried to be."""
    return fake.paths().count(RANGE)


async def fails(gateway: Gateway) -> None:
    """A call is not answered."""
    with pytest.raises(Dropped, match="the connection was closed where an answer should have come"):
        await gateway.revision(KEYS)


async def test_a_token_that_is_refused_so_is_replaced(connect: Connect, password: Path) -> None:
    """After another try, as the connection may just have been idle for too long."""
    async with fake_gateway() as fake:
        strict = Strict(fake)
        gateway = connect(fake.url, user="any", password_file=password)
        await gateway.revision(KEYS)
        strict.good = 2
        await gateway.revision(KEYS)
        assert (strict.given, reads(fake)) == (2, 4)
        assert gateway.endpoints.current.failures == 0


async def test_a_token_that_is_not_to_blame_is_kept(connect: Connect, password: Path) -> None:
    """Whatever drops each call is not made to hash passwords for that."""
    async with fake_gateway() as fake:
        strict = Strict(fake)
        gateway = connect(fake.url, user="any", password_file=password)
        await gateway.revision(KEYS)
        strict.good = 0
        for _ in range(5):
            await fails(gateway)
        assert strict.given == 2
        strict.good = 2
        await gateway.revision(KEYS)
        assert strict.given == 2


async def test_one_that_is_cut_once_is_made_again(connect: Connect, password: Path) -> None:
    """With the same token."""
    async with fake_gateway() as fake:
        strict = Strict(fake)
        gateway = connect(fake.url, user="any", password_file=password)
        await gateway.revision(KEYS)
        real = fake.answers[RANGE]

        async def cut(_: asyncio.StreamReader, __: asyncio.StreamWriter) -> None:
            fake.answers[RANGE] = real

        fake.answers[RANGE] = cut
        await gateway.revision(KEYS)
        assert (strict.given, reads(fake)) == (1, 3)


async def test_without_a_user_it_is_a_failure_like_others(connect: Connect) -> None:
    """Nothing is tried again: whoever called decides."""
    async with fake_gateway() as fake:
        Strict(fake)
        gateway = connect(fake.url)
        await fails(gateway)
        assert reads(fake) == 1
        assert gateway.endpoints.current.failures == 1


async def test_what_was_cut_and_is_silent_then_may_have_begun_anew(connect: Connect, password: Path) -> None:
    """Its token is let go again, however short a while ago that was done: such an etcd waits for ever."""
    async with fake_gateway() as fake:
        strict = Strict(fake)
        gateway = connect(fake.url, request=0.1, user="any", password_file=password)

        async def cut(_: asyncio.StreamReader, __: asyncio.StreamWriter) -> None:
            """Close the connection."""

        tokens = []
        for _ in range(3):
            fake.answers[RANGE] = answer({"header": HEADER})
            await gateway.revision(KEYS)
            tokens.append(strict.given)
            fake.answers[RANGE] = cut
            with pytest.raises(Dropped):
                await gateway.revision(KEYS)
            fake.answers[RANGE] = silence
            with pytest.raises(NoAnswer):
                await gateway.revision(KEYS)
        # The first time, it was also asked whether the token is to blame for the cut.
        assert tokens == [1, 3, 4]
