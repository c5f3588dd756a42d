"""What tests with authentication need beside `Calls.guard`: tokens of each kind, and who asked for them.

PASSWORD is everybody's, unless a test says otherwise.
"""

from __future__ import annotations

import json
import re
from functools import cache
from pathlib import Path
from urllib.request import Request, urlopen

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from tests.etcd import Etcd

PASSWORD = "correct horse battery staple"


def simple(version: str, seconds: int = 300) -> tuple[str, ...]:
    """The flags of an etcd whose simple tokens end when they were not used for so long."""
    return (f"--auth-token-ttl={seconds}", *_cheap(version))


def jwt(version: str, directory: Path, seconds: int = 300) -> tuple[str, ...]:
    """The flags of an etcd whose tokens are JWTs that end after so long; those of 3.3 never do."""
    key = _key()
    private, public = directory / "jwt.key", directory / "jwt.pub"
    private.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()))
    public.write_bytes(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    ttl = "" if version == "3.3.25" else f",ttl={seconds}s"
    options = f"jwt,pub-key={public},priv-key={private},sign-method=RS256{ttl}"
    return (f"--auth-token={options}", *_cheap(version))


@cache
def _key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, 2048)  # 0.2 s


def _cheap(version: str) -> tuple[str, ...]:
    return () if version == "3.3.25" else ("--bcrypt-cost=4",)


def as_root(etcd: Etcd, *arguments: str) -> None:
    """Have `root` run etcdctl, as in `as_root(etcd, "user", "delete", "reader")`."""
    etcd.etcdctl(f"--user=root:{PASSWORD}", *arguments)


def change_password(etcd: Etcd, user: str, password: str) -> None:
    """Give `user` another password, of any characters: etcdctl takes it for over at a space."""
    token = etcd.ask("/auth/authenticate", {"name": "root", "password": PASSWORD})["token"]
    request = Request(
        f"{etcd.endpoint}{etcd.api_prefix}/auth/user/changepw",
        json.dumps({"name": user, "password": password}).encode(),
        {"Authorization": token},
    )
    with urlopen(request):
        pass


def authentications(etcd: Etcd) -> int:
    """How many tokens etcd was asked for so far, by anybody, in vain or not."""
    metrics = etcd.get("/metrics").decode()
    counted = re.search(r'grpc_server_started_total\{grpc_method="Authenticate",.*\} (\d+)\n', metrics)
    assert counted
    return int(counted[1])
