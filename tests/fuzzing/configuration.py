"""The configuration file."""

from __future__ import annotations

import tempfile
from pathlib import Path

from syncd.config import ConfigError, load
from tests.fuzzing.inputs import linear_time


def configuration(data: bytes) -> None:
    """Any bytes as a file: it is a configuration, or a ConfigError whose mistakes stand in the file."""
    with linear_time(data):
        error = mistaken(data)
    if error is None:
        return
    str(error).encode()
    assert len(str(error).splitlines()) == len(error.mistakes) > 0
    end = len(data.decode("utf-8", "replace").splitlines()) + 1
    assert all(mistake.line is None or 1 <= mistake.line <= end for mistake in error.mistakes)


def mistaken(data: bytes) -> ConfigError | None:
    """The error of a file with this content."""
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory) / "syncd.yaml"
        file.write_bytes(data)
        try:
            load(file, environ={})
        except ConfigError as error:
            return error
    return None
