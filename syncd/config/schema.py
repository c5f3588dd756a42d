"""The configuration as frozen values: every key, its type, its bounds and its default, once.

`reader.py` walks these structs, so that a key added here is read, checked and suggested. What is written
beside a type (`Duration`, `Size`, …) says how the value stands in the file.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from syncd.config.notation import (
    Address,
    CertificateFile,
    Count,
    Duration,
    EndpointUrl,
    FileMode,
    FilePath,
    Flag,
    GroupName,
    HostName,
    KeyFile,
    ListenAddress,
    NameOrNumber,
    PasswordFile,
    Percentage,
    Size,
    SocketPath,
    Text,
)
from syncd.keyrange import KeyRange

Endpoint = Annotated[str, EndpointUrl()]
Group = Annotated[str, GroupName()]
Name = Annotated[str, Text()]
Prefix = Annotated[str, Text(may_be_empty=True)]


class TLS(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How etcd is authenticated, and how syncd authenticates itself; good PEM files when it was loaded."""

    ca_file: Annotated[Path, CertificateFile()] | None = None
    cert_file: Annotated[Path, CertificateFile()] | None = None
    key_file: Annotated[Path, KeyFile()] | None = None
    server_name: Annotated[str, HostName()] | None = None


class Timeouts(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """In seconds."""

    connect: Annotated[float, Duration("10ms", "10m")] = 2.0
    request: Annotated[float, Duration("10ms", "10m")] = 10.0
    heartbeat: Annotated[float, Duration("100ms", "10m")] = 5.0


class Etcd(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where etcd is. `endpoints` are `scheme://host[:port]`, all of one scheme, without a final slash.

    When `user` is set, so is `password_file`: systemd's credential stands there when the file names none.
    """

    endpoints: tuple[Endpoint, ...] = ("http://127.0.0.1:2379",)
    api_prefix: Literal["auto", "/v3", "/v3beta", "/v3alpha"] = "auto"
    duplex: Literal["auto", "on", "off"] = "auto"
    user: Name | None = None
    password_file: Annotated[Path, PasswordFile()] | None = None
    tls: TLS = msgspec.field(default_factory=TLS)
    timeouts: Timeouts = msgspec.field(default_factory=Timeouts)


class Guard(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How much a range may shrink before somebody must say that this is right; None: to nothing."""

    max_shrink: Annotated[float, Percentage()] | None = None


class RangeEntry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a range is written: `prefix`, or `key`, or `key` and `range_end`; with a guard, or without."""

    prefix: Prefix | msgspec.UnsetType = msgspec.UNSET
    key: Name | msgspec.UnsetType = msgspec.UNSET
    range_end: Name | msgspec.UnsetType = msgspec.UNSET
    guard: Guard = msgspec.field(default_factory=Guard)


class Sync(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`page_bytes`: how much one page of a full read may weigh, as etcd counts it."""

    page_bytes: Annotated[int, Size("16KiB", "64MiB")] = 2 << 20


class History(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How much of each range's past is kept for readers that resume; whichever bound is met first."""

    events: Annotated[int, Count(0, 100_000_000)] = 100_000
    bytes: Annotated[int, Size("0B", "64GiB")] = 64 << 20


class Cache(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`directory`: where the mirror outlives a restart; None for nowhere."""

    directory: Annotated[Path, FilePath()] | None = Path("/var/lib/syncd")


class Access(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who may read which prefixes: users and members of groups, by number; everybody, if it names none."""

    users: tuple[Annotated[int, NameOrNumber("user")], ...] = ()
    groups: tuple[Annotated[int, NameOrNumber("group")], ...] = ()
    prefixes: tuple[Prefix, ...]


class ServeTLS(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What `listen` shows, and whom it lets in: all three or none; good PEM files when it was loaded."""

    cert_file: Annotated[Path, CertificateFile()] | None = None
    key_file: Annotated[Path, KeyFile()] | None = None
    client_ca_file: Annotated[Path, CertificateFile()] | None = None


class Serve(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The Unix socket; `mode` are its permission bits. Without rules of access, they decide alone.

    `listen` is a second listener; without `tls`, it is on loopback. With `write_through`, etcd is written to.
    """

    socket: Annotated[Path, SocketPath()] = Path("/run/syncd/syncd.sock")
    mode: Annotated[int, FileMode()] = 0o660
    group: Group | None = None
    access: tuple[Access, ...] = ()
    listen: Annotated[Address, ListenAddress()] | None = None
    tls: ServeTLS = msgspec.field(default_factory=ServeTLS)
    write_through: Annotated[bool, Flag()] = False


class Log(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`format` auto is console on a terminal, JSON otherwise."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["auto", "console", "json"] = "auto"


class Config(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The whole configuration. `ranges` are not empty, do not overlap, and stand in the file's order."""

    etcd: Etcd = msgspec.field(default_factory=Etcd)
    ranges: tuple[KeyRange, ...]
    sync: Sync = msgspec.field(default_factory=Sync)
    history: History = msgspec.field(default_factory=History)
    cache: Cache = msgspec.field(default_factory=Cache)
    serve: Serve = msgspec.field(default_factory=Serve)
    log: Log = msgspec.field(default_factory=Log)
    guards: Mapping[KeyRange, float] = {}
    """How much the guarded ranges may shrink, from 0.0 to 1.0. Stands with the ranges in the file."""


DERIVED = {"guards"}
"""Fields of Config that are no keys of the file."""
