"""`config.example.yaml` documents every key, and its defaults are the true ones."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import msgspec
import yaml

from syncd.config import Access, Config, load
from syncd.config.schema import DERIVED, RangeEntry

EXAMPLE = Path(__file__).parents[2] / "config.example.yaml"


def test_the_example_is_valid_and_shows_the_defaults() -> None:
    """Apart from the ranges, which have no default, the example changes nothing."""
    config = load(EXAMPLE, environ={})
    assert config == Config(ranges=config.ranges)


def _keys(struct: type[msgspec.Struct], path: str = "") -> Iterator[str]:
    for field in msgspec.structs.fields(struct):
        if struct is Config and field.name in DERIVED:
            continue
        if isinstance(field.type, type) and issubclass(field.type, msgspec.Struct):
            yield from _keys(field.type, f"{path}{field.name}.")
        else:
            yield path + field.name


def _given(document: Any, path: str = "") -> Iterator[str]:
    for name, value in document.items():
        if isinstance(value, dict):
            yield from _given(value, f"{path}{name}.")
        else:
            yield path + name


def test_the_example_has_every_key() -> None:
    """Each key of the schema is shown where it belongs, and none that the schema does not have."""
    assert list(_given(yaml.safe_load(EXAMPLE.read_text()))) == list(_keys(Config))


def test_the_example_shows_what_lists_hold() -> None:
    """The keys of a list's items, given or commented out, are shown too."""
    text = EXAMPLE.read_text()
    for struct in (RangeEntry, Access):
        for field in msgspec.structs.fields(struct):
            assert re.search(rf"^ *#? *(- )?{field.name}: ", text, re.MULTILINE), field.name


def test_the_example_names_every_choice() -> None:
    """Where a key has a few possible values, each of them is written out."""
    text = EXAMPLE.read_text()
    for struct in msgspec.structs.fields(Config):
        if isinstance(struct.type, type) and issubclass(struct.type, msgspec.Struct):
            for field in msgspec.structs.fields(struct.type):
                for choice in get_args(field.type) if get_origin(field.type) is Literal else ():
                    assert re.search(rf"(?<![\w/]){choice}\b", text), choice


def test_the_commented_ranges_are_valid(tmp_path: Path) -> None:
    """The other ways to write a range, taken out of their comments, are right as well."""
    entries = re.findall(r"^  # (- key: .*(?:\n  #   .*)*)", EXAMPLE.read_text(), re.MULTILINE)
    file = tmp_path / "syncd.yaml"
    file.write_text("ranges:\n" + "\n".join("  " + entry.replace("\n  # ", "\n  ") for entry in entries))
    assert [keys.name for keys in load(file).ranges] == ["/config/one", "/services/a../services/n"]
