"""Daemons for tests."""

from collections.abc import Iterator

import pytest

from tests.daemon.process import Daemon
from tests.etcd import Etcd, reserve_port


@pytest.fixture
def daemon(new_etcd: Etcd) -> Iterator[Daemon]:
    """A daemon that mirrors everything below `/` of `new_etcd`, and has read it."""
    with Daemon(new_etcd.endpoint) as daemon:
        yield daemon.wait_for("live")


@pytest.fixture
def port() -> Iterator[int]:
    """A port of 127.0.0.1 that nobody else gets, for `serve.listen`."""
    with reserve_port() as reserved:
        yield reserved.getsockname()[1]
