"""From a file to a `Config`, or to every mistake in it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import msgspec

from syncd.config.checks import check, systemd_password
from syncd.config.document import DocumentError, read_document
from syncd.config.errors import ConfigError, Mistake
from syncd.config.ranges import guards
from syncd.config.reader import read
from syncd.config.schema import Config


def load(path: Path, environ: Mapping[str, str] = os.environ) -> Config:
    """Read and check the configuration file; ConfigError with all its mistakes when it cannot be used.

    Relative paths in the file start at the file's own directory. A user without `password_file` gets the
    credential `etcd-password` that systemd passes by `CREDENTIALS_DIRECTORY` in `environ`.
    """
    try:
        root = read_document(path)
    except DocumentError as error:
        raise ConfigError(path, (Mistake("", error.line, error.message),)) from error
    draft = read(root, path.absolute().parent)
    check(draft, environ)
    if draft.mistakes:
        in_file_order = sorted(draft.mistakes, key=lambda mistake: (mistake.line or 0, mistake.path))
        raise ConfigError(path, tuple(in_file_order))
    config: Config = msgspec.structs.replace(draft.values[""], guards=guards(draft))
    if config.etcd.user is None or config.etcd.password_file is not None:
        return config
    etcd = msgspec.structs.replace(config.etcd, password_file=systemd_password(environ))
    return msgspec.structs.replace(config, etcd=etcd)
