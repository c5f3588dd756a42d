"""The daemon: parts put together, signals, an orderly end."""

from __future__ import annotations

import asyncio
import random
import resource
import signal
import socket
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from functools import partial
from pathlib import Path

import structlog

from syncd import __version__, config
from syncd.cache import InUse, boot_time
from syncd.config import Config
from syncd.config.files import Unusable
from syncd.daemon import logs
from syncd.daemon.caches import Begun, Caches, caches
from syncd.daemon.doctor import Doctor
from syncd.daemon.expiry import Expiry, look_after
from syncd.daemon.listening import Listening
from syncd.daemon.reload import Reload
from syncd.daemon.upstream import Upstream
from syncd.diagnosis.ends import Certificate
from syncd.errors import SyncdError
from syncd.findings import Finding
from syncd.gateway import CredentialsUnusable, Gateway
from syncd.gateway.endpoints import Endpoint, Endpoints
from syncd.serve import Access, Context, Rule, Server, Sources, bound, bound_tcp
from syncd.status import EndpointStatus, EtcdStatus, Quarantine, RangeStatus
from syncd.sync import Clocks, Mirror

log = structlog.get_logger("syncd")

Watcher = Callable[[Callable[[], Sequence[RangeStatus]]], AbstractContextManager[None]]
"""Shown how to ask for the ranges' states while the daemon runs: a progress display."""


class StartError(SyncdError):
    """The daemon cannot start; nothing was started."""


def run(path: Path, watcher: Watcher | None = None) -> None:
    """Run the daemon with the configuration at `path` until SIGTERM or SIGINT.

    ConfigError, StartError or serve's ListenError when it cannot start.
    """
    settings = config.load(path)
    logs.configure(settings.log)
    _raise_file_limit()
    serve = settings.serve
    try:
        with (
            bound(serve.socket, serve.mode, serve.group) as listener,
            bound_tcp(serve.listen) if serve.listen else nullcontext() as tcp,
            caches(settings) as disk,
        ):
            # Before anything else, while there is one thread; who connects meanwhile has to wait for it.
            begun = [disk.begin(keys) for keys in settings.ranges]
            asyncio.run(_Daemon(path, settings, disk).run(begun, listener, tcp, watcher))
    except (CredentialsUnusable, InUse, Unusable) as error:
        raise StartError(str(error)) from error


class _Daemon:
    def __init__(self, path: Path, settings: Config, disk: Caches) -> None:
        self._path = path
        self._settings = settings
        self._disk = disk

    async def run(
        self,
        begun: Sequence[Begun],
        listener: socket.socket,
        tcp: socket.socket | None,
        watcher: Watcher | None,
    ) -> None:
        loop = asyncio.get_running_loop()
        settings = self._settings
        draw = random.Random()  # noqa: S311 - spreads load, guards nothing
        clocks = Clocks(boot_time, time.time)  # an age must not stand still while the machine sleeps
        async with Gateway(settings.etcd, draw=draw, clock=loop.time) as gateway:
            doctor = Doctor(settings.etcd, loop.time)
            mirrors = [
                Mirror(
                    each.store,
                    gateway,
                    settings,
                    clocks,
                    draw,
                    partial(doctor.trouble, each.store.keys),
                    each.proved_at,
                    each.read_took,
                )
                for each in begun
            ]
            listening = Listening(settings.serve.tls)
            reload = Reload(self._path, settings, gateway.rotation, listening)
            expiry = Expiry(_certificates(settings, gateway), time.time)
            context = Context(
                sources=Sources(mirrors),
                etcd=lambda: EtcdStatus(
                    _endpoints(gateway.endpoints, loop.time()),
                    expiry.certificates(),
                    _findings(doctor, reload, expiry),
                ),
                upstream=Upstream(gateway, loop.time, settings.etcd.timeouts.request),
                write_through=settings.serve.write_through,
                listen=_listen(settings),
                clock=loop.time,
                version=__version__,
                started=loop.time(),
                caches=self._disk.statuses,
                access=_access(settings),
            )
            stopped = asyncio.Event()
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.add_signal_handler(number, self._stop, number, stopped)
            loop.add_signal_handler(signal.SIGHUP, reload.wanted)
            async with self._disk.kept(mirrors), asyncio.TaskGroup() as group:
                async with Server(context, listener, tcp, listening.context) as server:
                    tasks = [
                        group.create_task(_endless(m, stopped), name=f"mirror of {m.store.keys.name}")
                        for m in mirrors
                    ]
                    tasks += [
                        group.create_task(gateway.probe(settings.ranges[0]), name="probes of endpoints"),
                        group.create_task(doctor.run(), name="diagnosis"),
                        group.create_task(reload.run(server), name="reloads"),
                        group.create_task(look_after(expiry, gateway, draw), name="ends of certificates"),
                    ]
                    self._started()
                    shown = watcher(lambda: [m.status() for m in mirrors]) if watcher else nullcontext()
                    with shown:
                        await stopped.wait()
                # Only now: readers' last lines still tell a live state.
                for task in tasks:
                    task.cancel()
            log.info("stopped")

    def _started(self) -> None:
        settings = self._settings
        log.info(
            "started",
            version=__version__,
            socket=str(settings.serve.socket),
            listen=_listen(settings),
            ranges=[keys.name for keys in settings.ranges],
            endpoints=list(settings.etcd.endpoints),
        )

    def _stop(self, number: signal.Signals, stopped: asyncio.Event) -> None:
        log.info("stopping", signal=signal.Signals(number).name)
        stopped.set()


async def _endless(mirror: Mirror, stopped: asyncio.Event) -> None:
    """A mirror that ends, however silently, ends the daemon: what it holds must not just grow old."""
    try:
        await mirror.run()
    finally:
        if not stopped.is_set():
            raise RuntimeError(
                f"the mirror of {mirror.store.keys.name!r} has ended; that is a fault of syncd"
            )


def _access(settings: Config) -> Access:
    return Access(
        Rule(tuple(map(str.encode, each.prefixes)), frozenset(each.users), frozenset(each.groups))
        for each in settings.serve.access
    )


def _listen(settings: Config) -> str | None:
    return str(settings.serve.listen) if settings.serve.listen else None


def _certificates(settings: Config, gateway: Gateway) -> Callable[[], Iterable[Certificate]]:
    if gateway.certificates is None:
        return tuple
    # Not at the top: this needs `cryptography`, which a daemon without TLS has no use for.
    from syncd.daemon.certificates import on_the_way  # noqa: PLC0415

    return partial(on_the_way, settings.etcd.tls, gateway)


def _findings(doctor: Doctor, reload: Reload, expiry: Expiry) -> tuple[Finding, ...]:
    causes = doctor.findings
    known = {cause.code for cause in causes}
    ends = (end for end in expiry.findings() if end.code not in known)
    return (*causes, *reload.findings(), *ends)


def _endpoints(endpoints: Endpoints, now: float) -> tuple[EndpointStatus, ...]:
    return tuple(
        EndpointStatus(
            url=endpoint.url,
            version=endpoint.version,
            current=endpoint is endpoints.current,
            failures=endpoint.failures,
            quarantine=_quarantine(endpoint, now),
        )
        for endpoint in endpoints
    )


def _quarantine(endpoint: Endpoint, now: float) -> Quarantine | None:
    until = endpoint.quarantined_until
    return None if until is None else Quarantine(endpoint.error, round(max(until - now, 0.0), 3))


def _raise_file_limit() -> None:
    """Each reader is an open file; the soft limit of 1024 is for programs that use select()."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
