"""What is taken over while running: certificates and password when they change; on SIGHUP the log, too."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import structlog

from syncd import config
from syncd.config import Config, ConfigError
from syncd.config.files import close_to_others, in_shell
from syncd.daemon import logs
from syncd.daemon.listening import Listening
from syncd.diagnosis.catalogue import found
from syncd.findings import Finding
from syncd.gateway.errors import FileUnusable
from syncd.gateway.rotation import STAYS, Rotation
from syncd.serve import Server

log = structlog.get_logger("syncd")


class Reload:
    """Reads the configuration at `path` again when it is `wanted`, and takes over what can be."""

    def __init__(self, path: Path, settings: Config, rotation: Rotation, listening: Listening) -> None:
        self._path = path
        self._settings = settings
        self._rotation = rotation
        self._listening = listening
        self._wanted = asyncio.Event()

    def wanted(self) -> None:
        """Somebody sent SIGHUP; several at a time are one."""
        self._wanted.set()

    async def run(self, server: Server) -> None:
        """Until cancelled; `server` is told of other certificates to show."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._rotation.run(), name="rotation of certificates")
            group.create_task(self._listening.run(server), name="certificates of serve.listen")
            while True:
                await self._wanted.wait()
                self._wanted.clear()
                await self._reload(server)

    def findings(self) -> Iterator[Finding]:
        """What is not well with the files of certificates, keys and password."""
        for error in self._rotation.troubles.values():
            if isinstance(error, FileUnusable):
                yield found(error.code, str(error.path), error.message, error.cure, means=STAYS)
            else:
                cure = f"what is wrong with them is told by\n  syncd check -c {in_shell(self._path)}"
                yield found("tls.renewal_refused", error.endpoint, error.message, cure)
        yield from self._listening.findings()
        for path, mode in self._rotation.exposed.items():
            yield found("file.readable_by_others", str(path), f"its mode is {mode}", close_to_others(path))

    async def _reload(self, server: Server) -> None:
        """Take over what can change while running; say what cannot."""
        try:
            # In a thread, as the files that it names may lie on a server that does not answer.
            new = await asyncio.to_thread(config.load, self._path)
        except ConfigError as error:
            log.warning("reload refused", error=str(error), meaning="the old configuration stays in force")
            return
        logs.configure(new.log)
        taken = await self._rotation.reload()
        if await self._listening.reload(server):
            taken.append("serve.tls")
        log.info("reloaded", taken=[*taken, "log"])
        old = self._settings
        sections = ("etcd", "ranges", "sync", "history", "cache", "serve")
        ignored = [name for name in sections if getattr(new, name) != getattr(old, name)]
        if new.guards != old.guards and new.ranges == old.ranges:
            ignored.append("ranges")
        if ignored:
            log.warning("reload needs a restart", sections=ignored)
