"""The certificates of `serve.listen`: read anew when their files change, as those for etcd are."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Iterator
from pathlib import Path

import structlog

from syncd.config import ServeTLS
from syncd.config.files import Unusable, close_to_others, readable_by_others
from syncd.diagnosis.catalogue import found
from syncd.findings import Finding
from syncd.gateway import rotation
from syncd.gateway.credentials import Files
from syncd.serve import Server

log = structlog.get_logger("syncd")


class Listening:
    """What the files of `tls` hold; Unusable when they are no good to begin with."""

    def __init__(self, tls: ServeTLS) -> None:
        self._tls = tls
        self._files = Files(tls.cert_file, tls.key_file, tls.client_ca_file)
        self._lock = asyncio.Lock()
        self._trouble: Unusable | None = None
        self._exposed: tuple[Path, str] | None = None
        self.context = self._read()
        """For connections that are made now; None: without TLS."""
        self._warn()

    async def run(self, server: Server) -> None:
        """Look after the files, and have `server` take what is new, until cancelled."""
        while self.context:
            await asyncio.sleep(rotation.LOOK)
            # What was in the way need not change the files: so they are read until they are good.
            if await asyncio.to_thread(self._files.changed) or self._trouble:
                await self.reload(server)

    async def reload(self, server: Server) -> bool:
        """Read the files now; whether what they hold is in use. Open connections go on as they are."""
        async with self._lock:
            before, self._trouble = self._trouble, None
            try:
                # In a thread: a file may lie on a server that does not answer.
                self.context = await asyncio.to_thread(self._read)
            except Unusable as error:
                self._trouble = error
                if before is None or str(before) != str(error):
                    log.error(  # noqa: TRY400 - where it was found helps nobody
                        "file unusable",
                        code=error.code,
                        error=str(error),
                        cure=error.cure,
                        meaning=rotation.STAYS,
                    )
                return False
            if self.context:
                server.secure(self.context)
                log.info("certificates taken", files=[str(path) for path in self._files.paths])
                self._warn()
            return self.context is not None

    def findings(self) -> Iterator[Finding]:
        """What is not well with the files."""
        if error := self._trouble:
            yield found(error.code, str(error.path), str(error), error.cure, means=rotation.STAYS)
        if self._exposed:
            path, mode = self._exposed
            yield found("file.readable_by_others", str(path), f"its mode is {mode}", close_to_others(path))

    def _read(self) -> ssl.SSLContext | None:
        tls = self._tls
        self._files.begin()
        if not (tls.cert_file and tls.key_file and tls.client_ca_file):
            return None
        # Not at the top: this needs `cryptography`, which a daemon without TLS has no use for.
        from syncd.serve.tls import demanding  # noqa: PLC0415

        context = demanding(tls.cert_file, tls.key_file, tls.client_ca_file)
        mode = readable_by_others(tls.key_file)
        self._exposed = (tls.key_file, mode) if mode else None
        return context

    def _warn(self) -> None:
        if self._exposed:
            path, mode = self._exposed
            log.warning("file readable by others", file=str(path), mode=mode, cure=close_to_others(path))
