"""proto3's JSON, read as etcd 3.5.16 reads it: Go's encoding/json, then protojson. Pure.

What a message looks like is told by a msgspec.Struct: `bytes`, `int` (int64), `bool`, `str`, another Struct,
`tuple[X, ...]` or `list[X]` of these, and `Annotated[int, SomeIntEnum]` for an enum. Fields that may be None
are the members of a oneof; a message has at most one oneof.

Seen on 3.5.16 and 3.5.30, and done here: only the first value of a body counts, whatever comes after it; an
empty body is an empty message. Fields go by their name in the proto or in camelCase, what is unknown is
passed over, and none may come twice, not even as null, which means that it is not there. A 64-bit integer is
a number or a text, and 1e2 and 1.0 are integers, too; an enum is a name or any number, an unknown name counts
as absent; base64 comes in both alphabets, with its padding or without. Text must be UTF-8, without half
surrogates.

Not done: etcd takes ten thousand levels of what it does not know; here, it is about one thousand, and of
transactions in each other, some two hundred.
"""

from __future__ import annotations

import json
import re
from base64 import b64decode, urlsafe_b64decode
from binascii import Error as NotBase64
from collections.abc import Callable
from enum import IntEnum
from functools import partial
from types import NoneType, UnionType
from typing import Annotated, Any, NoReturn, TypeVar, Union, get_args, get_origin, get_type_hints

import msgspec

T = TypeVar("T")
Reader = Callable[[object], Any]

BLANK = " \t\r\n"


class Malformed(ValueError):
    """Not JSON, or not of the message that was expected."""


class Number(str):
    """A number as it stands."""

    __slots__ = ()


class Members(list[tuple[str, object]]):
    """An object: a name may come twice."""


class _Unknown:
    """What an enum has no name for."""


def read(kind: type[T], body: bytes) -> T:
    """The message of `kind` that `body` begins with, or Malformed."""
    reader: Callable[[object], T] = _message(kind)
    try:
        return reader(first_value(body))
    except RecursionError as error:
        raise Malformed("exceeded max depth") from error


def first_value(body: bytes) -> object:
    """The value that `body` begins with: Members, a list, str, Number, bool or None; or Malformed."""
    text = body.decode(errors="surrogateescape")
    begin = len(text) - len(text.lstrip(BLANK))
    if begin == len(text):
        return Members()
    try:
        value, _ = _json.raw_decode(text, begin)
    except json.JSONDecodeError as error:
        ended = error.pos >= len(text.rstrip(BLANK)) or error.msg.startswith("Unterminated")
        raise Malformed("unexpected EOF" if ended else f"invalid JSON: {error}") from error
    if "\\u" in text or not text.isascii():
        _must_be_text(value)
    return value


def _no_number(text: str) -> NoReturn:
    raise Malformed(f"invalid JSON: {text} is no number")


_json = json.JSONDecoder(
    object_pairs_hook=Members, parse_int=Number, parse_float=Number, parse_constant=_no_number
)


def _must_be_text(value: object) -> None:
    """Bytes that are not UTF-8 are half surrogates by now; such may have been written as escapes, too."""
    if isinstance(value, str):
        if not value.isascii():
            try:
                value.encode()
            except UnicodeEncodeError as error:
                raise Malformed("proto: syntax error: invalid UTF-8 in string") from error
    elif isinstance(value, list | tuple):
        for each in value:
            _must_be_text(each)


_readers: dict[type, Reader] = {}


def _message(kind: type) -> Reader:
    """What reads a message of `kind`; made once."""
    reader = _readers.get(kind)
    if reader is None:
        reader = _readers[kind] = _made(kind)
    return reader


def _made(kind: type) -> Reader:
    fields: dict[str, tuple[str, bool, Reader]] = {}
    for name, hint in get_type_hints(kind, include_extras=True).items():
        optional = NoneType in get_args(hint)
        fields[name] = fields[_camel(name)] = name, optional, _reader(hint, name)

    def message(value: object) -> object:
        if type(value) is not Members:
            raise Malformed(f"proto: syntax error: unexpected token {_shown(value)}")
        seen = set()
        found: dict[str, object] = {}
        chosen = False
        for name, given in value:
            if (field := fields.get(name)) is None:
                continue
            attribute, optional, reader = field
            if attribute in seen:
                raise Malformed(f'proto: duplicate field "{name}"')
            seen.add(attribute)
            if given is None:
                continue
            if optional:
                if chosen:
                    raise Malformed(f'proto: error parsing "{name}", another of its oneof is already set')
                chosen = True
            result = reader(given)
            if result is not _Unknown:
                found[attribute] = result
        return kind(**found)

    return message


