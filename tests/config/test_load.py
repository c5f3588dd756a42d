"""From a file to a configuration: paths, credentials, and files that are none."""

from __future__ import annotations

from pathlib import Path

import pytest

from syncd.config import ConfigError, Mistake, load
from syncd.errors import SyncdError

USER = "etcd: {user: syncd}\nranges: [{prefix: /a/}]\n"


def test_paths_start_at_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Relative paths are those beside the file, from wherever syncd is started."""
    (tmp_path / "conf" / "tls").mkdir(parents=True)
    (tmp_path / "conf" / "tls" / "ca.pem").touch()
    (tmp_path / "conf" / "syncd.yaml").write_text(
        "etcd: {endpoints: ['https://a'], tls: {ca_file: tls/ca.pem}}\n"
        "ranges: [{prefix: /a/}]\ncache: {directory: cache}\n"
    )
    monkeypatch.chdir(tmp_path)
    for file in (Path("conf/syncd.yaml"), tmp_path / "conf" / "syncd.yaml"):
        config = load(file)
        assert config.etcd.tls.ca_file == tmp_path / "conf" / "tls" / "ca.pem"
        assert config.cache.directory == tmp_path / "conf" / "cache"


def test_the_password_from_systemd(tmp_path: Path) -> None:
    """A user without password_file gets the password that systemd passes."""
    file, credentials = tmp_path / "syncd.yaml", tmp_path / "credentials"
    file.write_text(USER)
    credentials.mkdir()
    (credentials / "etcd-password").touch()
    config = load(file, environ={"CREDENTIALS_DIRECTORY": str(credentials)})
    assert config.etcd.password_file == credentials / "etcd-password"


def test_a_password_file_goes_before_systemd(tmp_path: Path) -> None:
    """What the file itself names is what counts; without a user there is no password at all."""
    file, own = tmp_path / "syncd.yaml", tmp_path / "own"
    own.touch()
    (tmp_path / "etcd-password").touch()
    environ = {"CREDENTIALS_DIRECTORY": str(tmp_path)}
    file.write_text("etcd: {user: syncd, password_file: own}\nranges: [{prefix: /a/}]\n")
    assert load(file, environ).etcd.password_file == own
    file.write_text("ranges: [{prefix: /a/}]\n")
    assert load(file, environ).etcd.password_file is None


@pytest.mark.parametrize("environ", [{}, {"CREDENTIALS_DIRECTORY": ""}, {"CREDENTIALS_DIRECTORY": "/absent"}])
def test_a_user_without_password(tmp_path: Path, environ: dict[str, str]) -> None:
    """A user needs a password from somewhere."""
    file = tmp_path / "syncd.yaml"
    file.write_text(USER)
    with pytest.raises(ConfigError, match=r"etcd\.user: needs etcd\.password_file too"):
        load(file, environ)


def test_an_error_carries_its_mistakes(tmp_path: Path) -> None:
    """The error holds the mistakes as values and, as its text, a line for each."""
    file = tmp_path / "syncd.yaml"
    file.write_text("etcd:\n  timeouts: {connect: 5}\n")
    with pytest.raises(SyncdError) as caught:
        load(file)
    assert isinstance(caught.value, ConfigError)
    assert caught.value.file == file
    assert caught.value.mistakes == (
        Mistake("ranges", None, "missing"),
        Mistake("etcd.timeouts.connect", 2, '"5" lacks a unit; write 5s for seconds or 5ms for milliseconds'),
    )
    assert str(caught.value) == (
        f"{file}: ranges: missing\n"
        f'{file}:2: etcd.timeouts.connect: "5" lacks a unit; write 5s for seconds or 5ms for milliseconds'
    )


def test_a_file_that_is_none(tmp_path: Path) -> None:
    """A file that is absent, or no YAML, is a configuration error like any other."""
    file = tmp_path / "syncd.yaml"
    with pytest.raises(ConfigError) as caught:
        load(file)
    assert str(caught.value) == f"{file}: cannot be read: No such file or directory"
    file.write_text("a: [\n")
    with pytest.raises(ConfigError) as caught:
        load(file)
    assert str(caught.value).startswith(f"{file}:2: is not the YAML expected here: ")


@pytest.mark.parametrize(
    "place", ["endpoints: ['http://u:hunter2@h']", "password: hunter2", "user: {a: hunter2}"]
)
def test_a_password_in_the_file_is_not_shown(tmp_path: Path, place: str) -> None:
    """A password that stands where none belongs is kept out of the messages."""
    file = tmp_path / "syncd.yaml"
    file.write_text(f"etcd: {{{place}}}\n")
    with pytest.raises(ConfigError) as caught:
        load(file)
    assert "hunter2" not in str(caught.value)
