"""YAML as a tree of nodes, which still know their lines and their text.

Only what a configuration needs is let through: one document, of bounded size and depth, without aliases
(a few lines of them can stand for gigabytes) and without tags (`!!python/…` and the like).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

FILE_BYTES = 1 << 20
"""The largest file; PyYAML needs seconds for it already."""

DEPTH = 20
"""The deepest nesting; the configuration itself has five levels."""


class DocumentError(Exception):
    """The text is no document; carries the line from 1, None when it has none."""

    def __init__(self, line: int | None, message: str) -> None:
        self.line = line
        self.message = message
        super().__init__(message)


def read_document(file: Path) -> yaml.Node | None:
    """Return the file's root node, None when it is empty; DocumentError when it is no document."""
    try:
        with file.open("rb") as stream:
            data = stream.read(FILE_BYTES + 1)
    except (OSError, ValueError) as error:  # ValueError: a zero byte in the name
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise DocumentError(None, f"cannot be read: {reason}") from error
    return parse(data)


def parse(data: bytes) -> yaml.Node | None:
    """Return the root node of a text in UTF-8, None when it is empty; DocumentError when it is none."""
    if len(data) > FILE_BYTES:
        raise DocumentError(None, f"is larger than {FILE_BYTES >> 20} MiB, too large for a configuration")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DocumentError(data.count(b"\n", 0, error.start) + 1, "is not UTF-8 here") from error
    try:
        loader = _Loader(text)
        node: yaml.Node | None = loader.get_single_node()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        what = ", ".join(part for part in (error.context, error.problem) if part)
        raise DocumentError(
            mark.line + 1 if mark else None, f"is not the YAML expected here: {what}"
        ) from error
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise DocumentError(line, "holds a control character, which YAML does not allow") from error
    except (yaml.YAMLError, ValueError, OverflowError) as error:
        # Some malformed escapes and directives make PyYAML fail with Python's own errors.
        raise DocumentError(None, "is not YAML: it holds a malformed escape or directive") from error
    return node


class _Loader(yaml.SafeLoader):
    _depth = 0

    def compose_node(self, parent: Any, index: Any) -> yaml.Node | None:
        event: Any = self.peek_event()  # type: ignore[no-untyped-call]
        if isinstance(event, yaml.AliasEvent):
            self._refuse(event, "an alias (*name) is not supported; write the value out")
        if event.tag is not None:
            self._refuse(event, "a tag (!name) is not supported; write the value without it")
        if isinstance(event, yaml.ScalarEvent) and any("\ud800" <= c <= "\udfff" for c in event.value):
            self._refuse(
                event, r"half a character (\ud800 to \udfff) cannot stand alone; write \U and 8 digits"
            )
        if self._depth == DEPTH:
            self._refuse(event, f"this is nested deeper than {DEPTH} levels")
        self._depth += 1
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node

    def _refuse(self, event: Any, problem: str) -> None:
        raise yaml.composer.ComposerError(None, None, problem, event.start_mark)
