"""One connection: plain single reads are answered at once, all else is aiohttp's."""

from __future__ import annotations

from aiohttp import web

from syncd.serve.access import Rights
from syncd.serve.context import Context
from syncd.serve.patience import IDLE, Patient
from syncd.serve.quick import Quick, is_whole
from syncd.serve.tally import Tally


class Connection(Patient):
    """aiohttp's, which sees only what `quick` has no answer to.

    The two may take turns as long as each piece of bytes that comes is one whole request: then nothing of one
    is left in aiohttp's parser, and nothing can be taken for the beginning of a request that is not. From the
    first piece on that is anything else, the connection is aiohttp's for good.
    """

    __slots__ = ("_context", "_quick", "_rights", "_whole")

    def __init__(self, server: web.Server, tally: Tally, context: Context, quick: Quick) -> None:
        super().__init__(server, tally)
        self._context = context
        self._quick = quick
        self._rights: Rights | None = None
        self._whole = True

    def data_received(self, data: bytes) -> None:
        """Answer what came, or hand it to aiohttp."""
        if self._whole and data:  # of a request with a body, aiohttp gives itself nothing more at its end
            waiter, transport = self._waiter, self.transport
            # Not while another request is being answered, nor to somebody who doesn't read the answers.
            if waiter and not waiter.done() and transport and not self.writing_paused:
                if self._rights is None:
                    self._rights = self._context.rights_of(transport)
                if answer := self._quick.answer(data, self._rights):
                    self._next_keepalive_close_time = self._loop.time() + IDLE
                    transport.write(answer)
                    return
            self._whole = is_whole(data)
        super().data_received(data)
