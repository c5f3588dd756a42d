"""Names and types: everything is read that stands in the schema, and nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args, get_origin

import msgspec
import pytest
import yaml

from syncd.config import Config
from syncd.config.document import parse
from syncd.config.reader import read
from syncd.config.schema import RangeEntry
from syncd.keyrange import KeyRange
from tests.config.conftest import RANGES, Load, Mistakes


def test_what_is_left_out_has_its_default(loaded: Load) -> None:
    """A file with a range only is the schema's defaults."""
    config = loaded(RANGES)
    assert config == Config(ranges=config.ranges)


@pytest.mark.parametrize("name", ["etcd", "sync", "history", "cache", "serve", "log"])
def test_an_empty_section_has_its_defaults(loaded: Load, name: str) -> None:
    """A section whose keys are all commented out is as good as none."""
    config = loaded(f"{name}:\n  # nothing here\n")
    assert config == Config(ranges=config.ranges)


def test_values_of_every_kind(loaded: Load) -> None:
    """Text, durations, sizes, counts, modes, choices and lists are read as the schema says."""
    config = loaded("""
        etcd: {endpoints: ["https://a:1", "https://b"], duplex: on, timeouts: {connect: 500ms}}
        sync: {page_bytes: 1MiB}
        history: {events: 1_000, bytes: 0}
        cache: {directory: null}
        serve: {mode: 0600}
        log: {level: debug}
    """)
    assert config.etcd.endpoints == ("https://a:1", "https://b")
    assert config.etcd.duplex == "on"
    assert config.etcd.timeouts.connect == 0.5
    assert (config.sync.page_bytes, config.history.events, config.history.bytes) == (1 << 20, 1000, 0)
    assert config.cache.directory is None
    assert config.serve.mode == 0o600
    assert config.log.level == "debug"


@pytest.mark.parametrize("word", ["on", "off", '"on"', "'off'", "auto"])
def test_words_that_yaml_takes_for_booleans(loaded: Load, word: str) -> None:
    """`on` and `off` are words here, in quotes or not."""
    assert loaded(f"etcd: {{duplex: {word}}}").etcd.duplex == word.strip("\"'")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # names
        ("etcd: {endpoint: x}", '1: etcd.endpoint: unknown key; did you mean "endpoints"?'),
        ("log:\n  zzz: 1", "2: log.zzz: unknown key; possible: level, format"),
        ("etcd:\n  tls: {CA_FILE: x}", '2: etcd.tls.CA_FILE: unknown key; did you mean "ca_file"?'),
        ("log: {}\nlog: {}", "2: log: given twice; first on line 1"),
        ("log: {level: info, level: debug}", "1: log.level: given twice; first on line 1"),
        ("log: {<<: {level: info}}", '1: log."<<": unknown key; possible: level, format'),
        ('log: {"a\\nb": 1}', '1: log."a\\nb": unknown key; possible: level, format'),
        ("log: {[level]: info}", "1: log: a key should be a word, but is a list"),
        ("12: 1", '1: "12": unknown key; possible: etcd, ranges, sync, history, cache, serve, log'),
        # types
        ("log: 5", '1: log: should be lines like "name: value", but is a number'),
        ("log: [info]", '1: log: should be lines like "name: value", but is a list'),
        ("log: {level: [info]}", "1: log.level: should be a single value, but is a list"),
        ("log: {level: {}}", "1: log.level: should be a single value, but is a mapping"),
        ("log:\n  level:\n", "2: log.level: has no value; write one, or leave the key out"),
        ("log: {level: warn}", '1: log.level: "warn" is not possible; did you mean "warning"?'),
        ("log: {level: 5}", '1: log.level: "5" is not possible; possible: debug, info, warning, error'),
        ("log: {level: INFO}", '1: log.level: "INFO" is not possible; did you mean "info"?'),
        ("etcd: {endpoints: 'http://a'}", "1: etcd.endpoints: should be a list, but is a single value"),
        ("etcd: {endpoints: }", "1: etcd.endpoints: has no value; write one, or leave the key out"),
        (
            "etcd:\n  endpoints:\n  - http://a\n  - 5",
            "4: etcd.endpoints[1]: should be text, but YAML reads a number",
        ),
        ("etcd: {user: 2024-01-01}", "1: etcd.user: should be text, but YAML reads a date; put it in quotes"),
        ("cache: {directory: off}", "1: cache.directory: should be text, but YAML reads true or false"),
        ("serve: {group: ''}", "1: serve.group: is empty"),
        ("etcd: {timeouts: {connect: 5}}", '1: etcd.timeouts.connect: "5" lacks a unit'),
        ("etcd: {timeouts: {heartbeat: 1ms}}", '1: etcd.timeouts.heartbeat: "1ms" is out of bounds'),
        (
            "sync: {page_bytes: 1GiB}",
            '1: sync.page_bytes: "1GiB" is out of bounds; from 16KiB to 64MiB is possible',
        ),
        ("history: {events: -1}", '1: history.events: "-1" is not a whole number'),
        ("serve: {mode: 432d}", '1: serve.mode: "432d" is not a file mode'),
        ("serve: {socket: syncd.sock}", '1: serve.socket: "syncd.sock" should be an absolute path'),
        (
            "etcd:\n  tls:\n    ca_file: /absent.pem",
            "3: etcd.tls.ca_file: /absent.pem is not there: No such file or directory; it should be a file",
        ),
    ],
)
def test_a_mistake_has_its_line_path_and_reason(mistakes: Mistakes, text: str, expected: str) -> None:
    """Each mistake is one line, with where it stands and what is wrong."""
    (found,) = mistakes(text)
    assert found.startswith(expected)


