"""etcd's authentication: users, and tokens that are no longer good, on real servers."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from syncd.gateway import (
    Gateway,
    GatewayError,
    PermissionDenied,
    Unauthenticated,
    Unreachable,
    WatchResult,
)
from syncd.gateway.errors import NoAnswer, WrongPassword
from syncd.gateway.token import Token
from syncd.keyrange import KeyRange, prefix_range
from tests.etcd import Etcd
from tests.gateway.conftest import Connect
from tests.users import PASSWORD, as_root, authentications, change_password, jwt, simple

ALLOWED, DENIED = prefix_range(b"/mine/"), prefix_range(b"/theirs/")


@pytest.fixture
def guarded(etcd_version: str) -> Iterator[Etcd]:
    """Run an etcd of each version where the user `reader` may read /mine/."""
    with Etcd(etcd_version, simple(etcd_version)) as etcd:
        fill(etcd)
        yield etcd


@pytest.fixture(params=["simple", "jwt"])
def guarded_either_way(etcd_version: str, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Etcd]:
    """Run one of each version with each kind of tokens."""
    flags = jwt(etcd_version, tmp_path) if request.param == "jwt" else simple(etcd_version)
    with Etcd(etcd_version, flags) as etcd:
        fill(etcd)
        yield etcd


def fill(etcd: Etcd) -> None:
    """Two keys, of which `reader` may read one."""
    etcd.put("/mine/a", "1")
    etcd.put("/theirs/a", "1")
    etcd.guard("reader", PASSWORD, ALLOWED.key)


@pytest.fixture
def password(tmp_path: Path) -> Path:
    """Write the right password."""
    file = tmp_path / "password"
    file.write_text(PASSWORD + "\n")
    return file


async def first(gateway: Gateway, keys: KeyRange = ALLOWED) -> WatchResult:
    """Open a watch, and see its first event."""
    async with asyncio.timeout(5), gateway.watch(keys, 1) as stream:
        while not (result := await anext(stream)).events:
            pass
    return result


async def works(gateway: Gateway) -> None:
    """A call and a watch are answered, each at its first try."""
    assert (await gateway.revision(ALLOWED)).revision == 3
    assert (await first(gateway)).events[0].kv.key == b"/mine/a"
    assert gateway.endpoints.current.failures == 0


async def is_refused(gateway: Gateway, kind: type[GatewayError]) -> None:
    """A call and a watch are refused."""
    for call in (lambda: gateway.revision(ALLOWED), lambda: first(gateway)):
        with pytest.raises(kind):
            await call()
    assert gateway.endpoints.current.failures == 0


def hand(gateway: Gateway, text: str) -> None:
    """Have the gateway believe that this is its token."""
    gateway._tokens._held[gateway.endpoints.current.url].token = Token(text)


async def test_a_user_reads_and_watches_what_it_may(guarded: Etcd, connect: Connect, password: Path) -> None:
    """And nothing else."""
    gateway = connect(guarded.endpoint, user="reader", password_file=password)
    assert len(await gateway.range_page(ALLOWED, limit=1, revision=0)) == 1
    await works(gateway)
    with pytest.raises(PermissionDenied):
        await gateway.range_page(DENIED, limit=1, revision=0)
    with pytest.raises(PermissionDenied):
        await first(gateway, DENIED)
    assert gateway.endpoints.current.failures == 0
    assert authentications(guarded) == 1


async def test_without_a_user_etcd_lets_nobody_in(guarded: Etcd, connect: Connect) -> None:
    """It says that the user is missing, in its way."""
    gateway = connect(guarded.endpoint)
    with pytest.raises(Unauthenticated, match="user name is empty"):
        await gateway.revision(ALLOWED)
    with pytest.raises((Unauthenticated, PermissionDenied)):  # the latter before 3.5.6
        await first(gateway)
    assert authentications(guarded) == 0


async def test_a_wrong_password_is_called_that(guarded: Etcd, connect: Connect, tmp_path: Path) -> None:
    """The user is named, the password is not; after the file was mended and read again it works."""
    file = tmp_path / "password"
    file.write_text("wrong " + PASSWORD)
    gateway = connect(guarded.endpoint, user="reader", password_file=file)
    with pytest.raises(WrongPassword, match="refuses the password of user 'reader'") as caught:
        await gateway.revision(ALLOWED)
    assert PASSWORD not in str(caught.value)
    await is_refused(gateway, WrongPassword)
    assert authentications(guarded) == 1
    file.write_text(PASSWORD)
    await gateway.rotation.reload()
    await works(gateway)


async def test_a_token_that_etcd_does_not_know_is_replaced(
    guarded_either_way: Etcd, connect: Connect, password: Path
) -> None:
    """However etcd words it: before 3.5.6, on a watch, it may read as "permission denied"."""
    gateway = connect(guarded_either_way.endpoint, user="reader", password_file=password)
    await gateway.revision(ALLOWED)
    for unknown in ("nonsense", "nonsense.7", "a.b.c", ""):
        before = authentications(guarded_either_way)
        with capture_logs() as log:
            hand(gateway, unknown)
            assert (await first(gateway)).events
            hand(gateway, unknown)
            await works(gateway)
        assert authentications(guarded_either_way) - before == 2
        codes = [line["code"] for line in log if line["event"] == "token renewed"]
        assert codes == ["auth.token_refused"] * (2 if unknown else 0)


async def test_users_and_roles_change(guarded_either_way: Etcd, connect: Connect, password: Path) -> None:
    """Whatever was changed, the next call and the next watch are right about it.

    A JWT is of no use after any change, a simple token only after one of its user's password.
    """
    etcd = guarded_either_way
    gateway = connect(etcd.endpoint, user="reader", password_file=password)
    await works(gateway)
    for change in (("user", "add", "other:pw"), ("role", "add", "other"), ("user", "delete", "other")):
        as_root(etcd, *change)
        before = authentications(etcd)
        await works(gateway)
        assert authentications(etcd) - before == ("jwt" in etcd.flags[0])

    as_root(etcd, "user", "revoke-role", "reader", "reading")
    before = authentications(etcd)
    await is_refused(gateway, PermissionDenied)
    await is_refused(gateway, PermissionDenied)
    assert authentications(etcd) - before == ("jwt" in etcd.flags[0])  # that is no question of tokens
    as_root(etcd, "user", "grant-role", "reader", "reading")
    await works(gateway)

    change_password(etcd, "reader", "another")
    await is_refused(gateway, WrongPassword)
    await asyncio.to_thread(password.write_text, "another")
    await gateway.rotation.reload()
    await works(gateway)
    as_root(etcd, "user", "delete", "reader")
    await is_refused(gateway, WrongPassword)


async def test_authentication_is_switched_on_and_off(
    etcd_version: str, connect: Connect, password: Path
) -> None:
    """A user that etcd does not ask for is no mistake; when it asks, there is a token. The log says both."""
    with Etcd(etcd_version, simple(etcd_version)) as etcd, capture_logs() as log:
        gateway = connect(etcd.endpoint, user="reader", password_file=password)
        anybody = connect(etcd.endpoint)
        await gateway.revision(ALLOWED)
        await anybody.revision(ALLOWED)
        fill(etcd)
        await works(gateway)
        with pytest.raises(Unauthenticated):
            await anybody.revision(ALLOWED)
        as_root(etcd, "auth", "disable")
        await works(gateway)
        await works(anybody)
        etcd.ask("/auth/enable", {})
        await works(gateway)
    said = [line["event"] for line in log if line["event"].startswith("authentication is")]
    times = 1 if etcd_version in ("3.5.16", "3.5.30") else 2  # those look at no token while it is off
    assert said == ["authentication is off", "authentication is on again"] * times


async def test_a_call_that_is_refused_says_nothing_of_the_token(
    guarded: Etcd, connect: Connect, password: Path
) -> None:
    """Not either when it was made by whoever follows a stream: every daemon would have etcd hash for that."""
    gateway = connect(guarded.endpoint, user="reader", password_file=password)

    async def follow() -> None:
        async with gateway.watch(ALLOWED, 1):
            as_root(guarded, "user", "revoke-role", "reader", "reading")
            await gateway.revision(ALLOWED)

    with pytest.raises(PermissionDenied):
        await follow()
    await is_refused(gateway, PermissionDenied)
    as_root(guarded, "user", "grant-role", "reader", "reading")
    await works(gateway)
    assert authentications(guarded) == 1 + 2  # those of `root`


async def test_a_busy_etcd_hashes_for_those_who_gave_up(connect: Connect, password: Path) -> None:
    """A fleet that asks again and again, each time anew, would keep it hashing for nobody."""
    with Etcd(flags=["--bcrypt-cost=12"]) as etcd:
        fill(etcd)
        before = authentications(etcd)
        gateway = connect(etcd.endpoint, user="reader", password_file=password)
        async with asyncio.timeout(20), asyncio.TaskGroup() as group:
            probes = group.create_task(gateway.probe(ALLOWED), name="probes")
            late = 0
            while not gateway._tokens._held[etcd.endpoint].token:
                with suppress(NoAnswer):
                    await gateway.revision(ALLOWED, within=0.02)
                late += 1
            await works(gateway)
            probes.cancel()
        assert late > 3
        # The last one may have been late with the very token, and had it forgotten.
        assert authentications(etcd) - before <= 2


async def test_a_restarted_member_knows_no_token(guarded: Etcd, connect: Connect, password: Path) -> None:
    """Or it does, as it does once more what its log says: nobody notices, neither a call nor a watch."""
    gateway = connect(guarded.endpoint, user="reader", password_file=password)
    await works(gateway)
    for _ in range(2):
        guarded.kill()
        guarded.start()
        with suppress(Unreachable):  # the connection was kept, and its end may be noticed only now
            await first(gateway)
        await works(gateway)


async def test_a_token_from_before_a_wipe_is_dropped_when_nothing_answers(
    etcd_version: str, connect: Connect, password: Path
) -> None:
    """A token names a raft index, and an etcd that began anew waits for that instead of refusing."""
    with Etcd(etcd_version, simple(etcd_version)) as etcd:
        for _ in range(100):
            etcd.put("/mine/a", "1")
        etcd.guard("reader", PASSWORD, ALLOWED.key)
        gateway = connect(etcd.endpoint, request=0.5, user="reader", password_file=password)
        await gateway.revision(ALLOWED)
        url = gateway.endpoints.current.url
        before = await gateway._tokens.get(url)
        etcd.begin_anew()
        etcd.guard("reader", PASSWORD, ALLOWED.key)
        failures: list[Unreachable] = []
        while len(failures) < 5:
            try:
                await gateway.revision(ALLOWED)
                break
            except Unreachable as error:
                failures.append(error)
        assert await gateway._tokens.get(url) != before
        assert len(failures) <= 2, failures  # the connection that was open, and the one that waited
