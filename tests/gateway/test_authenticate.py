"""What etcd says instead of giving a token, and what is repeated of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from syncd.gateway.authenticate import UNSAID
from syncd.gateway.errors import (
    CommonNameRefused,
    EtcdError,
    GatewayError,
    Unauthenticated,
    Unavailable,
    WrongPassword,
)
from syncd.keyrange import prefix_range
from tests.gateway.conftest import Connect
from tests.gateway.fake import answer, fake_gateway, whole

AUTHENTICATE = "/v3/auth/authenticate"

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
            await gateway.revision(prefix_range(b"/"))
        error: BaseException | None = caught.value
        assert type(error) is kind
        assert str(error) == f"{fake.url}: {told}"
        while error := error.__cause__:
            assert UNSAID in str(error)