def test_a_root_that_is_no_mapping(mistakes: Mistakes) -> None:
    """A file that holds a list is refused for that alone."""
    assert mistakes("- ranges: x") == ['1: should be lines like "name: value", but is a list']


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("# no ranges:", " ranges: missing"),
        ("etcd: {}\n# no ranges:", " ranges: missing"),
        ("---\nranges:", "2: ranges: has no value; write one, or leave the key out"),
        ("ranges: []", "1: ranges: at least one range is needed"),
    ],
)
def test_ranges_are_required(mistakes: Mistakes, text: str, expected: str) -> None:
    """Nothing to mirror is a mistake, even in an empty file."""
    assert mistakes(text) == [expected]


def test_all_mistakes_are_found_at_once(mistakes: Mistakes) -> None:
    """One run shows every mistake, in the order of the file."""
    found = mistakes("""\
        zz: 1
        zz: 2
        etcd:
          endpoints: [5, "http://a:1/v3", "http://ok:1"]
          timeouts: {connect: 5, request: x}
        ranges:
          - {prefix: 1}
          - {prefix: /a/, kay: /b}
        log: {level: x, format: y}
    """)
    assert [line.split(": ")[:2] for line in found] == [
        ["1", "zz"],
        ["2", "zz"],
        ["4", "etcd.endpoints[0]"],
        ["4", "etcd.endpoints[1]"],
        ["5", "etcd.timeouts.connect"],
        ["5", "etcd.timeouts.request"],
        ["7", "ranges[0].prefix"],
        ["8", "ranges[1].kay"],
        ["9", "log.format"],
        ["9", "log.level"],
    ]


def _sample(kind: Any) -> Any:
    """Make a document with an "x" for every single value of the schema."""
    if isinstance(kind, type) and issubclass(kind, KeyRange):
        kind = RangeEntry
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return {field.name: _sample(field.type) for field in msgspec.structs.fields(kind)}
    return [_sample(get_args(kind)[0])] if get_origin(kind) is tuple else "x"


def _paths(sample: Any, path: str = "") -> Iterator[str]:
    if isinstance(sample, dict):
        for name, value in sample.items():
            yield from _paths(value, f"{path}.{name}".lstrip("."))
    elif isinstance(sample, list):
        yield from _paths(sample[0], f"{path}[0]")
    else:
        yield path


def test_every_key_of_the_schema_is_read(tmp_path: Path) -> None:
    """Each key has a value or a mistake of its own: none is passed over, and none lacks a notation."""
    sample = _sample(Config)
    draft = read(parse(yaml.safe_dump(sample).encode()), tmp_path)
    paths = set(_paths(sample))
    assert {"etcd.tls.ca_file", "ranges[0].range_end", "serve.access[0].users[0]"} < paths
    assert paths <= {*draft.values, *(mistake.path for mistake in draft.mistakes)}
