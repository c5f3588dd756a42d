"""Bodies with a mistake, most of them; some turn out to mean something after all."""

from __future__ import annotations

import random
import re

from tests.comparison.drawn import Case, Drawn

ODD = (
    *(b"null", b"true", b"1", b"-1", b"0", b"-0", b"1.0", b"1.5", b"1e2", b"1E-1", b"0e9", b"1e400", b"01"),
    *(b"+1", b"1.", b".5", b"0x1", b"-", b"NaN", b"Infinity", b"9223372036854775807", b"9223372036854775808"),
    *(b"9223372036854775808e0", b"2147483648", b"99999999999999999999999999", b"1" + b"0" * 30 + b"e-30"),
    *(
        b"[]",
        b"{}",
        b"[1]",
        b'["a"]',
        b"[null]",
        b'{"a":1}',
        b"[" * 50 + b"]" * 50,
        b'{"a":' * 50 + b"1" + b"}" * 50,
    ),
    *(
        b'""',
        b'"1"',
        b'" 1"',
        b'"1 "',
        b'"1 2"',
        b'"1,2"',
        b'"1x"',
        b'"01"',
        b'"1e2"',
        b'"1.0"',
        b'"-"',
        b'"null"',
    ),
    *(
        b'"null"',
        b'"a"',
        b'"true"',
        b'"ASCEND"',
        b'"L2Qv"',
        b'"L2Qv="',
        b'"L2Q="',
        b'"L2Q"',
        b'"L2R"',
        b'"L2Q=="',
    ),
    *(
        b'"L2Q=\\n"',
        b'"L2\\nQ="',
        b'"L2\\n\\r\\n\\nQ="',
        b'"L2 Q="',
        b'"=L2Q"',
        b'"_-8="',
        b'"/-8="',
        b'"L2Q=L2Q="',
    ),
    *(
        b'"\\u004c2Qv"',
        b'"\\ud800"',
        b'"\\udc00\\ud800"',
        b'"\\ud83d\\ude00"',
        b'"\xff"',
        b'"\xc3\xa9"',
        b'"\\x"',
    ),
    *(b'"\\u12"', b'"\t"', b'"\x00"', b"'a'", b'"', b"tru", b"nul", b"/**/", b"", b",", b":"),
)
NAMES = (
    *(b"key", b"range_end", b"rangeEnd", b"limit", b"revision", b"sort_order", b"sortOrder", b"serializable"),
    *(b"keys_only", b"count_only", b"min_mod_revision", b"maxCreateRevision", b"KEY", b"", b"[x]", b"@type"),
    *(b"compare", b"success", b"failure", b"request_range", b"requestTxn", b"target", b"version", b"value"),
)
WHOLE = (
    *(b"", b" ", b"\n\t", b"null", b"[]", b"1", b'"a"', b"true", b"{", b"}", b"\x00", b"\xff"),
    *(b"\xef\xbb\xbf{}", b"tru", b"-", b"{}"),
)
TAILS = (b"x", b"{", b"}", b"{}", b" 1", b"\xff", b",", b"\x00")

_VALUE = re.compile(rb'(?<=[:,\[])\s*("[^"]*"|-?[0-9]+|true|false)')
_MEMBER = re.compile(rb'"[a-z_A-Z]+"\s*:\s*("[^"]*"|-?[0-9]+|true|false)')
_DEADLY = re.compile(rb"(?i)sort_?target")
"""A number of a target that there is not kills etcd 3.5.16."""


def spoilt(drawn: Drawn, draw: random.Random) -> Case:
    """A request with a mistake."""
    if draw.random() < 0.03:
        return Case(draw.choice(("/kv/range", "/kv/txn")), draw.choice(WHOLE))
    case = drawn.case()
    while _DEADLY.search(case.body):
        case = drawn.case()
    body = case.body
    for _ in range(draw.choice((1, 1, 1, 2, 3))):
        body = draw.choice(_WAYS)(body, draw)
    return Case(case.path, body)


def _value(body: bytes, draw: random.Random) -> bytes:
    """Another value."""
    found = list(_VALUE.finditer(body))
    if not found:
        return body
    at = draw.choice(found)
    return body[: at.start()] + draw.choice(ODD) + body[at.end() :]


def _member(body: bytes, draw: random.Random) -> bytes:
    """One more member, perhaps the second of its name."""
    at = draw.choice([found.start() for found in re.finditer(rb"\{", body)] or [0])
    return body[: at + 1] + b'"%b":%b,' % (draw.choice(NAMES), draw.choice(ODD)) + body[at + 1 :]


def _twice(body: bytes, draw: random.Random) -> bytes:
    """A member that is there already."""
    found = list(_MEMBER.finditer(body))
    if not found:
        return body
    at = draw.choice(found)
    return body[: at.start()] + at[0] + b"," + body[at.start() :]


def _bytes(body: bytes, draw: random.Random) -> bytes:
    """A byte less, more, or another one."""
    at = draw.randrange(len(body) + 1)
    some = bytes([draw.choice(b'{}[]",:\\ \n\t0123456789-+.eEnulltrfas/=_AQ\x00\x7f\x80\xff')])
    return body[:at] + draw.choice((b"", some)) + body[at + draw.randint(0, 1) :]


def _cut(body: bytes, draw: random.Random) -> bytes:
    """Its beginning."""
    return body[: draw.randrange(len(body) + 1)]


def _tail(body: bytes, draw: random.Random) -> bytes:
    """More after it."""
    return body + draw.choice(TAILS)


_WAYS = (_value, _value, _value, _member, _member, _twice, _bytes, _bytes, _cut, _tail)
