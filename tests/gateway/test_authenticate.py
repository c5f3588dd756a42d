"""When a token is asked for, how long it may take, and what is repeated of what etcd says instead."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from syncd.gateway.authenticate import UNSAID
from syncd.gateway.errors import (
    CommonNameRefused,
    Dropped,
    EtcdError,
    GatewayError,
    NoAnswer,
    Unauthenticated,
    Unavailable,
    Unreachable,
    WrongPassword,
)
from syncd.keyrange import prefix_range
from tests.gateway.conftest import Connect
from tests.gateway.fake import HEADER, answer, fake_gateway, silence, whole

AUTHENTICATE, RANGE = "/v3/auth/authenticate", "/v3/kv/range"
KEYS = prefix_range(b"/")
URL = "http://etcd:2379"

EMPTY = "etcdserver: user name is empty"
BUSY = "etcdserver: request timed out"
COMMON_NAME = b"CommonName of client sending a request against gateway will be ignored"


@pytest.mark.parametrize(
    ("said", "kind", "told"),
    [
        (answer({"code": 3, "message": EMPTY}, "400 Bad Request"), Unauthenticated, f"{UNSAID} (code 3)"),
        (answer({"code": 14, "message": BUSY}, "503 No"), Unavailable, f"{UNSAID} (code 14)"),
        (answer({"code": 2, "message": "x" * 996 + " etcd"}, "500 No"), EtcdError, f"{UNSAID} (code 2)"),
        (whole(COMMON_NAME, "400 Bad Request", "text/plain"), CommonNameRefused, UNSAID),
        (
            answer({"code": 3, "message": "etcdserver: authentication failed, as I said"}, "400 Bad Request"),
            WrongPassword,
            "etcd refuses the password of user 'etcd'",
        ),
    ],
)
@pytest.mark.parametrize("password", ["etcd", "e"])
async def test_an_error_that_has_the_password_in_it_stays_what_it_is(
    said: bytes, kind: type[GatewayError], told: str, password: str, connect: Connect, tmp_path: Path
) -> None:
    """Its class and code are told; its text is not, for a hole in words that everybody knows tells all."""
    file = tmp_path / "password"
    file.write_text(password)
    async with fake_gateway({AUTHENTICATE: said}) as fake:
        gateway = connect(fake.url, user="etcd", password_file=file)
        with pytest.raises(kind) as caught:
            await gateway.revision(KEYS)
        error: BaseException | None = caught.value
        assert type(error) is kind
        assert str(error) == f"{fake.url}: {told}"
        while error := error.__cause__:
            assert UNSAID in str(error)


async def test_etcd_has_longer_for_a_token_than_whoever_wants_it(connect: Connect, tmp_path: Path) -> None:
    """One that is late has hashed a password: the next call finds the token. But it has not for ever."""
    file = tmp_path / "password"
    file.write_text("any")
    hashed = asyncio.Event()

    async def give(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await hashed.wait()
        writer.write(answer({"header": HEADER, "token": "a token"}))

    async with (
        fake_gateway({AUTHENTICATE: give, RANGE: answer({"header": HEADER})}) as fake,
        asyncio.timeout(10),
        asyncio.TaskGroup() as group,
    ):
        gateway = connect(fake.url, request=0.3, user="any", password_file=file)
        probes = group.create_task(gateway.probe(KEYS), name="probes")
        with pytest.raises(NoAnswer, match=r"it gave no token within 0\.3 s"):
            await gateway.revision(KEYS)
        hashed.set()
        await gateway.revision(KEYS)
        assert fake.paths().count(AUTHENTICATE) == 1
        fake.answers[AUTHENTICATE] = silence
        gateway._tokens.reject(fake.url, "a token", "")
        while fake.paths().count(AUTHENTICATE) < 3:
            with pytest.raises(NoAnswer):
                await gateway.revision(KEYS)
        assert fake.paths().count(RANGE) == 1
        probes.cancel()


@pytest.mark.parametrize(
    ("error", "hashes"),
    [
        (Unreachable(URL, "no connection", "refused"), 3),
        (Dropped(URL, "closed"), 3),
        (Unreachable(URL, "no connection in time", "late"), 2),
        (Unreachable(URL, "no connection", "no route"), 2),
        (Unreachable(URL, "no answer within 4 s"), 2),
    ],
    ids=str,
)
async def test_silence_after_a_restart_may_be_about_the_token(
    error: Unreachable, hashes: int, connect: Connect, tmp_path: Path
) -> None:
    """Otherwise it may be overload: then another one is asked for only now and then."""
    file = tmp_path / "password"
    file.write_text("any")
    async with fake_gateway() as fake:
        fake.answers[AUTHENTICATE] = answer({"header": HEADER, "token": "any"})
        fake.answers[RANGE] = answer({"header": HEADER})
        gateway = connect(fake.url, user="any", password_file=file)
        endpoint = gateway.endpoints.current
        await gateway.revision(KEYS)
        gateway._blame(endpoint, NoAnswer(URL, "silent"), 0)
        await gateway.revision(KEYS)
        gateway._blame(endpoint, error, 0)
        gateway._blame(endpoint, NoAnswer(URL, "silent"), 0)
        await gateway.revision(KEYS)
        assert fake.paths().count(AUTHENTICATE) == hashes
