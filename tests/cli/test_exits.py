"""Exit codes, and the one line that says what went wrong, where, and what helps."""

import errno
import grp
import os
from pathlib import Path

import pytest

from syncd.cli.exits import exit_code, explain
from syncd.client import ClientError, ConnectError, CutError, ProtocolError, SilenceError
from syncd.client.errors import answer_error


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (answer_error("not_found", ""), 3),
        (answer_error("not_ready", ""), 4),
        (answer_error("too_stale", ""), 4),
        (answer_error("bad_request", ""), 2),
        (answer_error("not_mirrored", ""), 1),
        (answer_error("forbidden", ""), 1),
        (answer_error("compacted", ""), 1),
        (answer_error("internal", ""), 1),
        (ConnectError("/s", errno.ENOENT, ""), 1),
        (CutError(""), 1),
        (SilenceError(""), 1),
        (ProtocolError(""), 1),
    ],
)
def test_every_error_has_its_exit_code(error: ClientError, code: int) -> None:
    """As the contract has it."""
    assert exit_code(error) == code


@pytest.mark.parametrize(
    ("number", "hint"),
    [
        (errno.ENOENT, "is the daemon running"),
        (errno.ECONNREFUSED, "nobody listens there"),
        (errno.EAGAIN, "hangs or is overloaded"),
        (errno.ENOTDIR, "--socket or $SYNCD_SOCKET"),
        (errno.EACCES, "`serve.group`"),
    ],
)
def test_why_no_connection(number: int, hint: str) -> None:
    """Each way to fail at connecting has its own remedy."""
    line = explain(ConnectError("/run/s", number, os.strerror(number)), "/run/s")
    assert line.startswith("cannot connect to /run/s: ")
    assert hint in line


def test_a_closed_socket_names_its_group(tmp_path: Path) -> None:
    """Whoever may not connect learns which group may."""
    path = tmp_path / "s"
    path.touch()
    path.chmod(0o660)
    group = grp.getgrgid(path.stat().st_gid).gr_name
    line = explain(ConnectError(str(path), errno.EACCES, "Permission denied"), str(path))
    assert f"usermod -aG {group} USER" in line
    assert "0660" in line


def test_a_refusal_says_code_message_place_and_remedy() -> None:
    """All in one line."""
    line = explain(answer_error("not_mirrored", "no range covers /x"), "/run/s")
    told = "not_mirrored: no range covers /x (asked at /run/s)"
    assert line == f"{told}; `syncd status` lists the ranges that are mirrored"
