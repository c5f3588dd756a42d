"""How single values are written in the file: the text of a YAML scalar in, the value out.

YAML 1.1 guesses types: `on` is true, `0660` is 432, `1:30` is 90. So values are read from the text itself, by
the notation that stands beside the type in `schema.py`: `Annotated[float, Duration("10ms", "10m")]`.
Every failure is a ValueError whose text is a sentence for people.
"""

from __future__ import annotations

import grp
import ipaddress
import os
import pwd
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple
from urllib.parse import urlsplit

from syncd.config.errors import quoted, shown
from syncd.config.files import read_password
from syncd.config.units import byte_count, seconds

SUN_PATH_BYTES = 107
"""The longest path of a Unix socket: `sun_path` holds 108 bytes, the last of them zero (unix(7))."""

MAX_ID = 2**32 - 2
"""The highest number of a user or group; the one above it means "none" (chown(2))."""


class Notation:
    """One way to write a value."""

    def read(self, text: str) -> Any:
        """Return the value that `text` stands for."""
        raise NotImplementedError

    def check(self, value: Any) -> None:
        """Ask this machine whether it can use the value; a path comes resolved.

        ValueError when it cannot, of a file Unusable.
        """


@dataclass(frozen=True)
class Duration(Notation):
    """Seconds, written like `500ms` or `5s`."""

    least: str
    most: str

    def read(self, text: str) -> float:
        value = seconds(text)
        if not seconds(self.least) <= value <= seconds(self.most):
            raise ValueError(f"{quoted(text)} is out of bounds; from {self.least} to {self.most} is possible")
        return value


@dataclass(frozen=True)
class Size(Notation):
    """Bytes, written like `64KiB` or `2MiB`."""

    least: str
    most: str

    def read(self, text: str) -> int:
        value = byte_count(text)
        if not byte_count(self.least) <= value <= byte_count(self.most):
            raise ValueError(f"{quoted(text)} is out of bounds; from {self.least} to {self.most} is possible")
        return value


@dataclass(frozen=True)
class Count(Notation):
    """How many: decimal digits, with underscores between them as people like."""

    least: int
    most: int

    def read(self, text: str) -> int:
        if not re.fullmatch(r"[0-9](_?[0-9]){0,18}", text):
            raise ValueError(f"{quoted(text)} is not a whole number")
        if not self.least <= int(text) <= self.most:
            raise ValueError(f"{quoted(text)} is out of bounds; from {self.least} to {self.most} is possible")
        return int(text)


class Percentage(Notation):
    """A share from 0.0 to less than 1.0, written like `50%`."""

    def read(self, text: str) -> float:
        if not re.fullmatch(r"[0-9]{1,3}(\.[0-9]{1,6})?[ ]?%", text):
            raise ValueError(f"{quoted(text)} is not a percentage; write it like 50%")
        share = float(text.rstrip(" %")) / 100
        if share >= 1:
            raise ValueError(f"{quoted(text)} is out of bounds; from 0% to less than 100% is possible")
        return share


class FileMode(Notation):
    """Permission bits in octal, written like chmod(1) takes them, in quotes or not."""

    def read(self, text: str) -> int:
        if not re.fullmatch(r"(0o?)?[0-7]{3}", text):
            raise ValueError(
                f'{quoted(text)} is not a file mode; write three octal digits after a zero, such as "0660"'
            )
        return int(text, 8)


@dataclass(frozen=True)
class Text(Notation):
    """Plain text."""

    may_be_empty: bool = False

    def read(self, text: str) -> str:
        if not text and not self.may_be_empty:
            raise ValueError("is empty")
        return text


class Flag(Notation):
    """Yes or no, written as `true` or `false`."""

    def read(self, text: str) -> bool:
        if text not in {"true", "false"}:
            raise ValueError(f"{quoted(text)} is neither true nor false")
        return text == "true"


class HostName(Notation):
    """A host's name or address."""

    def read(self, text: str) -> str:
        if not _is_host(text):
            raise ValueError("is no valid name of a host, such as etcd1.example")
        return text


class EndpointUrl(Notation):
    """Scheme, host and port of an etcd member; read into its one canonical form, without a final slash.

    No message repeats the text, for it may hold a password.
    """

    def read(self, text: str) -> str:
        try:
            parts = urlsplit(text)
            host, port = parts.hostname or "", parts.port
        except ValueError:  # its text may hold a piece of a password
            raise ValueError("is not a URL such as https://etcd1.example:2379") from None
        if parts.scheme not in {"http", "https"}:
            raise ValueError("should begin with http:// or https://, such as https://etcd1.example:2379")
        if "@" in parts.netloc:
            raise ValueError("holds a user name or password; set etcd.user and etcd.password_file instead")
        if parts.path not in {"", "/"} or "?" in text or "#" in text:
            raise ValueError("should end after host and port; the path is set by etcd.api_prefix")
        if not _is_host(host) or not text.isprintable():
            raise ValueError("has no valid host; write it like https://etcd1.example:2379")
        if port == 0:
            raise ValueError("has the port 0, on which nothing can listen")
        return f"{parts.scheme}://{f'[{host}]' if ':' in host else host}{'' if port is None else f':{port}'}"


