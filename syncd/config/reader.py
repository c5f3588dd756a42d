"""Walks the schema and the document side by side: names, types and single values.

Every mistake is noted and the walk goes on, so that all of them are found in one go.
"""

from __future__ import annotations

import difflib
import enum
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import msgspec
import yaml

from syncd.config.draft import Draft
from syncd.config.errors import quoted
from syncd.config.files import Unusable
from syncd.config.notation import Notation
from syncd.config.ranges import key_range
from syncd.config.schema import DERIVED, Config, RangeEntry
from syncd.keyrange import KeyRange


class _Nothing(enum.Enum):
    VALUE = "no good value"


NOTHING = _Nothing.VALUE

_NULL = "tag:yaml.org,2002:null"
_STR = "tag:yaml.org,2002:str"
_GUESSES = {
    "tag:yaml.org,2002:bool": "true or false",
    "tag:yaml.org,2002:int": "a number",
    "tag:yaml.org,2002:float": "a number",
    "tag:yaml.org,2002:timestamp": "a date",
}


def read(root: yaml.Node | None, directory: Path) -> Draft:
    """Read the document; relative paths in it start at `directory`."""
    reader = _Reader(directory)
    reader.value(root, Config, "")
    return reader.draft


class _Reader:
    def __init__(self, directory: Path) -> None:
        self.draft = Draft()
        self.directory = directory

    def value(self, node: yaml.Node | None, wanted: Any, path: str) -> Any:
        """Return the value of the node, noted in the draft; NOTHING where there are mistakes."""
        wanted, may_be_null = _without_none(wanted)
        value: Any
        if isinstance(wanted, type) and issubclass(wanted, msgspec.Struct):
            if wanted is KeyRange:
                entry = self.section(node, RangeEntry, path)
                value = NOTHING if entry is NOTHING else key_range(self.draft, entry, path) or NOTHING
            else:
                value = self.section(node, wanted, path)
        elif node is None or _is_null(node):
            value = None
            if not may_be_null:
                value = NOTHING
                self.draft.wrong(path, "has no value; write one, or leave the key out")
        elif get_origin(wanted) is tuple:
            value = self.sequence(node, get_args(wanted)[0], path)
        else:
            value = self.scalar(node, wanted, path)
        if value is not NOTHING:
            self.draft.values[path] = value
        return value

    def section(self, node: yaml.Node | None, struct: type[msgspec.Struct], path: str) -> Any:
        """Read a mapping as `struct`; nothing or null has only defaults."""
        if node is None or _is_null(node):
            node = yaml.MappingNode("", [])
        if not isinstance(node, yaml.MappingNode):
            self.draft.wrong(path, f'should be lines like "name: value", but is {_kind(node)}', _line(node))
            return NOTHING
        fields = {field.name: field for field in msgspec.structs.fields(struct) if field.name not in DERIVED}
        given = dict(self.entries(node, list(fields), path))
        values = {}
        for name, field in fields.items():
            at = f"{path}.{name}" if path else name
            if name in given:
                values[name] = self.value(given[name], field.type, at)
            elif field.required:
                values[name] = NOTHING
                self.draft.wrong(at, "missing")
            elif isinstance(field.default_factory, type):  # a section: its keys have their defaults
                values[name] = self.value(None, field.type, at)
            else:
                values[name] = self.draft.values[at] = field.default
        return NOTHING if NOTHING in values.values() else struct(**values)

    def entries(self, node: yaml.MappingNode, names: list[str], path: str) -> Iterator[tuple[str, yaml.Node]]:
        """Yield the known keys of a mapping, each once, with their nodes."""
        first: dict[str, int] = {}
        for key, value in node.value:
            line = _line(key)
            if not isinstance(key, yaml.ScalarNode):
                self.draft.wrong(path, f"a key should be a word, but is {_kind(key)}", line)
                continue
            name: str = key.value
            at = ".".join(filter(None, (path, name if name.isidentifier() else quoted(name))))
            if name in first:
                self.draft.wrong(at, f"given twice; first on line {first[name]}", line)
            elif name not in names:
                self.draft.wrong(at, f"unknown key; {_nearest(name, names)}", line)
            else:
                self.draft.lines[at] = line
                yield name, value
            first.setdefault(name, line)

    def sequence(self, node: yaml.Node, wanted: Any, path: str) -> Any:
        if not isinstance(node, yaml.SequenceNode):
            self.draft.wrong(path, f"should be a list, but is {_kind(node)}")
            return NOTHING
        values = []
        for index, item in enumerate(node.value):
            at = f"{path}[{index}]"
            self.draft.lines[at] = _line(item)
            values.append(self.value(item, wanted, at))
        return NOTHING if NOTHING in values else tuple(values)

    def scalar(self, node: yaml.Node, wanted: Any, path: str) -> Any:
        if not isinstance(node, yaml.ScalarNode):
            self.draft.wrong(path, f"should be a single value, but is {_kind(node)}")
            return NOTHING
        text: str = node.value
        if get_origin(wanted) is Literal:
            options = get_args(wanted)
            if text in options:
                return text
            self.draft.wrong(path, f"{quoted(text)} is not possible; {_nearest(text, options)}")
            return NOTHING
        if get_origin(wanted) is not Annotated:
            raise TypeError(f"{path}: the schema says no notation for {wanted}")
        kind, notation = get_args(wanted)
        if kind in {str, Path} and node.tag != _STR:
            self.draft.wrong(path, f"should be text, but YAML reads {_kind(node)}; put it in quotes")
            return NOTHING
        return self.written(text, notation, path)

    def written(self, text: str, notation: Notation, path: str) -> Any:
        try:
            value = notation.read(text)
            if isinstance(value, Path):
                value = self.directory / value
            notation.check(value)
        except Unusable as error:
            self.draft.unusable(path, error)
            return NOTHING
        except ValueError as error:
            self.draft.wrong(path, str(error))
            return NOTHING
        return value


def _without_none(wanted: Any) -> tuple[Any, bool]:
    """`X | None` and `X | UnsetType` as X, and whether None was among them."""
    if get_origin(wanted) not in {Union, types.UnionType}:
        return wanted, False
    options = get_args(wanted)
    (kind,) = [option for option in options if option not in {types.NoneType, msgspec.UnsetType}]
    return kind, types.NoneType in options


def _nearest(text: str, options: list[str] | tuple[str, ...]) -> str:
    near = difflib.get_close_matches(text[:100].lower(), options, n=1)
    return f'did you mean "{near[0]}"?' if near else f"possible: {', '.join(options)}"


def _is_null(node: yaml.Node) -> bool:
    return isinstance(node, yaml.ScalarNode) and node.tag == _NULL


def _kind(node: yaml.Node) -> str:
    if isinstance(node, yaml.ScalarNode):
        return "nothing" if node.tag == _NULL else _GUESSES.get(node.tag, "a single value")
    return "a list" if isinstance(node, yaml.SequenceNode) else "a mapping"


def _line(node: yaml.Node) -> int:
    line: int = node.start_mark.line
    return line + 1
