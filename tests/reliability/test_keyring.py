"""The keyring: what its certificates open, with a real etcd."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.etcd import Etcd
from tests.reliability.keyring import CA, CERTIFICATE, KEY, Contents, Files, Keyring, ends, known


@pytest.fixture
def keyring(tmp_path: Path) -> Keyring:
    """Make one."""
    return Keyring(tmp_path)


@pytest.fixture
def guarded(guarded_version: str, keyring: Keyring) -> Iterator[Etcd]:
    """Run an etcd that demands certificates."""
    with Etcd(guarded_version, keyring.flags, keyring.environment, tls=keyring.context) as etcd:
        yield etcd


class Caller:
    """Somebody with files of their own."""

    def __init__(self, etcd: Etcd, directory: Path) -> None:
        self._etcd = etcd
        self._directory = directory
        self._callers = 0

    def gets_in(self, contents: Contents) -> bool:
        """Whether etcd answers whoever has these, on a new connection."""
        self._callers += 1
        files = Files(self._directory / f"caller{self._callers}", contents)
        self._etcd.tls = ssl.create_default_context(cafile=files.ca)
        self._etcd.tls.load_cert_chain(files.certificate, files.key)
        return self._etcd.is_healthy()


def test_etcd_takes_over_its_files_and_knows_what_is_revoked(
    guarded: Etcd, keyring: Keyring, tmp_path: Path
) -> None:
    """Both at the next connection; whom it trusts, only when it is restarted."""
    caller = Caller(guarded, tmp_path)
    assert guarded.etcdctl("put", "/a", "1") == b"OK\n"
    old, other = keyring.renewed(), keyring.renewed()
    assert caller.gets_in(old)
    assert not caller.gets_in(keyring.stranger())
    keyring.revoke(old[CERTIFICATE])
    assert not caller.gets_in(old)
    assert caller.gets_in(other)

    keyring.add_authority()
    new = keyring.renewed()
    assert not caller.gets_in(new)
    keyring.etcd.write(CA, keyring.bundle)
    guarded.kill()
    guarded.tls = keyring.context  # which trusts all authorities
    guarded.start()
    assert caller.gets_in(new)
    assert caller.gets_in(other)
    keyring.etcd.swap(new)
    assert caller.gets_in(new)
    assert not caller.gets_in(other)  # as it does not trust what etcd shows

    keyring.drop_authorities()
    keyring.etcd.write(CA, keyring.bundle)
    keyring.renew_own()
    guarded.kill()
    guarded.tls = keyring.context
    guarded.start()
    assert caller.gets_in(new)
    assert not caller.gets_in(other | {CA: new[CA]})
    guarded.tls = keyring.context
    assert guarded.etcdctl("get", "/a", "--print-value-only") == b"1\n"


def test_files_are_replaced_one_by_one_or_at_once(keyring: Keyring) -> None:
    """Under the same names, and the key is nobody else's."""
    files, new = keyring.daemon, keyring.renewed()
    before = files.key.read_bytes()
    files.write(CERTIFICATE, new[CERTIFICATE])
    assert (files.certificate.read_bytes(), files.key.read_bytes()) == (new[CERTIFICATE], before)
    newer = keyring.renewed()
    files.swap(newer)
    assert (files.certificate.read_bytes(), files.key.read_bytes()) == (newer[CERTIFICATE], newer[KEY])
    assert files.key.stat().st_mode & 0o777 == 0o600


def test_a_certificate_is_known_by_its_end(keyring: Keyring) -> None:
    """Each ends at another second; all of them are valid, whatever the clock of the daemon is shifted to."""
    end = ends(keyring.daemon.certificate, "client")
    [(_, moment)] = end
    status = {"role": "client", "not_after": f"{moment:%Y-%m-%dT%H:%M:%SZ}"}
    assert known({"etcd": {"certificates": [status]}}) == end
    keyring.daemon.swap(keyring.renewed())
    assert ends(keyring.daemon.certificate, "client") != end
    assert moment > datetime.now(UTC) + timedelta(days=31)
    keyring.add_authority()
    keyring.daemon.write(CA, keyring.bundle)
    assert len(ends(keyring.daemon.ca, "ca")) == 2
