"""The query of a request, as typed values; whatever does not fit is a bad_request that says what would.

The query is parsed from its raw bytes: keys are bytes, percent-encoded, and `+` is a plus sign.
"""

from __future__ import annotations

import binascii
from base64 import b64decode
from collections.abc import Iterable
from urllib.parse import unquote_to_bytes

from syncd.keyrange import KeyRange, prefix_range
from syncd.serve.errors import ApiError

READ = ("max_age_ms", "min_revision", "wait_ms", "linearizable")
"""Understood by every read."""

MAX_WAIT_MS = 600_000
MAX_INT = 2**63 - 1


class Params:
    """The parameters of one request. `known`: the names that it may have."""

    def __init__(self, query: str, known: Iterable[str]) -> None:
        self._values: dict[str, bytes] = {}
        names = frozenset(known)
        try:
            # Bytes that are not ASCII are refused by aiohttp's parser in C, but not by the one in Python.
            raw = query.encode("utf-8", "surrogateescape")
        except UnicodeEncodeError as error:
            raise ApiError("bad_request", "the query cannot be read as bytes") from error
        for part in filter(None, raw.split(b"&")):
            raw_name, _, raw_value = part.partition(b"=")
            name = unquote_to_bytes(raw_name).decode("utf-8", "replace")
            if name not in names:
                raise ApiError(
                    "bad_request", f"unknown parameter {name!r}; known here: {', '.join(sorted(names))}"
                )
            if name in self._values:
                raise ApiError("bad_request", f"{name} is given twice")
            self._values[name] = unquote_to_bytes(raw_value)

    def key(self) -> bytes:
        """The key asked for."""
        keys = self._keys(("key",))
        return keys[1]

    def key_range(self) -> KeyRange:
        """The key or the prefix asked for."""
        name, key = self._keys(("prefix", "key"))
        return KeyRange(key) if name == "key" else prefix_range(key)

    def integer(self, name: str, default: int, least: int = 0, most: int = MAX_INT) -> int:
        """A whole number within bounds."""
        text = self._text(name)
        if text is None:
            return default
        if not (text.isascii() and text.isdigit() and len(text) < 20 and least <= int(text) <= most):
            raise ApiError("bad_request", f"{name}={text!r}: expected a whole number from {least} to {most}")
        return int(text)

    def optional_integer(self, name: str) -> int | None:
        """A whole number, None when absent."""
        return self.integer(name, 0) if name in self._values else None

    def flag(self, name: str) -> bool:
        """`true` or `false`, false when absent."""
        text = self._text(name)
        if text not in (None, "true", "false"):
            raise ApiError("bad_request", f"{name}={text!r}: expected true or false")
        return text == "true"

    def choice(self, name: str, choices: tuple[str, ...]) -> str | None:
        """One of `choices`, None when absent."""
        text = self._text(name)
        if text is not None and text not in choices:
            raise ApiError("bad_request", f"{name}={text!r}: expected {' or '.join(choices)}")
        return text

    def text(self, name: str) -> str | None:
        """Any text, None when absent."""
        return self._text(name)

    def _text(self, name: str) -> str | None:
        value = self._values.get(name)
        try:
            return None if value is None else value.decode()
        except UnicodeDecodeError as error:
            raise ApiError("bad_request", f"{name}: not UTF-8") from error

    def _keys(self, names: tuple[str, ...]) -> tuple[str, bytes]:
        given = [(name, form) for name in names for form in (name, f"{name}_b64") if form in self._values]
        if len(given) != 1:
            forms = " or ".join(f"{name}= or {name}_b64=" for name in names)
            raise ApiError("bad_request", f"expected exactly one of {forms}")
        [(name, form)] = given
        value = self._values[form]
        if form != name:
            try:
                value = b64decode(value, validate=True)
            except (binascii.Error, ValueError) as error:
                raise ApiError("bad_request", f"{form}: not base64: {error}") from error
        if name == "key" and not value:
            raise ApiError("bad_request", "key: etcd has no empty key")
        return name, value


KEY = ("key", "key_b64")
KEYS = (*KEY, "prefix", "prefix_b64")
