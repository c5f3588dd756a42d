"""One connection: plain single reads are answered at once, all else is aiohttp's."""

from __future__ import annotations

from functools import partial

from aiohttp import web

from syncd.serve.context import Context
from syncd.serve.linearizable import Wait
from syncd.serve.patience import IDLE, Patient
from syncd.serve.quick import Quick, Read, is_whole


class Connection(Patient):
    """aiohttp's, which sees only what `quick` has no answer to.

    The two may take turns as long as each piece of bytes that comes is one whole request: then nothing of one
    is left in aiohttp's parser, and nothing can be taken for the beginning of a request that is not. From the
    first piece on that is anything else, the connection is aiohttp's for good.
    """

    __slots__ = ("_behind", "_context", "_quick", "_wait", "_whole")

    def __init__(self, server: web.Server, context: Context, quick: Quick) -> None:
        super().__init__(server, context.tally, context.slow)
        self._context = context
        self._quick = quick
        self._whole = True
        self._wait: Wait | None = None
        self._behind = b""
        """What came while a read waits: its answer comes first."""

    def data_received(self, data: bytes) -> None:
        """Answer what came, or hand it to aiohttp."""
        transport = self.transport
        if self._wait and transport:
            self._behind += data
            transport.pause_reading()
            return
        if self._whole and data:  # of a request with a body, aiohttp gives itself nothing more at its end
            waiter = self._waiter
            # Not while another request is being answered, nor to somebody who doesn't read the answers.
            if waiter and not waiter.done() and transport and not self.writing_paused:
                answer = self._quick.answer(data, self._context.rights_of(transport))
                if answer:
                    self._next_keepalive_close_time = self._loop.time() + IDLE
                    if isinstance(answer, bytes):
                        transport.write(answer)
                    else:
                        self._wait = Wait(answer.source, partial(self._reached, data, answer))
                    return
            self._whole = is_whole(data)
        super().data_received(data)

    def connection_lost(self, exc: BaseException | None) -> None:
        """It is over."""
        if self._wait:
            self._wait.cancel()
            self._wait = None
        super().connection_lost(exc)

    def _reached(self, data: bytes, read: Read, reached: bool) -> None:
        """The mirror is as far as etcd was when `data` came, or does not come so far just now."""
        self._wait = None
        behind, self._behind = self._behind, b""
        if (transport := self.transport) is None or transport.is_closing():
            return
        if reached and (answer := self._quick.read(read)):
            transport.write(answer)
        else:
            super().data_received(data)
        if behind:
            transport.resume_reading()
            self.data_received(behind)
