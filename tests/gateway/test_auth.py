"""etcd's authentication: users, tokens, and tokens that are no longer good."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import suppress
from itertools import pairwise
from pathlib import Path

import pytest

from syncd.gateway import (
    CredentialsUnusable,
    EtcdError,
    Gateway,
    PermissionDenied,
    Unauthenticated,
    Unreachable,
    WatchResult,
)
from syncd.gateway.auth import Tokens
from syncd.gateway.errors import GatewayError, NoAnswer
from syncd.keyrange import prefix_range
from tests.etcd import Etcd
from tests.gateway.conftest import Connect

ALLOWED, DENIED = prefix_range(b"/mine/"), prefix_range(b"/theirs/")
SECRET = "correct horse battery staple"  # what must not be in any message


@pytest.fixture
def guarded(etcd_version: str) -> Iterator[Etcd]:
    """Run an etcd of each version where the user `reader` may read /mine/."""
    with Etcd(etcd_version, [] if etcd_version == "3.3.25" else ["--bcrypt-cost=4"]) as etcd:
        etcd.put("/mine/a", "1")
        etcd.put("/theirs/a", "1")
        etcd.guard("reader", SECRET, ALLOWED.key)
        yield etcd


@pytest.fixture
def password(tmp_path: Path) -> Path:
    """Write the right password."""
    file = tmp_path / "password"
    file.write_text(SECRET + "\n")
    return file


async def first(gateway: Gateway) -> WatchResult:
    """Open a watch, and see its first event."""
    async with asyncio.timeout(5), gateway.watch(ALLOWED, 1) as stream:
        while not (result := await anext(stream)).events:
            pass
    return result


async def test_a_user_reads_and_watches_what_it_may(guarded: Etcd, connect: Connect, password: Path) -> None:
    """And nothing else."""
    gateway = connect(guarded.endpoint, user="reader", password_file=password)
    assert len(await gateway.range_page(ALLOWED, limit=1, revision=0)) == 1
    assert (await gateway.revision(ALLOWED)).revision == 3
    assert (await first(gateway)).events[0].kv.key == b"/mine/a"
    with pytest.raises(PermissionDenied):
        await gateway.range_page(DENIED, limit=1, revision=0)
    with pytest.raises(PermissionDenied):
        await follow(gateway)
    assert gateway.endpoints.current.failures == 0


async def follow(gateway: Gateway) -> None:
    """Watch what may not be watched."""
    async with asyncio.timeout(5), gateway.watch(DENIED, 1) as stream:
        while True:
            await anext(stream)


async def test_without_a_user_etcd_lets_nobody_in(guarded: Etcd, connect: Connect) -> None:
    """It says that the user is missing, in its way."""
    gateway = connect(guarded.endpoint)
    with pytest.raises(Unauthenticated, match="user name is empty"):
        await gateway.revision(ALLOWED)
    with pytest.raises((Unauthenticated, PermissionDenied)):
        await first(gateway)


async def test_a_wrong_password_is_called_that(guarded: Etcd, connect: Connect, tmp_path: Path) -> None:
    """The user is named, the password is not; after the file was mended and read again it works."""
    file = tmp_path / "password"
    file.write_text("wrong " + SECRET)
    gateway = connect(guarded.endpoint, user="reader", password_file=file)
    for call in (gateway.revision(ALLOWED), first(gateway)):
        with pytest.raises(CredentialsUnusable, match="refuses the password of user 'reader'") as caught:
            await call
        assert SECRET not in str(caught.value)
    file.write_text(SECRET)
    await gateway.rotation.reload()
    assert (await gateway.revision(ALLOWED)).revision == 3


async def test_a_call_with_a_forgotten_token_is_made_again(
    guarded: Etcd, connect: Connect, password: Path
) -> None:
    """A restarted member knows none of its simple tokens: nobody notices."""
    gateway = connect(guarded.endpoint, user="reader", password_file=password)
    await gateway.revision(ALLOWED)
    guarded.kill()
    guarded.start()
    with suppress(Unreachable):  # the connection was kept, and its end may be noticed only now
        await gateway.revision(ALLOWED)
    await gateway.revision(ALLOWED)
    assert gateway.endpoints.current.failures == 0


async def test_a_watch_with_a_forgotten_token_works_the_second_time(
    guarded: Etcd, connect: Connect, password: Path
) -> None:
    """However etcd words it: before 3.5.6 an unknown token on a watch can read as "permission denied"."""
    gateway = connect(guarded.endpoint, user="reader", password_file=password)
    await first(gateway)
    guarded.kill()
    guarded.start()
    # 3.4.23 may know it still: it does what its log says once more, and that includes the giving of tokens.
    with suppress(Unauthenticated, PermissionDenied, Unreachable):
        await first(gateway)
    assert (await first(gateway)).events[0].kv.key == b"/mine/a"


async def test_a_token_outlives_a_change_of_users(guarded: Etcd, connect: Connect, password: Path) -> None:
    """The auth store's revision moves on, and the next calls still work."""
    gateway = connect(guarded.endpoint, user="reader", password_file=password)
    await gateway.revision(ALLOWED)
    root = guarded.ask("/auth/authenticate", {"name": "root", "password": SECRET})["token"]
    guarded.etcdctl("--user", f"root:{SECRET}", "user", "add", "other:pw")
    assert root
    assert (await gateway.revision(ALLOWED)).revision == 3
    assert (await first(gateway)).events[0].kv.key == b"/mine/a"


