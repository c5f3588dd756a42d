"""Certificates and password, read from the configured files, here and nowhere else.

What is in use and what is in the files are two things: files are read again when rotation.py wants it, and
what was read replaces what is in use only when it is good. No secret gets into an error's text, nor a `repr`.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from copy import copy
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

from syncd.config import Etcd
from syncd.config.files import Unusable, read_password, readable_by_others
from syncd.gateway.errors import FileUnusable

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

State = tuple[int, ...]


class Files:
    """Files that belong together, and whether they are still those that were read."""

    def __init__(self, *paths: Path | None) -> None:
        self.paths = tuple(path for path in paths if path)
        self._read = self._seen = self._state()

    def begin(self) -> None:
        """They are about to be read: what changes from here on is another change."""
        self._read = self._seen = self._state()

    def changed(self) -> bool:
        """Look at them: whether they are others than those that were read, and the same as at the last look.

        Somebody may be at work: a certificate and its key are never replaced in the same instant.
        """
        before, self._seen = self._seen, self._state()
        return self._seen == before != self._read

    def _state(self) -> tuple[State, ...]:
        return tuple(map(_state, self.paths))


def _state(path: Path) -> State:
    try:
        # Links are followed: Kubernetes replaces a directory of files by turning a link to another one.
        status = path.stat()
    except OSError as error:
        return (error.errno or -1,)
    # The change time tells what the others do not: `chmod`, and `cp -p` over a file of the same size.
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


@dataclass(frozen=True, slots=True)
class Certificates:
    """Whom to trust and what to show. Two are equal when they hold the same, wherever it was read from.

    `authorities` is what etcd.tls.ca_file holds, empty when the system's are trusted; `own` what is in
    etcd.tls.cert_file: syncd's certificate first, then those that lead to its authority. `trusted` is a
    digest of all authorities that the context has.
    """

    context: ssl.SSLContext = field(compare=False, repr=False)
    authorities: tuple[Certificate, ...]
    own: tuple[Certificate, ...]
    trusted: bytes = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Look into the context."""
        trusted = sha256(b"".join(sorted(self.context.get_ca_certs(binary_form=True)))).digest()
        object.__setattr__(self, "trusted", trusted)


class Credentials:
    """What a connection needs to be let in: `certificates` (None: http) and `password` are those in use.

    FileUnusable when a file is not what it should be.
    """

    def __init__(self, etcd: Etcd) -> None:
        self._etcd = etcd
        tls = etcd.tls
        secured = etcd.endpoints[0].startswith("https:")
        of_system = _of_system() if secured and not tls.ca_file else ()
        self.certificate_files = Files(tls.ca_file, *of_system, tls.cert_file, tls.key_file)
        self.password_files = Files(etcd.password_file)
        self.certificates = self.read_certificates()
        self.password = self.read_password()

    @property
    def context(self) -> ssl.SSLContext | None:
        """What secures a connection that is made now; None: http."""
        return self.certificates.context if self.certificates else None

    @property
    def server_name(self) -> str | None:
        """The name to expect in etcd's certificate instead of the endpoint's host."""
        return self._etcd.tls.server_name

    def holding(self, certificates: Certificates) -> Credentials:
        """The same with other certificates: to try them."""
        other = copy(self)
        other.certificates = certificates
        return other

    def read_certificates(self) -> Certificates | None:
        """Read the certificates and the key again; changes nothing of what is in use."""
        self.certificate_files.begin()
        if not self._etcd.endpoints[0].startswith("https:"):
            return None
        # Not at the top: this needs `cryptography`, which a daemon without TLS has no use for.
        from syncd.config import openssl, pem  # noqa: PLC0415

        tls = self._etcd.tls
        authorities: tuple[Certificate, ...] = ()
        own: tuple[Certificate, ...] = ()
        if tls.ca_file:
            with self._named("etcd.tls.ca_file"):
                authorities = pem.read_certificates(tls.ca_file)
        context = trusting(authorities)
        if tls.cert_file and tls.key_file:
            with self._named("etcd.tls.cert_file"):
                own = pem.read_certificates(tls.cert_file)
            with self._named("etcd.tls.key_file"):
                pem.check_pair(tls.cert_file, tls.key_file)
                openssl.show(context, tls.cert_file, tls.key_file)
        return Certificates(context, authorities, own)

    def read_password(self) -> str | None:
        """Read the password again; changes nothing of what is in use."""
        self.password_files.begin()
        if self._etcd.user is None or self._etcd.password_file is None:
            return None
        with self._named("etcd.password_file"):
            return read_password(self._etcd.password_file)

    def exposed(self) -> dict[Path, str]:
        """The files with a secret that others can read or write, with their modes, such as 0644."""
        found = {}
        for path in (self._etcd.tls.key_file, self._etcd.password_file):
            try:
                mode = path and readable_by_others(path)
            except Unusable:
                continue  # reading it tells more
            if path and mode:
                found[path] = mode
        return found

    @contextmanager
    def _named(self, key: str) -> Iterator[None]:
        """Say which key of the configuration names a file that is unusable."""
        try:
            yield
        except Unusable as error:
            raise FileUnusable(
                self._etcd.endpoints[0],
                f"{key}: {error}",
                code=error.code,
                path=error.path,
                cure=error.cure,
            ) from error


def _of_system() -> Iterator[Path]:
    """The file and the directories in which OpenSSL finds the authorities that the system trusts."""
    paths = ssl.get_default_verify_paths()  # it leaves out those that are not there, yet
    file = os.environ.get(paths.openssl_cafile_env, paths.openssl_cafile)
    directories = os.environ.get(paths.openssl_capath_env, paths.openssl_capath)
    return (Path(path) for path in (file, *directories.split(os.pathsep)) if path)


def trusting(authorities: Sequence[Certificate]) -> ssl.SSLContext:
    """A context that trusts `authorities`, each of which OpenSSL can read; none: those of the system."""
    if authorities:
        from syncd.config.openssl import trust  # noqa: PLC0415 - as above

        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        # From what was checked, not from the file again, which may be another one by now.
        trust(context, authorities)
    else:
        context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # As etcdctl does, on every version of Python: an intermediate authority may be trusted by itself, and
    # none needs the key identifiers that 3.13 began to demand.
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    return context
