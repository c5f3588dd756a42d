"""Nothing that a daemon writes or answers has a password, a token or a key in it, whatever happens to it."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
from pathlib import Path
from signal import SIGHUP

from tests.certificates import Authority
from tests.daemon.process import Daemon
from tests.etcd import Etcd
from tests.needles import find
from tests.proxy import Proxy
from tests.serve.local import target, wait_until
from tests.users import PASSWORD, change_password

WRONG, RIGHT, OTHER = 'not "thé" <%/+\\> one', "the <right> 'öne' \\% 1", "änother & \"better\" 'one'"
"""Passwords that look different in every encoding."""
SPOILT = {"cut in the request": RIGHT, "cut in the answer": OTHER, "etcd dies": OTHER}
"""How a request for a token is spoilt, one after the other, and the password by then."""
AUTHENTICATE = b"/auth/authenticate HTTP/1.1\r\n"


class Tap(Proxy):
    """Knows every token that was given or shown; the next request for one may be spoilt in some way."""

    def __init__(self, etcd: Etcd) -> None:
        super().__init__(etcd.port)
        self._etcd = etcd
        self.tokens: set[str] = set()
        self.spoil = ""
        """How to spoil it."""
        self.spoilt: list[str] = []

    def allows(self, chunk: bytes, onward: asyncio.StreamWriter) -> bool:
        """Look for a request for a token, and spoil it if that is wanted."""
        if not (self.spoil and AUTHENTICATE in chunk):
            return True
        self.spoilt.append(self.spoil)
        if self.spoil == "etcd dies":
            self._etcd.kill()
        elif self.spoil == "cut in the answer":
            self.cut_after(300)
        self.spoil, refused = "", self.spoil == "cut in the request"
        return not refused

    def saw(self, piece: bytes, *, up: bool) -> None:
        """Look for tokens."""
        pattern = rb"\r\nAuthorization: ([^\r]+)\r\n" if up else rb'"token": ?"([^"]+)"'
        self.tokens |= {token.decode() for token in re.findall(pattern, piece)}


def surfaces(daemon: Daemon) -> str:
    """All that it tells now to who asks, by any way."""
    reads = target("value", key="/a"), target("snapshot", prefix="/")
    answers = [daemon.ask(call) for call in ("/v1/status", "/metrics", "/readyz", "/healthz", *reads)]
    return "\n".join(f"{answer.headers}{answer.body.decode()}" for answer in answers)


def run(*arguments: str) -> str:
    """What a command of syncd prints."""
    command = [sys.executable, "-m", "syncd.cli", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
    return done.stdout + done.stderr


def written(daemon: Daemon) -> str:
    """All that it wrote."""
    return daemon.log_text() + daemon.output_file.read_text()


async def test_passwords_and_tokens(new_etcd: Etcd) -> None:
    """Wrong and right ones, given, refused, renewed, and cut off in every way; with the log at its finest."""
    new_etcd.put("/a", "1")
    new_etcd.guard("reader", PASSWORD, "/")
    change_password(new_etcd, "reader", RIGHT)
    async with Tap(new_etcd) as tap:
        daemon = Daemon(tap.url)
        try:
            told = await asyncio.to_thread(live, daemon, new_etcd, tap)
        finally:
            daemon.close()
    assert len(tap.tokens) >= 4
    assert tap.spoilt == list(SPOILT)
    for trace in ("wrong_password", "token renewed", "etcd lost", "stopped"):
        assert trace in told  # so all of it is there
    assert not find(told, {WRONG, RIGHT, OTHER, *tap.tokens})


def live(daemon: Daemon, etcd: Etcd, tap: Tap) -> str:
    """The life of a daemon; all that it told."""
    told = []
    file = daemon.directory / "password"
    file.write_text(WRONG)
    file.chmod(0o600)
    daemon.settings["etcd"] |= {"user": "reader", "password_file": str(file)}
    daemon.write()
    with daemon:
        daemon.wait_for_log("etcd cannot be had")
        told.append(surfaces(daemon) + run("check", "--json", "-c", str(daemon.config)))
        told.append(run("status", "--json", "--socket", str(daemon.socket)))
        file.write_text(RIGHT)
        daemon.signal(SIGHUP)
        daemon.wait_for("live")
        told.append(surfaces(daemon) + run("check", "-c", str(daemon.config)))
        told.append(run("status", "--socket", str(daemon.socket)))

        for renewed, (how, password) in enumerate(SPOILT.items()):
            tap.spoil = how
            change_password(etcd, "reader", password)  # even by the same one, its tokens end
            file.write_text(password)
            daemon.signal(SIGHUP)
            wait_until(lambda: not tap.spoil, "the request for a token is spoilt")
            told.append(surfaces(daemon))
            if not etcd.is_running:
                etcd.start()
            daemon.signal(SIGHUP)  # ends the pauses
            daemon.wait_for_log("token renewed", renewed + 1)
            daemon.wait_for("live")
        told.append(surfaces(daemon))
        assert daemon.stop() == 0
        return "\n".join([*told, written(daemon)])


def test_keys(tmp_path: Path) -> None:
    """Nor anything of a private key: neither of the one in use, nor of one that fits to nothing."""
    authority, stranger = Authority(tmp_path), Authority(tmp_path, "stranger")
    own, other = authority.issue("own"), stranger.issue("other")
    lines = {
        line
        for key in (own.key, other.key)
        for line in key.read_text().splitlines()
        if not line.startswith("-")
    }
    daemon = Daemon("https://127.0.0.1:1")
    files = {"ca_file": authority.file, "cert_file": own.certificate, "key_file": own.key}
    daemon.settings["etcd"]["tls"] = {name: str(file) for name, file in files.items()}
    daemon.write()
    with daemon:
        daemon.wait_for_log("etcd cannot be had")
        told = surfaces(daemon)
        own.key.write_bytes(other.key.read_bytes())
        daemon.signal(SIGHUP)
        daemon.wait_for_log("file unusable")
        told += surfaces(daemon) + run("check", "--json", "-c", str(daemon.config))
        own.key.write_text("\n".join(lines))  # without the dashes, it is nothing
        daemon.signal(SIGHUP)
        daemon.wait_for_log("reload refused", 2)
        told += surfaces(daemon) + run("check", "-c", str(daemon.config))
        assert daemon.stop() == 0
        told += written(daemon)
    assert "tls.key_mismatch" in told
    assert not find(told, lines)