def _reader(hint: Any, name: str) -> Reader:
    """What reads a field of this type."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Annotated:
        for about in arguments[1:]:
            if isinstance(about, type) and issubclass(about, IntEnum):
                return partial(_enum, {each.name: int(each) for each in about}, name)
        return _reader(arguments[0], name)
    if origin in (Union, UnionType):
        [only] = [each for each in arguments if each is not NoneType]
        return _reader(only, name)
    if origin in (list, tuple):
        return partial(_list, origin, _reader(arguments[0], name), name)
    if isinstance(hint, type) and issubclass(hint, msgspec.Struct):
        return partial(_inner, hint)
    return partial(_SCALARS[hint], name)


def _inner(kind: type[msgspec.Struct], value: object) -> object:
    # Looked up only when there is one: a message may contain itself.
    return _message(kind)(value)


def _list(kind: Callable[[list[object]], object], reader: Reader, name: str, value: object) -> object:
    if type(value) is not list:
        raise Malformed(f"proto: syntax error: unexpected token {_shown(value)} for field {name}")
    return kind([each for each in map(reader, value) if each is not _Unknown])


def _bytes(name: str, value: object) -> bytes:
    if type(value) is str:
        # As Go does it: the alphabet by the characters, the padding by the length, line breaks passed over.
        padded = len(value) % 4 == 0
        text = value.replace("\n", "").replace("\r", "") if "\n" in value or "\r" in value else value
        if _BASE64.fullmatch(text) and (len(text) % 4 == 0 if padded else "=" not in text):
            text += "=" * (-len(text) % 4)
            try:
                return urlsafe_b64decode(text) if "-" in text or "_" in text else b64decode(text)
            except NotBase64:
                pass
    raise _invalid("bytes", name, value)


def _text(name: str, value: object) -> str:
    if type(value) is not str:
        raise _invalid("string", name, value)
    return value


def _bool(name: str, value: object) -> bool:
    if type(value) is not bool:
        raise _invalid("bool", name, value)
    return value


def _int64(name: str, value: object) -> int:
    number = None
    if type(value) is Number:
        number = _integer(value)
    elif type(value) is str and (found := _NUMBER_FIRST.match(value)) and value == value.strip():
        number = _integer(found[0])
    if number is None or not -(1 << 63) <= number < 1 << 63:
        raise _invalid("int64", name, value)
    return number


def _enum(names: dict[str, int], name: str, value: object) -> int | type[_Unknown]:
    if type(value) is str:
        return names.get(value, _Unknown)
    number = _integer(value) if type(value) is Number else None
    if number is None or not -(1 << 31) <= number < 1 << 31:
        raise _invalid("enum", name, value)
    return number


_SCALARS: dict[Any, Callable[[str, object], Any]] = {bytes: _bytes, str: _text, bool: _bool, int: _int64}

_BASE64 = re.compile(r"(?:[A-Za-z0-9+/]*|[A-Za-z0-9_-]*)={0,2}")
_SHORT = re.compile(r"-?[0-9]{1,18}")
_NUMBER = re.compile(r"(-?)(0|[1-9][0-9]*)(?:\.([0-9]+))?(?:[eE]([+-]?[0-9]+))?")
_NUMBER_FIRST = re.compile(rf"(?:{_NUMBER.pattern})(?![-+._a-zA-Z0-9])")

_DIGITS = 20
"""The most that a 64-bit integer has."""


def _integer(text: str) -> int | None:
    """The integer that a number is, None if it is none, or a very large one."""
    if _SHORT.fullmatch(text):
        return int(text)
    if (found := _NUMBER.fullmatch(text)) is None:
        return None
    sign, whole, fraction, power = found.groups(default="")
    whole, fraction = whole.lstrip("0"), fraction.rstrip("0")
    if not whole and not fraction:
        return 0
    if len(power) > _DIGITS:
        return None
    exponent = int(power or "0")
    point = len(whole) + exponent
    if not 0 <= point <= _DIGITS or exponent < len(fraction) > 0 or whole[point:].strip("0"):
        return None
    return int(sign + (whole + fraction).ljust(point, "0")[:point])


def _camel(name: str) -> str:
    first, *others = name.split("_")
    return first + "".join(map(str.capitalize, others))


def _invalid(kind: str, name: str, value: object) -> Malformed:
    return Malformed(f"proto: invalid value for {kind} field {name}: {_shown(value)}")


def _shown(value: object) -> str:
    if isinstance(value, list):
        return "{" if type(value) is Members else "["
    if type(value) is Number:
        return value[:100]
    return json.dumps(value[:100] if isinstance(value, str) else value)
