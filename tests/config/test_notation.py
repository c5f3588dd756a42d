"""Single values as they are written in the file."""

from __future__ import annotations

import grp
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncd.config.notation import (
    SUN_PATH_BYTES,
    Count,
    Duration,
    EndpointUrl,
    FileMode,
    FilePath,
    GroupName,
    HostName,
    Size,
    SocketPath,
    Text,
)
from tests.config.conftest import refusal


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("http://127.0.0.1:2379", "http://127.0.0.1:2379"),
        ("https://etcd1.example:2379/", "https://etcd1.example:2379"),
        ("HTTPS://ETCD1.Example", "https://etcd1.example"),
        ("http://[::1]:2379", "http://[::1]:2379"),
        ("http://etcd_1:02379", "http://etcd_1:2379"),
        ("http://bücher.example:1", "http://bücher.example:1"),
    ],
)
def test_endpoints(text: str, url: str) -> None:
    """An endpoint is read into one canonical form."""
    assert EndpointUrl().read(text) == url


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("127.0.0.1:2379", "should begin with http:// or https://"),
        ("etcd1.example", "should begin with http:// or https://"),
        ("unix:///run/etcd.sock", "should begin with http:// or https://"),
        ("", "should begin with http:// or https://"),
        ("http://", "no valid host"),
        ("http://:2379", "no valid host"),
        ("http://a b:2379", "no valid host"),
        ("http://a\tb:2379", "no valid host"),
        ("http://-a:2379", "no valid host"),
        ("http://[::1:2379", "is not a URL"),
        ("http://h:port", "is not a URL"),
        ("http://h:65536", "is not a URL"),
        ("http://h:0", "port 0"),
        ("http://a..b:2379", "no valid host"),
        (f"http://{'a' * 64}:2379", "no valid host"),
        ("http://h:2379/v3", "should end after host and port"),
        ("http://h:2379?x=1", "should end after host and port"),
        ("http://h:2379/#", "should end after host and port"),
    ],
)
def test_what_is_no_endpoint(text: str, hint: str) -> None:
    """What is no endpoint is refused with what is wrong about it."""
    with pytest.raises(ValueError, match=hint):
        EndpointUrl().read(text)


@pytest.mark.parametrize("text", ["", ".x", "a..b", "a" * 64, "a b", "-a"])
def test_what_is_no_name_of_a_host(text: str) -> None:
    """What TLS could not ask for is refused before it gets there."""
    with pytest.raises(ValueError, match="no valid name"):
        HostName().read(text)


@pytest.mark.parametrize(
    "text",
    [
        "http://root:hunter2@etcd1:2379",
        "http://hunter2@etcd1:2379",
        "http://root:hunter2",
        "root:hunter2@etcd1:2379",
        "http://root:hunter2@[::1",
        "http://root:hunter2@etcd1:2379/v3?x#y",
    ],
)
def test_a_password_is_not_repeated(text: str) -> None:
    """A password that was written into an endpoint is not shown in the message, nor in what caused it."""
    with pytest.raises(ValueError, match=r"\w") as caught:
        EndpointUrl().read(text)
    assert "hunter2" not in str(caught.value)
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


@pytest.mark.parametrize("text", ["0660", "660", "0o660"])
def test_file_modes(text: str) -> None:
    """A file mode is octal, with or without its zero."""
    assert FileMode().read(text) == 0o660


@pytest.mark.parametrize("text", ["432d", "0999", "1777", "01777", "66", "rw-rw----", "-660", ""])
def test_what_is_no_file_mode(text: str) -> None:
    """Bits beyond 0777 and what is not octal are refused."""
    with pytest.raises(ValueError, match="three octal digits"):
        FileMode().read(text)


@pytest.mark.parametrize(("text", "value"), [("0", 0), ("100_000", 100_000), ("007", 7)])
def test_counts(text: str, value: int) -> None:
    """A count is decimal, whatever YAML 1.1 makes of it."""
    assert Count(0, 100_000).read(text) == value


@pytest.mark.parametrize("text", ["-1", "1.5", "1e3", "0x10", "1:30", "many", "", "1__0", "_1"])
def test_what_is_no_count(text: str) -> None:
    """Fractions, signs, and other ways to write numbers are refused."""
    with pytest.raises(ValueError, match="not a whole number"):
        Count(0, 100).read(text)


def test_bounds_are_named() -> None:
    """A value out of bounds is refused with the bounds as people write them; the bounds themselves are in."""
    assert Duration("10ms", "10m").read("10ms") == 0.01
    assert Duration("10ms", "10m").read("10m") == 600
    with pytest.raises(ValueError, match='"11m" is out of bounds; from 10ms to 10m is possible'):
        Duration("10ms", "10m").read("11m")
    with pytest.raises(ValueError, match="from 16KiB to 64MiB"):
        Size("16KiB", "64MiB").read("1")
    with pytest.raises(ValueError, match="from 0 to 9"):
        Count(0, 9).read("10")


def test_empty_text() -> None:
    """Text is not empty, except where that has a meaning."""
    assert Text(may_be_empty=True).read("") == ""
    with pytest.raises(ValueError, match="is empty"):
        Text().read("")


@pytest.mark.parametrize(
    ("text", "hint"),
    [("", "is empty"), ("a\0b", "zero byte"), ("~/x", "only a shell"), ("~", "only a shell")],
)
def test_what_is_no_path(text: str, hint: str) -> None:
    """What no file can be called, and what only a shell would expand, is refused."""
    with pytest.raises(ValueError, match=hint):
        FilePath().read(text)


def test_the_path_of_a_socket_is_absolute_and_fits() -> None:
    """A socket's path is absolute and no longer than `sun_path`, counted in bytes."""
    longest = "/" + "s" * (SUN_PATH_BYTES - 1)
    assert SocketPath().read(longest) == Path(longest)
    with pytest.raises(ValueError, match="is 108 bytes long"):
        SocketPath().read(longest + "s")
    with pytest.raises(ValueError, match="is 201 bytes long"):
        SocketPath().read("/" + "ü" * 100)
    with pytest.raises(ValueError, match="absolute"):
        SocketPath().read("run/syncd.sock")


def test_the_path_of_a_socket_is_no_directory(tmp_path: Path) -> None:
    """A directory is not taken for the socket in it; what does not exist yet is right."""
    SocketPath().check(tmp_path / "not" / "there")
    with pytest.raises(ValueError, match="is a directory"):
        SocketPath().check(tmp_path)


def test_groups() -> None:
    """A group is one that this machine has."""
    GroupName().check(grp.getgrgid(0).gr_name)
    for name in ("no-such-group", "zero\0byte"):
        with pytest.raises(ValueError, match="group"):
            GroupName().check(name)


def test_the_path_of_a_directory_is_told_on_one_line(tmp_path: Path) -> None:
    """Also when its name has more than one."""
    path = tmp_path / "two\nlines"
    path.mkdir()
    assert refusal(lambda text: SocketPath().check(Path(text)), str(path)).isprintable()


@given(st.text())
def test_any_text_is_read_or_refused(text: str) -> None:
    """Whatever the text, every notation has a value for it or a ValueError on one line."""
    notations = [EndpointUrl(), FileMode(), Count(0, 9), FilePath(), SocketPath(), GroupName(), Text()]
    for notation in notations:
        assert refusal(notation.read, text).isprintable()
