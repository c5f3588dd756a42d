"""Reads a range's file: whole, or not at all.

LMDB trusts its file: what is cut off ends the process with SIGBUS, what was written over with SIGSEGV or an
abort. So a child process looks at a file first, and it is read here only when that came out of it alive; for
130 MB that takes 0.03 s more. What LMDB does not notice, the digests show (layout.py).

lmdb.verify, which is made for this, was not chosen: it takes 0.6 s for as much, and does not know the
digests.
"""

from __future__ import annotations

import errno
import os
import resource
import signal
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple, NoReturn

import lmdb

from syncd.cache.errors import CacheError, Damaged, NewerFormat, NotRead
from syncd.cache.layout import (
    BLOCKS,
    FORMAT,
    FORMAT_KEY,
    HEAD_KEY,
    JOURNAL,
    Head,
    decode_batch,
    decode_block,
    decode_head,
    digest_of,
    opened,
)
from syncd.store import Image

DATABASES = 2

PATIENCE = 10.0
"""Seconds that the child has, and one more for each so many bytes: a disk may be busy."""
BYTES_A_SECOND = 10 << 20

GROWTH = 1 << 30
"""Addresses for what a daemon adds to a file while that is opened here; they cost nothing."""

_WHOLE = "Whole"
"""What the child says when nothing is wrong."""

_STDERR = 2

_PASSING = {errno.EAGAIN, errno.EINTR, errno.EIO, errno.EMFILE, errno.ENFILE, errno.ENOLCK, errno.ENOMEM}
"""What LMDB meets that is no fault of the file's."""

_UNKNOWN = "something unknown"
_FAULTS = {signal.SIGABRT.name, signal.SIGBUS.name, signal.SIGSEGV.name, _UNKNOWN}
"""What ends whoever reads a damaged file."""


class Saved(NamedTuple):
    """What a file holds."""

    head: Head
    image: Image


def read(path: Path, *, shared: bool = False) -> Saved:
    """All that is in the file at `path`; Unreadable or Unusable when it cannot be gone on with.

    `shared`: a daemon may be writing it. Only for a process that has no other threads.
    """
    _have_it_looked_at(path, shared=shared)
    with _opened(path, shared=shared) as file:
        head = file.head
        blocks = sorted(map(decode_block, file.entries(BLOCKS)), key=lambda block: block.first)
        batches = [decode_batch(content) for content in file.entries(JOURNAL)]
        file.check(len(blocks))
    image = Image(
        epoch=head.epoch,
        revision=head.revision,
        changed_revision=head.changed_revision,
        changed_keys=head.changed_keys,
        count=head.count,
        blocks=blocks,
        base_revision=head.base_revision,
        batches=batches,
        oldest_revision=head.oldest_revision,
    )
    return Saved(head, image)


class _File:
    """An open file, and what was read of it so far."""

    def __init__(self, path: Path, env: lmdb.Environment, txn: lmdb.Transaction[memoryview]) -> None:
        self._env = env
        self._txn = txn
        self._digest = 0
        version = int(bytes(self._main(FORMAT_KEY)))
        if version > FORMAT:
            raise NewerFormat(path, f"it has the format {version}, and this version of syncd knows {FORMAT}")
        self.head = decode_head(self._main(HEAD_KEY))

    def entries(self, database: bytes) -> Iterator[memoryview]:
        """What the entries hold, in the order of their keys."""
        for key, entry in self._txn.cursor(self._env.open_db(database, self._txn, create=False)):
            self._digest ^= digest_of(entry)
            yield opened(int.from_bytes(key, "big"), entry)

    def check(self, blocks: int) -> None:
        """There were no more: ValueError when something is missing, or older than the rest."""
        if (blocks, self._digest) != (self.head.blocks, self.head.digest):
            raise ValueError("something is missing, or older than the rest")

    def _main(self, key: bytes) -> memoryview:
        value = self._txn.get(key)
        if value is None:
            raise ValueError(f"it has no {key.decode()}")
        return value


