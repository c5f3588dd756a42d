"""A configuration file of one's own, loaded or found wanting."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from syncd.config import Config, ConfigError, load

RANGES = "ranges: [{prefix: /a/}]\n"

Load = Callable[[str], Config]
Mistakes = Callable[[str], list[str]]


@pytest.fixture
def loaded(tmp_path: Path) -> Load:
    """Load a configuration of the given text, to which a range is added when it has none."""

    def load_text(text: str) -> Config:
        file = tmp_path / "syncd.yaml"
        text = textwrap.dedent(text)
        file.write_text(text if "ranges:" in text else text + "\n" + RANGES)
        return load(file, environ={})

    return load_text


@pytest.fixture
def mistakes(loaded: Load) -> Mistakes:
    """Load a text that is refused, and give the `LINE: path: message` lines it is refused with."""

    def refused(text: str) -> list[str]:
        with pytest.raises(ConfigError) as caught:
            loaded(text)
        return [line.removeprefix(f"{caught.value.file}:") for line in str(caught.value).splitlines()]

    return refused


def refusal(read: Callable[[str], Any], text: str) -> str:
    """Return why `read` refuses the text, or nothing."""
    try:
        read(text)
    except ValueError as error:
        return str(error)
    return ""
