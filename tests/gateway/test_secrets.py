"""No object of the gateway, and no error of it, shows a password, a token or a key to whoever prints it."""

from __future__ import annotations

import asyncio
import io
import json
import re
import sys
import traceback
from collections import deque
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from pathlib import Path
from types import FrameType, FunctionType, MethodType, ModuleType, TracebackType

import aiohttp
import pytest
import structlog
from multidict import CIMultiDictProxy

from syncd.config import TLS, Log
from syncd.config import Etcd as EtcdConfig
from syncd.daemon import logs
from syncd.gateway import EtcdError, Gateway, GatewayError, MalformedAnswer, Unreachable
from syncd.gateway.credentials import Credentials
from syncd.gateway.errors import FileUnusable, NoGateway, PermissionDenied, WrongPassword
from syncd.gateway.token import Token
from syncd.gateway.transport import translated
from syncd.keyrange import prefix_range
from tests.certificates import Authority
from tests.etcd import Etcd
from tests.gateway.conftest import Connect
from tests.gateway.fake import HEADER, STATUS, answer, whole
from tests.needles import find, needles
from tests.users import PASSWORD, simple

KEYS, DENIED = prefix_range(b"/mine/"), prefix_range(b"/theirs/")
SECRET = 'pass "wörd" <%/+\\> 4711'
"""A password that looks different in every encoding."""


def reachable(*roots: object) -> Iterator[object]:
    """Everything that hangs on these objects: attributes, items, causes of errors; no classes or modules."""
    seen: set[int] = set()
    stack: list[object] = [*roots]
    keep = []  # or their ids would be used again
    while stack:
        one = stack.pop()
        shared = (type, ModuleType, FunctionType, FrameType, TracebackType)
        if id(one) in seen or isinstance(one, shared):
            continue
        seen.add(id(one))
        keep.append(one)
        yield one
        if isinstance(one, MethodType):
            stack.append(one.__self__)
        if isinstance(one, Mapping):
            stack += [*one.keys(), *one.values()]
        elif isinstance(one, (list, tuple, set, frozenset, deque)):
            stack += list(one)
        if isinstance(one, BaseException):
            stack += [one.__cause__, one.__context__, *one.args]
        stack += [getattr(one, name, None) for name in _attributes(one)]


def _attributes(one: object) -> Iterable[str]:
    names = set(getattr(one, "__dict__", ()))
    for kind in type(one).__mro__:
        slots = kind.__dict__.get("__slots__", ())
        for name in [slots] if isinstance(slots, str) else slots:
            names.add(f"_{kind.__name__.lstrip('_')}{name}" if name.startswith("__") else name)
    return names


def shows(one: object) -> bool:
    """Whether it is more than a plain value, of which secrets are made.

    aiohttp's record of a request has its headers: only who opens up a stream gets there.
    """
    if isinstance(one, (aiohttp.RequestInfo, CIMultiDictProxy)):
        return False
    return type(one).__module__ != "builtins" or isinstance(one, BaseException)


def untold(*roots: object, secrets: Iterable[str]) -> list[object]:
    """Assert that nothing that hangs on `roots` shows any of the secrets; what hangs there."""
    secrets = list(secrets)
    everything = list(reachable(*roots))
    for one in everything:
        if shows(one):
            for text in (repr(one), str(one)):
                assert not find(text, secrets), f"a {type(one)} shows a secret: {text}"
    return everything


def rendered(error: BaseException) -> str:
    """The error as a traceback, by Python, and in each format of the log."""
    texts = [*traceback.format_exception(error), str(error)]
    before, config = sys.stderr, structlog.get_config()
    try:
        for format_ in ("json", "console"):
            sys.stderr = io.StringIO()
            logs.configure(Log(level="debug", format=format_))
            structlog.get_logger("test").error("failed", error=error, exc_info=error)
            texts.append(sys.stderr.getvalue())
            assert type(error).__name__ in texts[-1]
    finally:
        sys.stderr = before
        structlog.configure(**config)
    return "\n".join(texts)


