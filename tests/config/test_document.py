"""YAML, as far as a configuration needs it."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from syncd.config.document import DEPTH, FILE_BYTES, DocumentError, parse, read_document


@pytest.mark.parametrize("data", [b"", b"\n\n", b"# nothing but a comment\n", b"\xef\xbb\xbf", b"---\n"])
def test_nothing(data: bytes) -> None:
    """A file without content has no root, or an empty one."""
    node = parse(data)
    assert node is None or (isinstance(node, yaml.ScalarNode) and not node.value)


def test_nodes_know_their_text() -> None:
    """A value keeps the text it is written with, whatever YAML 1.1 would make of it."""
    node = parse(b"\xef\xbb\xbfmode: 0660\nduplex: on\n")
    assert isinstance(node, yaml.MappingNode)
    assert [(key.value, value.value, key.start_mark.line) for key, value in node.value] == [
        ("mode", "0660", 0),
        ("duplex", "on", 1),
    ]


@pytest.mark.parametrize(
    ("data", "line", "hint"),
    [
        (b"a: [1\n", 2, "expected ',' or ']'"),
        (b"a:\n\tb: 1\n", 2, "cannot start any token"),
        (b"a: 1\n b: 2\n", 2, "mapping values are not allowed here"),
        (b"a: 1\n---\nb: 2\n", 2, "but found another document"),
        (b"a: &x 1\nb: *x\n", 2, "alias"),
        (b"a: &x [*x]\n", 1, "alias"),
        (b"a: 1\nb: !!python/object:os.system {}\n", 2, "tag"),
        (b"a: 1\nb: !secret x\n", 2, "tag"),
        (b'a: "\\ud83d\\ude00"\n', 1, "half a character"),
        (b"a: 1\nb: \xff\n", 2, "is not UTF-8 here"),
        ("a: b\n".encode("utf-16"), 1, "is not UTF-8 here"),
        (b"a: 1\nb: \0\n", 2, "control character"),
        (b'a: "\\UFFFFFFFF"\n', None, "malformed escape"),
        (b"%YAML 1." + b"1" * 9000 + b"\n---\n", None, "malformed escape or directive"),
        (b"[" * 100_000, 1, "nested deeper"),
        (b"- " * 100_000, 1, "nested deeper"),
        (b"? " * 100_000, 1, "nested deeper"),
        (b"#" * (FILE_BYTES + 1), None, "larger than 1 MiB"),
    ],
)
def test_what_is_refused(data: bytes, line: int | None, hint: str) -> None:
    """What is no plain YAML in UTF-8 is refused, with the line wherever there is one."""
    with pytest.raises(DocumentError) as caught:
        parse(data)
    assert caught.value.line == line
    assert hint in caught.value.message
    assert caught.value.message.isprintable()


def test_nesting_within_bounds() -> None:
    """The bound on nesting is far from what a configuration needs, and is met exactly."""
    parse(b"[" * DEPTH + b"]" * DEPTH)
    with pytest.raises(DocumentError):
        parse(b"[" * (DEPTH + 1) + b"]" * (DEPTH + 1))


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    """A file that cannot be read is refused with the system's reason."""
    for file, reason in [
        (tmp_path / "absent.yaml", "No such file or directory"),
        (tmp_path, "Is a directory"),
        (Path("zero\0byte"), "embedded null byte"),
    ]:
        with pytest.raises(DocumentError, match=f"cannot be read: {reason}"):
            read_document(file)
