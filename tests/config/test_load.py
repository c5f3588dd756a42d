"""From a file to a configuration: paths, credentials, and files that are none."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from syncd.config import ConfigError, Mistake, load
from syncd.errors import SyncdError
from tests.config.material import BROKEN, CERTIFICATE_PEM, EC, RSA, encrypted, key_file

USER = "etcd: {user: syncd}\nranges: [{prefix: /a/}]\n"


def test_paths_start_at_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Relative paths are those beside the file, from wherever syncd is started."""
    (tmp_path / "conf" / "tls").mkdir(parents=True)
    (tmp_path / "conf" / "tls" / "ca.pem").write_bytes(CERTIFICATE_PEM)
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
    (credentials / "etcd-password").write_text("swordfish\n")
    config = load(file, environ={"CREDENTIALS_DIRECTORY": str(credentials)})
    assert config.etcd.password_file == credentials / "etcd-password"


def test_a_password_file_goes_before_systemd(tmp_path: Path) -> None:
    """What the file itself names is what counts; without a user there is no password at all."""
    file, own = tmp_path / "syncd.yaml", tmp_path / "own"
    own.write_text("swordfish")
    (tmp_path / "etcd-password").touch()  # no good one, but not asked for
    environ = {"CREDENTIALS_DIRECTORY": str(tmp_path)}
    file.write_text("etcd: {user: syncd, password_file: own}\nranges: [{prefix: /a/}]\n")
    assert load(file, environ).etcd.password_file == own
    file.write_text("ranges: [{prefix: /a/}]\n")
    assert load(file, environ).etcd.password_file is None


@pytest.mark.parametrize(("data", "code"), [(b"", "file.empty"), (b"one\ntwo\n", "file.wrong_kind")])
def test_a_password_from_systemd_that_is_none(tmp_path: Path, data: bytes, code: str) -> None:
    """It is told with its path, as that of a file would be."""
    file, credential = tmp_path / "syncd.yaml", tmp_path / "etcd-password"
    file.write_text(USER)
    credential.write_bytes(data)
    with pytest.raises(ConfigError) as caught:
        load(file, environ={"CREDENTIALS_DIRECTORY": str(tmp_path)})
    (mistake,) = caught.value.mistakes
    assert (mistake.path, mistake.line, mistake.code) == ("etcd.user", 1, code)
    assert str(credential) in mistake.message


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


def test_every_file_is_looked_at(tmp_path: Path) -> None:
    """The mistakes of all files are told at once, each with its line, what is wrong and the cure."""
    (tmp_path / "ca.pem").write_bytes(BROKEN)
    (tmp_path / "key.pem").write_bytes(encrypted())
    file = tmp_path / "syncd.yaml"
    file.write_text(
        "etcd:\n  endpoints: ['https://a']\n  user: syncd\n  password_file: .\n  tls:\n"
        "    ca_file: ca.pem\n    cert_file: cert.pem\n    key_file: key.pem\nranges: [{prefix: /a/}]\n"
    )
    with pytest.raises(ConfigError) as caught:
        load(file)
    assert [(mistake.line, mistake.path, mistake.code) for mistake in caught.value.mistakes] == [
        (4, "etcd.password_file", "file.not_a_file"),
        (6, "etcd.tls.ca_file", "file.not_pem"),
        (7, "etcd.tls.cert_file", "file.missing"),
        (8, "etcd.tls.key_file", "tls.key_encrypted"),
    ]
    lines = str(caught.value).splitlines()
    assert lines[0].startswith(f"{file}:4: etcd.password_file: {tmp_path} is a directory; ")
    assert lines[3] == (
        f"{file}:8: etcd.tls.key_file: {tmp_path}/key.pem holds an encrypted private key; it should be a "
        "file with one private key in PEM, not encrypted; decrypt it, and name the result: "
        f"openssl pkey -in {tmp_path}/key.pem -out {tmp_path}/key.pem.new"
    )
    assert [line.endswith(f"; {m.cure}") for line, m in zip(lines, caught.value.mistakes, strict=True)] == [
        True
    ] * 4


def test_a_pair_that_is_none(tmp_path: Path) -> None:
    """A key that is good in itself, but not the certificate's, is a mistake of the key's."""
    (tmp_path / "cert.pem").write_bytes(CERTIFICATE_PEM)
    file, key = tmp_path / "syncd.yaml", tmp_path / "key.pem"
    file.write_text(
        "etcd:\n  endpoints: ['https://a']\n  tls:\n    cert_file: cert.pem\n    key_file: key.pem\n"
        "ranges: [{prefix: /a/}]\n"
    )
    key.write_bytes(key_file(EC))
    assert load(file).etcd.tls.key_file == key
    key.write_bytes(key_file(RSA))
    with pytest.raises(ConfigError) as caught:
        load(file)
    (mistake,) = caught.value.mistakes
    assert (mistake.line, mistake.path, mistake.code) == (5, "etcd.tls.key_file", "tls.key_mismatch")
    assert mistake.message.startswith(f"{key} ")


@pytest.mark.parametrize(
    ("tls", "wanted"), [("{}", False), ("{ca_file: absent}", True), ("{key_file: absent}", True)]
)
def test_cryptography_is_imported_for_certificates_alone(tmp_path: Path, tls: str, wanted: bool) -> None:
    """Neither a configuration without TLS nor one with a password pays for it in time and memory."""
    file = tmp_path / "syncd.yaml"
    (tmp_path / "password").write_text("swordfish")
    file.write_text(f"etcd: {{user: me, password_file: password, tls: {tls}}}\nranges: [{{prefix: /a/}}]\n")
    program = (
        "import sys, contextlib, pathlib; from syncd.config import ConfigError, load\n"
        "with contextlib.suppress(ConfigError): load(pathlib.Path(sys.argv[1]))\n"
        "print('cryptography' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program, file], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str(wanted)


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