async def failure(gateway: Gateway, kind: type[GatewayError], secrets: Iterable[str]) -> GatewayError:
    """The error of a call, in which no secret is to be found."""
    with pytest.raises(kind) as caught:
        await gateway.revision(KEYS)
    assert not find(rendered(caught.value), secrets)
    untold(caught.value, secrets=secrets)
    return caught.value


def test_needles_are_found() -> None:
    """A secret in any disguise, also when only half of it is there."""
    assert find(f"x{SECRET}y", [SECRET])
    assert find(SECRET[: len(SECRET) // 2], [SECRET])
    for text in (repr(SECRET), ascii(SECRET), f"{SECRET.encode()!r}", Token.__repr__(Token("x")) + SECRET):
        assert find(text, [SECRET])
    assert find("cGFzcyAid8O2cmQiIDwlLytcPiA0NzEx", [SECRET])
    assert not find("pass word", [SECRET])
    assert all(len(needle) >= 8 for needle in needles(SECRET))


@pytest.fixture
def password(tmp_path: Path) -> Path:
    """A file with the password."""
    file = tmp_path / "password"
    file.write_text(SECRET)
    return file


async def test_objects(tmp_path: Path, connect: Connect, password: Path) -> None:
    """A gateway that has read and watched with TLS, a password and a token; and all that belongs to it."""
    authority = Authority(tmp_path)
    own = authority.issue("own")
    tls = TLS(ca_file=authority.file, cert_file=own.certificate, key_file=own.key)
    with Etcd(None, simple("")) as etcd:
        etcd.guard("reader", SECRET, KEYS.key)
        gateway = connect(etcd.endpoint, user="reader", password_file=password)
        async with gateway.watch(KEYS, 1) as stream:
            await anext(stream)
            token = await gateway._tokens.get(etcd.endpoint)
            task = asyncio.get_running_loop().create_task(gateway.revision(KEYS), name="a call")
            held = untold(gateway, stream, task, gateway.rotation, secrets=[SECRET, token])
            assert {SECRET, token} <= {one for one in held if isinstance(one, str)}, "they were not looked at"
            await task
            gateway._tokens.reject(etcd.endpoint, token, "no")
            with pytest.raises(PermissionDenied) as denied:
                await gateway.revision(DENIED)
            token2 = await gateway._tokens.get(etcd.endpoint)
            assert not find(rendered(denied.value), [SECRET, token, token2])
            untold(gateway, denied.value, secrets=[SECRET, token, token2])
    secure = EtcdConfig(endpoints=("https://etcd:1",), user="r", password_file=password, tls=tls)
    credentials = Credentials(secure)
    key = [line for line in own.key.read_text().splitlines() if not line.startswith("-")]
    assert SECRET in untold(credentials, secrets=[SECRET, *key])


async def test_a_wrong_password(connect: Connect, password: Path) -> None:
    """Neither its error, nor what remembers that, nor those who get the same one again."""
    with Etcd(None, simple("")) as etcd:
        etcd.guard("reader", PASSWORD, KEYS.key)
        gateway = connect(etcd.endpoint, user="reader", password_file=password)
        for _ in range(2):
            await failure(gateway, WrongPassword, [SECRET])
        assert SECRET in untold(gateway, secrets=[SECRET])


class Repeating:
    """Answers calls with `page`, in which `{}` is what it was sent; to who asks who it is, it is etcd."""

    def __init__(self) -> None:
        self.page = b"{}"
        self.status = "500 Oops"
        self.token = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection: one request, one answer."""
        head = await reader.readuntil(b"\r\n\r\n")
        length = re.search(rb"(?i)content-length: (\d+)", head)
        body = await reader.readexactly(int(length[1])) if length else b""
        path = head.split()[1].decode()
        if path == "/version":
            writer.write(answer({"etcdserver": "3.5.16", "etcdcluster": "3.5.0"}))
        elif path.endswith("/status"):
            writer.write(answer(STATUS))
        elif path.endswith("/authenticate") and self.token:
            writer.write(answer({"header": HEADER, "token": self.token}))
        else:
            # The head comes last: only the beginning of a page is ever quoted.
            sent = body + b" " + b" ".join(reversed(head.splitlines()))
            page = self.page.replace(b"{}", sent)
            writer.write(whole(page, self.status) if self.status else page + b"\r\n\r\n")
        writer.close()


@pytest.fixture
async def repeating() -> AsyncIterator[tuple[Repeating, str]]:
    """One on a port of its own, and its URL."""
    fake = Repeating()
    server = await asyncio.start_server(fake.serve, "127.0.0.1", 0)
    try:
        yield fake, f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        await server.wait_closed()


@pytest.mark.parametrize(
    ("page", "status", "kind"),
    [
        (b"not found: {}", "404 Not Found", NoGateway),
        (b"behind me there is nobody: {}", "502 Bad Gateway", Unreachable),
        (b"{}", "500 Oops", MalformedAnswer),
        (b'{"code":2,"message":"', "500 Oops", MalformedAnswer),
        (b"{}", "", MalformedAnswer),  # that is no HTTP
        (b"HTTP/1.1 {}", "", MalformedAnswer),
        (b"HTTP/1.1 200 OK\r\n{}", "", MalformedAnswer),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{}", "", MalformedAnswer),
    ],
)
async def test_what_was_sent_is_not_repeated(
    repeating: tuple[Repeating, str],
    connect: Connect,
    password: Path,
    page: bytes,
    status: str,
    kind: type[GatewayError],
) -> None:
    """Some proxies quote the request in their pages of errors; here that is left out."""
    fake, url = repeating
    fake.page, fake.status = page, status
    gateway = connect(url, user="reader", password_file=password)
    await failure(gateway, kind, [SECRET])
    fake.token = "a-token-that-nobody-should-see.42"
    gateway._tokens.retry()
    await failure(gateway, kind, [SECRET, fake.token])
    async with asyncio.timeout(5):
        with pytest.raises(kind) as caught:
            async with gateway.watch(KEYS, 1):
                pass
    assert not find(rendered(caught.value), [SECRET, fake.token])
    assert fake.token in untold(gateway, caught.value, secrets=[SECRET, fake.token])


@pytest.mark.parametrize("kind", [aiohttp.ClientPayloadError, aiohttp.ClientError, ValueError])
def test_what_aiohttp_quotes_is_not_repeated(kind: type[Exception]) -> None:
    """Its errors have pieces of answers in them, as it comes; which ones depends on how these come in."""
    error = kind(f"Not a chunk: {SECRET}")
    error.__cause__ = ZeroDivisionError(SECRET)
    with pytest.raises(GatewayError) as caught, translated("http://etcd:1", ""):
        raise error
    assert "ZeroDivisionError" in str(caught.value)
    assert not find(rendered(caught.value), [SECRET])
    untold(caught.value, secrets=[SECRET])


async def test_an_etcd_that_repeats_the_password(
    repeating: tuple[Repeating, str], connect: Connect, password: Path
) -> None:
    """Its own errors are told as they are, but for that."""
    fake, url = repeating
    fake.page = b'{"code":2,"message":' + json.dumps(f"what is {SECRET}?").encode() + b"}"
    gateway = connect(url, user="reader", password_file=password)
    error = await failure(gateway, EtcdError, [SECRET])
    assert "(code 2)" in str(error)
    fake.page = b'{"code":2,"message":"why not?"}'
    error = await failure(gateway, EtcdError, [SECRET])
    assert "why not?" in str(error)


def test_a_password_file_that_cannot_be_used(password: Path) -> None:
    """Its error says what is wrong with it, and quotes nothing."""
    for content in (SECRET.encode() + b"\xff", f"{SECRET}\nmore".encode(), SECRET.encode("utf-16")):
        password.write_bytes(content)
        with pytest.raises(FileUnusable) as caught:
            Credentials(EtcdConfig(user="reader", password_file=password))
        assert not find(rendered(caught.value), [SECRET])
        untold(caught.value, secrets=[SECRET])