class Address(NamedTuple):
    """Where to listen: an IP address, as `ipaddress` writes it, and a port."""

    host: str
    port: int

    def __str__(self) -> str:
        """As it stands in a URL."""
        return f"{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}"

    @property
    def loopback(self) -> bool:
        """Whether only this machine can reach it."""
        return ipaddress.ip_address(self.host).is_loopback


class ListenAddress(Notation):
    """An address of this machine and a port, like `127.0.0.1:9379`, `[::1]:9379` or `localhost:9379`."""

    def read(self, text: str) -> Address:
        found = re.fullmatch(r"(\[[0-9A-Fa-f:.]+\]|[^\[\]:]+):([0-9]{1,5})", text)
        if not found:
            raise ValueError(f"{quoted(text)} is no address and port; write it like 127.0.0.1:9379")
        host, port = found[1].strip("[]"), int(found[2])
        if not 1 <= port <= 65535:
            raise ValueError(f"{quoted(text)} has no possible port; from 1 to 65535 is possible")
        if host == "localhost":
            host = "127.0.0.1"
        try:
            return Address(str(ipaddress.ip_address(host)), port)
        except ValueError:
            raise ValueError(
                f"{quoted(host)} is no IP address; only localhost may stand there by name"
            ) from None


class GroupName(Notation):
    """A group of this machine."""

    def read(self, text: str) -> str:
        return Text().read(text)

    def check(self, value: str) -> None:
        if _number("group", value) is None:
            raise ValueError(f"this machine has no group {quoted(value)}")


@dataclass(frozen=True)
class NameOrNumber(Notation):
    """A user or group of this machine by its name, or any by its number; read into the number."""

    kind: Literal["user", "group"]

    def read(self, text: str) -> int:
        number = _number(self.kind, Text().read(text))
        if number is None and re.fullmatch("[0-9]{1,10}", text) and int(text) <= MAX_ID:
            number = int(text)
        if number is None:
            raise ValueError(f"this machine has no {self.kind} {quoted(text)}")
        return number


class FilePath(Notation):
    """A path; relative ones are resolved by the reader, which knows where the file lies."""

    def read(self, text: str) -> Path:
        if not text:
            raise ValueError("is empty; a path is needed")
        if "\0" in text:
            raise ValueError("holds a zero byte, which no path can")
        if text.startswith("~"):
            raise ValueError(
                f'{quoted(text)} begins with "~", which only a shell understands; write the path out'
            )
        return Path(text)


class CertificateFile(FilePath):
    """A file with certificates."""

    def check(self, value: Path) -> None:
        from syncd.config.pem import read_certificates  # noqa: PLC0415 - large, and without TLS not needed

        read_certificates(value)


class KeyFile(FilePath):
    """A file with a private key."""

    def check(self, value: Path) -> None:
        from syncd.config.pem import read_key  # noqa: PLC0415 - as above

        read_key(value)


class PasswordFile(FilePath):
    """A file with a password."""

    def check(self, value: Path) -> None:
        read_password(value)


class SocketPath(FilePath):
    """Where a Unix socket is made; absolute, since readers are told the same path."""

    def read(self, text: str) -> Path:
        path = super().read(text)
        if not path.is_absolute():
            raise ValueError(f"{quoted(text)} should be an absolute path")
        length = len(os.fsencode(path))
        if length > SUN_PATH_BYTES:
            raise ValueError(
                f"is {length} bytes long; the path of a socket can have at most {SUN_PATH_BYTES}"
            )
        return path

    def check(self, value: Path) -> None:
        if os.path.isdir(value):  # noqa: PTH112 - unlike Path.is_dir, raises nothing where it may not look
            raise ValueError(f"{shown(value)} is a directory; the path of the socket itself is needed")


def _number(kind: Literal["user", "group"], name: str) -> int | None:
    """The number of the user or group of that name; None when there is no such name."""
    try:
        return pwd.getpwnam(name).pw_uid if kind == "user" else grp.getgrnam(name).gr_gid
    except KeyError:
        return None
    except (OSError, ValueError) as error:  # the name service is down; a name with a zero byte
        raise ValueError(f"the {kind} {quoted(name)} cannot be looked up: {error}") from error


def _is_host(text: str) -> bool:
    if ":" not in text:
        labels = text.removesuffix(".").split(".")
        # What DNS allows, and Python's IDNA encoding: 1 to 63 characters, none of them odd.
        return all(re.fullmatch(r"\w([\w-]{0,61}\w)?", label) for label in labels) and len(text) <= 253
    try:
        ipaddress.IPv6Address(text)
    except ValueError:
        return False
    return True
