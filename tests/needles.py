"""A secret in every form in which it may get into a text."""

from __future__ import annotations

import json
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Iterable
from html import escape
from urllib.parse import quote, quote_plus

LEAST = 8
"""Characters: a shorter form would be found by chance."""


def needles(secret: str) -> set[str]:
    """The secret as it is, escaped, encoded; its halves, too, as a text may be cut."""
    half = len(secret) // 2
    forms = set()
    for part in (secret, secret[:half], secret[half:]):
        data = part.encode()
        forms |= {part, repr(part)[1:-1], repr(data)[2:-1], data.hex()}
        forms |= {json.dumps(part)[1:-1], json.dumps(part, ensure_ascii=False)[1:-1]}
        forms |= {escape(part), quote(part), quote(part, safe=""), quote_plus(part)}
        # Twice over: a log may quote what was quoted already.
        forms |= {json.dumps(form)[1:-1] for form in forms} | {repr(form)[1:-1] for form in forms}
    data = secret.encode()
    for encode in (b64encode, urlsafe_b64encode):
        for start in range(3):  # wherever it stands in what is encoded; the last bytes depend on what follows
            rest = data[start:]
            forms.add(encode(rest[: len(rest) // 3 * 3]).decode())
    return {form for form in forms if len(form) >= LEAST}


def find(text: str, secrets: Iterable[str]) -> set[str]:
    """The forms of any of the secrets that are in the text."""
    return {needle for secret in secrets for needle in needles(secret) if needle in text}
