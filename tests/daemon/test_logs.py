"""The log: lines of JSON without secrets, and never a reason to stop."""

import io
import json
import logging
import sys
from collections.abc import Iterator
from typing import Literal

import pytest
import structlog

from syncd.config import Log
from syncd.daemon import logs


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    """Leave logging as it was found."""
    root, server = logging.getLogger(), logging.getLogger("aiohttp.server")
    handlers, levels, config = list(root.handlers), (root.level, server.level), structlog.get_config()
    yield
    root.handlers[:] = handlers
    root.setLevel(levels[0])
    server.setLevel(levels[1])
    structlog.configure(**config)


def test_lines_are_json(capsys: pytest.CaptureFixture[str]) -> None:
    """One object a line, with a time and a level, whatever is in it; what libraries log is no exception."""
    logs.configure(Log(level="info"))
    structlog.get_logger("syncd").info("several\nlines", value=b"\xff", error=ValueError("x"))
    logging.getLogger("asyncio").warning("100%% of %s", "it")
    structlog.get_logger("syncd").debug("too fine")
    first, second = map(json.loads, capsys.readouterr().err.splitlines())
    assert (first["event"], first["level"]) == ("several\nlines", "info")
    assert first["timestamp"].endswith("Z")
    assert (second["event"], second["level"]) == ("100% of it", "warning")


def test_libraries_do_not_repeat_themselves(capsys: pytest.CaptureFixture[str]) -> None:
    """The same sentence once a minute; other ones between are told."""
    logs.configure(Log())
    for i in range(100):
        logging.getLogger("asyncio").error("too many files")
        logging.getLogger("asyncio").error("number %d", i % 10)
    assert len(capsys.readouterr().err.splitlines()) == 11


def test_level_can_be_changed(capsys: pytest.CaptureFixture[str]) -> None:
    """For loggers that are in use already."""
    log = structlog.get_logger("syncd")
    levels: tuple[tuple[logs.Level, int], ...] = (("error", 1), ("warning", 2), ("debug", 4), ("info", 3))
    for level, lines in levels:
        logs.configure(Log(level=level))
        log.debug("1")
        log.info("2")
        log.warning("3")
        log.error("4")
        assert len(capsys.readouterr().err.splitlines()) == lines


@pytest.mark.parametrize("format_", ["json", "console"])
def test_tracebacks_tell_no_values(
    capsys: pytest.CaptureFixture[str], format_: Literal["json", "console"]
) -> None:
    """A traceback names the lines of code, not what variables held: that may be a password or a value."""
    logs.configure(Log(format=format_))

    def fails(secret: str) -> None:
        assert secret
        raise ZeroDivisionError("text")

    for log in (structlog.get_logger("syncd").exception, logging.getLogger("asyncio").exception):
        try:
            fails("hunter" + "2")
        except ZeroDivisionError:
            log("it failed")
        text = capsys.readouterr().err
        assert "it failed" in text
        assert "ZeroDivisionError" in text
        assert "fails" in text
        assert "hunter2" not in text
        if format_ == "json":
            assert len(text.splitlines()) == 1


def test_a_log_that_cannot_be_written_stops_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """The disk is full, the other end of the pipe is gone: serving goes on."""

    class Full(io.StringIO):
        def write(self, _: str) -> int:
            raise BrokenPipeError

    monkeypatch.setattr(sys, "stderr", Full())
    logs.configure(Log(format="json"))
    structlog.get_logger("syncd").info("nobody reads this")
    logging.getLogger("asyncio").warning("nor this")