@contextmanager
def _opened(path: Path, *, shared: bool) -> Iterator[_File]:
    try:
        path.open("rb").close()  # LMDB would not say which of its two files it may not read
        with (
            lmdb.open(
                os.fspath(path),
                subdir=False,
                readonly=True,
                create=False,
                max_dbs=DATABASES,
                map_size=path.stat().st_size + (GROWTH if shared else 0),
                lock=shared,
            ) as env,
            env.begin(buffers=True) as txn,
        ):
            yield _File(path, env, txn)
    except OSError as error:
        raise NotRead(path, f"it cannot be read: {error.strerror}") from error
    except (lmdb.Error, ValueError) as error:
        if isinstance(error, lmdb.Error) and error.code in _PASSING:
            raise NotRead(path, f"it cannot be read: {error}") from error
        raise Damaged(path, f"it is damaged: {error}") from error


def _have_it_looked_at(path: Path, *, shared: bool) -> None:
    """Raise what is wrong with the file, however that shows."""
    try:
        ear, mouth = os.pipe()
        child = os.fork()
    except OSError as error:
        raise NotRead(path, f"nobody can look at it: {error.strerror}") from error
    if not child:
        os.close(ear)
        _look(path, mouth, shared=shared)
    os.close(mouth)
    with os.fdopen(ear, "rb") as said:
        kind, _, message = os.fsdecode(said.read()).partition(" ")
    ended = _ended(child)
    if kind == _WHOLE:
        return
    if kind in _KINDS:
        raise _KINDS[kind](path, message)
    if ended == signal.SIGALRM.name:
        raise NotRead(path, "it cannot be read in any reasonable time")
    if ended not in _FAULTS:
        raise NotRead(path, f"whoever was to look at it was ended by {ended}")
    raise Damaged(path, f"it is damaged: whoever reads it is ended by {ended}")


_KINDS: dict[str, type[CacheError]] = {kind.__name__: kind for kind in (Damaged, NewerFormat, NotRead)}


def _ended(child: int) -> str:
    """What has ended the child."""
    with suppress(ChildProcessError):  # whoever started this process had it ignore the ends of children
        _, status = os.waitpid(child, 0)
        if os.WIFSIGNALED(status):
            return signal.Signals(os.WTERMSIG(status)).name
    return _UNKNOWN


def _look(path: Path, mouth: int, *, shared: bool) -> NoReturn:
    """The child: reads everything, says how that went, and ends."""
    try:
        # Ctrl-C comes to the whole group, and is for the parent; SIGALRM ends whatever takes too long.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.setitimer(signal.ITIMER_REAL, PATIENCE + path.stat().st_size / BYTES_A_SECOND)
        os.write(mouth, os.fsencode(_looked(path, mouth, shared=shared)))
    finally:
        os._exit(0)  # whatever happens: none of the parent's business may be done twice


def _looked(path: Path, mouth: int, *, shared: bool) -> str:
    try:
        _be_alone(mouth)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        with _opened(path, shared=shared) as file:
            blocks = sum(1 for _ in file.entries(BLOCKS))
            deque(file.entries(JOURNAL), maxlen=0)
            file.check(blocks)
    except CacheError as error:
        return f"{type(error).__name__} {error.message}"
    except (MemoryError, OSError) as error:
        return f"{NotRead.__name__} nobody can look at it: {error}"
    except Exception as error:  # noqa: BLE001 - whatever it is, the parent has to know
        return f"{Damaged.__name__} it is damaged: {error!r}"
    return _WHOLE


def _be_alone(mouth: int) -> None:
    """Keep nothing open but `mouth`: locks must go with the parent, and LMDB's last words are for nobody."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), _STDERR)
    last = max(map(int, os.listdir("/proc/self/fd")))  # noqa: PTH208 - numbers; the limit may be a billion
    os.closerange(_STDERR + 1, mouth)
    os.closerange(mouth + 1, last + 1)
