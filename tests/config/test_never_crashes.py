"""Whatever the file holds, it is a configuration or a ConfigError."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, get_args, get_origin

import msgspec
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from syncd.config import Config
from syncd.config.schema import RangeEntry
from syncd.keyrange import KeyRange
from tests.fuzzing.configuration import configuration

unhurried = settings(deadline=None)  # files are written, and a busy machine takes its time


def _names(struct: type[msgspec.Struct]) -> Iterator[str]:
    for field in msgspec.structs.fields(struct):
        yield field.name
        for kind in (field.type, *get_args(field.type)):
            if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
                yield from _names(RangeEntry if kind is KeyRange else kind)


NAMES = sorted(set(_names(Config)))
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=8),
    st.dates(),
    st.binary(max_size=4),
    st.sampled_from(
        ["http://a:1", "https://[::1]", "/etc/hostname", "5s", "64KiB", "0660", "root", "auto", "on", "/a/"]
    ),
)
DOCUMENTS = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(st.one_of(st.sampled_from(NAMES), SCALARS), inner, max_size=6),
    ),
    max_leaves=40,
)
YAML_PIECES = st.lists(
    st.one_of(
        st.sampled_from(NAMES),
        st.sampled_from(
            [":", ": ", "\n", "  ", "- ", "[", "]", "{", "}", ",", "&a ", "*a", "!!x ", "? ", "<<", "|\n"]
        ),
        st.sampled_from(
            ["'", '"', "\\", "%YAML 1.1", "---", "...", "#", "\t", "\0", "@", "`", ">", "~", "\ufeff"]
        ),
        st.text(max_size=3),
    ),
    max_size=30,
).map("".join)


def _like(kind: Any) -> st.SearchStrategy[Any]:
    """Make documents that are shaped like the schema, mostly."""
    if get_origin(kind) is tuple:
        return st.lists(_like(get_args(kind)[0]), max_size=3) | SCALARS
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        fields = msgspec.structs.fields(RangeEntry if kind is KeyRange else kind)
        return (
            st.fixed_dictionaries({}, optional={field.name: _like(field.type) for field in fields}) | SCALARS
        )
    return SCALARS


@unhurried
@given(st.binary(max_size=200))
def test_any_bytes(data: bytes) -> None:
    """Bytes of any kind."""
    configuration(data)


@unhurried
@given(YAML_PIECES)
@example('"\\UFFFFFFFF"')
@example("? ? ? :")
def test_any_pieces_of_yaml(text: str) -> None:
    """YAML's signs and the schema's words, in any order."""
    configuration(text.encode("utf-8", "surrogatepass"))


@unhurried
@given(DOCUMENTS)
def test_any_document(document: Any) -> None:
    """Well-formed documents of any shape, half of whose words are the schema's."""
    configuration(yaml.safe_dump(document, allow_unicode=True).encode("utf-8", "surrogatepass"))


@unhurried
@given(_like(Config))
def test_any_values(document: Any) -> None:
    """The schema's own shape, with values of any kind here and there."""
    configuration(yaml.safe_dump(document).encode())
