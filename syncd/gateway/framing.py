"""Cuts the byte stream of a watch into its JSON documents. Pure.

One document a line; chunks split and merge documents anywhere, and a newline may come in a chunk of its
own. aiohttp's line reading gives up past 512 KiB, so the bytes are framed here. No byte is searched
twice: a document of n bytes that arrives in k chunks costs O(n), not O(n·k).
"""

from __future__ import annotations

DOCUMENT_LIMIT = 64 << 20
"""Bytes. With `fragment`, etcd's documents stay below about 2.7 MB by default; operators raise
--max-request-bytes to a few tens of MiB at most. More than this is not a watch."""


class DocumentTooLong(ValueError):
    """The stream has gone on for `limit` bytes without ending a document."""

    def __init__(self, limit: int) -> None:
        super().__init__(f"a document in the stream is longer than {limit} bytes")


class Documents:
    """Bytes in, complete documents out."""

    def __init__(self, limit: int = DOCUMENT_LIMIT) -> None:
        self._limit = limit
        self._buffer = bytearray()
        self._searched = 0

    @property
    def unfinished(self) -> int:
        """Bytes since the last newline."""
        return len(self._buffer)

    def feed(self, chunk: bytes) -> list[bytes]:
        """The documents that `chunk` completes, without their newlines; blank lines are no documents.

        DocumentTooLong: then nothing of this chunk is given, and no document was lost with it as long as
        chunks are no longer than the limit. They come from a socket, a megabyte at a time.
        """
        buffer = self._buffer
        buffer += chunk
        documents = []
        start = 0
        while (end := buffer.find(b"\n", max(start, self._searched))) >= 0:
            if end - start > self._limit:
                raise DocumentTooLong(self._limit)
            document = bytes(buffer[start:end]).strip()
            if document:
                documents.append(document)
            start = end + 1
        del buffer[:start]
        self._searched = len(buffer)
        if len(buffer) > self._limit:
            raise DocumentTooLong(self._limit)
        return documents

    def end(self) -> bytes:
        """What stands after the last newline when the stream is over: etcd ends an error without one."""
        rest = bytes(self._buffer).strip()
        self._buffer.clear()
        self._searched = 0
        return rest
