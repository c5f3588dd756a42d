"""What may be printed where: a program gets bytes as they are, a terminal never gets control characters.

Keys and values are other people's bytes. On a terminal an escape sequence in one of them could rewrite
what was printed before, so everything that is not printable is shown as an escape there.
"""

from __future__ import annotations

import errno
import os
import sys
from typing import TextIO


def visible(data: bytes | str, keep: str = "") -> str:
    r"""Return text that is safe on a terminal: anything unprintable becomes `\xNN` or `\uNNNN`.

    That covers control characters, escape sequences, bytes that are not UTF-8, and characters that change
    the direction of writing. `keep` names those that are wanted all the same, such as a newline.
    """
    text = data.decode("utf-8", "backslashreplace") if isinstance(data, bytes) else data
    if text.isprintable():
        return text
    return "".join(
        character if character.isprintable() or character in keep else _escaped(character)
        for character in text
    )


def visible_json(line: bytes) -> str:
    r"""Return a line of JSON that is safe on a terminal and still the same JSON: only `\uNNNN` escapes."""
    text = line.decode("utf-8", "replace")
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else _json_escaped(c) for c in text)


def one_line(data: bytes) -> bytes:
    r"""Escape the control characters in a key or value as `\xNN`, so that one line holds it."""
    if not any(byte < 0x20 or byte == 0x7F for byte in data):
        return data
    return b"".join(b"\\x%02x" % byte if byte < 0x20 or byte == 0x7F else bytes([byte]) for byte in data)


class Output:
    """Standard output: `terminal` says whether a person reads it."""

    def __init__(self, stream: TextIO | None) -> None:
        if stream is None:
            raise OSError(errno.EBADF, "it is closed")
        self.terminal = stream.isatty()
        self._encoding = stream.encoding
        self._bytes = stream.buffer

    def value(self, value: bytes) -> None:
        """Print a value: as it is, or on a terminal safe and with a newline at its end."""
        if not self.terminal:
            self._bytes.write(value)
            return
        text = visible(value, keep="\n\t")
        self._text(text if text.endswith("\n") else f"{text}\n")

    def key(self, key: bytes) -> None:
        """Print a key and a newline."""
        if self.terminal:
            self._text(f"{visible(key)}\n")
        else:
            self._bytes.write(key + b"\n")

    def json(self, line: bytes) -> None:
        """Print a line of JSON as it was served."""
        if self.terminal:
            self._text(f"{visible_json(line)}\n")
        else:
            self._bytes.write(line + b"\n")

    def fields(self, *fields: bytes) -> None:
        """Print fields on one line, with tabs between them."""
        self._bytes.write(b"\t".join(one_line(field) for field in fields) + b"\n")

    def flush(self) -> None:
        """Let everything go out now."""
        self._bytes.flush()

    def _text(self, text: str) -> None:
        self._bytes.write(text.encode(self._encoding, "backslashreplace"))


def say(message: str) -> None:
    """Say something about the data, on standard error, in one line that is safe on any terminal."""
    print(f"syncd: {visible(message)}", file=sys.stderr, flush=True)


def discard_output(descriptor: int = 1) -> None:
    """Let what is still buffered, for standard output by default, go nowhere instead of failing at exit."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, descriptor)
    os.close(nowhere)


def _escaped(character: str) -> str:
    code = ord(character)
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _json_escaped(character: str) -> str:
    units = character.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[i : i + 2].hex()}" for i in range(0, len(units), 2))