async def test_a_user_where_etcd_wants_none(new_etcd: Etcd, connect: Connect, password: Path) -> None:
    """etcd says that authentication is not enabled, and so do we."""
    gateway = connect(new_etcd.endpoint, user="reader", password_file=password)
    with pytest.raises(EtcdError, match="authentication is not enabled"):
        await gateway.revision(ALLOWED)


async def test_many_ask_for_a_token_and_one_is_fetched() -> None:
    """Each one costs etcd a bcrypt; after it was refused, again only one is fetched."""
    asked: list[str] = []

    async def authenticate(url: str) -> str:
        asked.append(url)
        await asyncio.sleep(0)
        return f"token {len(asked)}"

    tokens = Tokens(authenticate, time.monotonic)
    assert await asyncio.gather(*(tokens.get("a") for _ in range(10))) == ["token 1"] * 10
    for _ in range(10):
        tokens.reject("a", "token 1")
    tokens.reject("a", None)
    tokens.reject("b", "token 1")
    assert await asyncio.gather(*(tokens.get("a") for _ in range(10))) == ["token 2"] * 10
    tokens.reject("a", "token 1")  # a late answer about the old one
    assert await tokens.get("a") == "token 2"
    assert await tokens.get("b") == "token 3"
    assert asked == ["a", "a", "b"]


async def test_a_failed_request_for_a_token_is_not_remembered() -> None:
    """Whoever asks next tries again."""
    failures = [OSError("no"), OSError("no")]

    async def authenticate(url: str) -> str:
        if failures:
            raise failures.pop()
        return "token"

    tokens = Tokens(authenticate, time.monotonic)
    results = await asyncio.gather(*(tokens.get("a") for _ in range(3)), return_exceptions=True)
    assert [type(result) for result in results] == [OSError, OSError, str]


async def test_who_waited_for_one_that_was_cancelled_asks_itself() -> None:
    """Its end says nothing about etcd."""
    asked = 0

    async def authenticate(url: str) -> str:
        nonlocal asked
        asked += 1
        if asked == 1:
            await asyncio.Event().wait()
        return "token"

    tokens = Tokens(authenticate, time.monotonic)
    async with asyncio.TaskGroup() as group:
        first = group.create_task(tokens.get("a"), name="first")
        second = group.create_task(tokens.get("a"), name="second")
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        first.cancel()
    assert second.result() == "token"
    assert asked == 2


@pytest.mark.parametrize("kind", [NoAnswer, CredentialsUnusable])
async def test_an_etcd_that_gives_no_token_is_given_time(kind: type[GatewayError]) -> None:
    """More and more of it, until it answers; the others that wait learn it, too."""
    now = 0.0
    asked: list[float] = []
    silent = True

    async def authenticate(url: str) -> str:
        asked.append(now)
        await asyncio.sleep(0)
        if silent:
            raise kind(url, "not now")
        return "token"

    tokens = Tokens(authenticate, lambda: now)
    for _ in range(400):
        results = await asyncio.gather(*(tokens.get("a") for _ in range(3)), return_exceptions=True)
        assert {type(result) for result in results} == {kind}
        now += 0.1
    gaps = [round(later - earlier) for earlier, later in pairwise(asked)]
    assert gaps == [0, 1, 2, 4, 8, 10, 10]
    silent, now = False, 60.0
    assert await tokens.get("a") == "token"
    tokens.reject("a", "token")
    silent = True
    for _ in range(2):
        with pytest.raises(kind, match="not now"):
            await tokens.get("a")
    silent = False
    with pytest.raises(kind, match="not now"):
        await tokens.get("a")
    tokens.retry()
    assert await tokens.get("a") == "token"


async def test_a_token_is_forgotten_for_silence_only_now_and_then() -> None:
    """An etcd that is too busy to answer must not be made to hash everybody's password all the time."""
    now = 0.0
    given = 0

    async def authenticate(url: str) -> str:
        nonlocal given
        given += 1
        return f"token {given}"

    tokens = Tokens(authenticate, lambda: now)
    for second in range(120):
        now = float(second)
        await tokens.get("a")
        tokens.forget("a")
    assert given == 5  # at once, and then every half a minute
    await tokens.get("a")
    tokens.gone("a")
    tokens.forget("a")
    await tokens.get("a")
    assert given == 6  # one that was away may be silent because it was wiped
    tokens.forget_all()
    assert await tokens.get("a") == "token 7"


async def test_a_token_from_before_a_wipe_is_dropped_when_nothing_answers(
    etcd_version: str, connect: Connect, password: Path
) -> None:
    """A token names a raft index, and an etcd that began anew waits for that instead of refusing."""
    with Etcd(etcd_version, [] if etcd_version == "3.3.25" else ["--bcrypt-cost=4"]) as etcd:
        for _ in range(100):
            etcd.put("/mine/a", "1")
        etcd.guard("reader", SECRET, ALLOWED.key)
        gateway = connect(etcd.endpoint, request=0.5, user="reader", password_file=password)
        await gateway.revision(ALLOWED)
        url = gateway.endpoints.current.url
        before = await gateway._tokens.get(url)
        etcd.begin_anew()
        etcd.guard("reader", SECRET, ALLOWED.key)
        failures: list[Unreachable] = []
        while len(failures) < 5:
            try:
                await gateway.revision(ALLOWED)
                break
            except Unreachable as error:
                failures.append(error)
        assert await gateway._tokens.get(url) != before
        assert len(failures) <= 2, failures  # the connection that was open, and the one that waited
