"""What may be printed: nothing that controls a terminal, and nothing lost for programs."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncd.cli.terminal import one_line, visible, visible_json


@given(st.binary() | st.text())
def test_what_is_visible_cannot_control_a_terminal(data: bytes | str) -> None:
    """Whatever is in a key or a value, only printable characters remain."""
    assert visible(data).isprintable()


@given(st.binary())
def test_wanted_characters_are_kept(data: bytes) -> None:
    """A value may have several lines."""
    assert visible(data, keep="\n\t").replace("\n", "").replace("\t", "").isprintable()


@pytest.mark.parametrize(
    ("data", "shown"),
    [
        (b"/plain/k\xc3\xa4se", "/plain/käse"),
        (b"\x1b]0;title\x07", r"\x1b]0;title\x07"),
        (b"\xc2\x9b31m", r"\x9b31m"),
        (b"a\xff", r"a\xff"),
        ("\u202eabc".encode(), r"\u202eabc"),
        ("\U000e0001".encode(), r"\U000e0001"),
    ],
)
def test_unprintable_characters_are_escapes(data: bytes, shown: str) -> None:
    """Escape sequences (of both kinds), bytes that are not UTF-8, and changes of direction can be seen."""
    assert visible(data) == shown


@given(st.text())
def test_json_stays_the_same_json(text: str) -> None:
    """On a terminal, JSON is safe and still means the same."""
    line = json.dumps(text, ensure_ascii=False).encode("utf-8", "replace")
    shown = visible_json(line)
    assert shown.isprintable()
    assert json.loads(shown) == json.loads(line)


@given(st.binary())
def test_one_line_holds_any_value(data: bytes) -> None:
    """No tab or newline remains that would be taken for a separator, and other bytes are as they were."""
    line = one_line(data)
    assert not set(line) & {9, 10, 13, 0x1B, 0x7F}
    assert bytes(b for b in data if b >= 0x20 and b != 0x7F) == b"".join(
        piece[3:] if i else piece for i, piece in enumerate(_pieces(data, line))
    )


def _pieces(data: bytes, line: bytes) -> list[bytes]:
    """Split `line` where a control character of `data` stood; later pieces begin with its `xNN`."""
    pieces, position = [b""], 0
    for byte in data:
        if byte < 0x20 or byte == 0x7F:
            pieces.append(line[position + 1 : position + 4])
            position += 4
        else:
            pieces[-1] += line[position : position + 1]
            position += 1
    return pieces
