"""TLS context and password, read from the configured files, here and nowhere else.

Reading again is one call, and no secret gets into an error text.
"""

from __future__ import annotations

import ssl

from syncd.config import Etcd
from syncd.gateway.errors import CredentialsUnusable


class Credentials:
    """What a connection needs to be let in; `reload` reads every file again."""

    def __init__(self, etcd: Etcd) -> None:
        self._etcd = etcd
        self.context: ssl.SSLContext | None = None
        self.password: str | None = None
        self.reload()

    def reload(self) -> None:
        """Read certificates and password; raises CredentialsUnusable and then changes nothing."""
        context, password = self._load_context(), self._load_password()
        self.context, self.password = context, password

    @property
    def server_name(self) -> str | None:
        """The name to expect in etcd's certificate instead of the endpoint's host."""
        return self._etcd.tls.server_name

    def _load_context(self) -> ssl.SSLContext | None:
        tls, endpoint = self._etcd.tls, self._etcd.endpoints[0]
        if not endpoint.startswith("https:"):
            return None
        try:
            context = ssl.create_default_context(cafile=tls.ca_file)
        except (OSError, ssl.SSLError) as error:
            raise CredentialsUnusable(endpoint, f"etcd.tls.ca_file {tls.ca_file}: {error}") from error
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if tls.cert_file:
            try:
                context.load_cert_chain(tls.cert_file, tls.key_file, password=_no_passphrase)
            except (OSError, ssl.SSLError, ValueError) as error:
                raise CredentialsUnusable(
                    endpoint, f"etcd.tls.cert_file {tls.cert_file} with key_file {tls.key_file}: {error}"
                ) from error
        return context

    def _load_password(self) -> str | None:
        etcd = self._etcd
        path = etcd.password_file
        if etcd.user is None or path is None:
            return None
        try:
            return path.read_text("utf-8").rstrip("\r\n")
        except (OSError, UnicodeDecodeError) as error:
            raise CredentialsUnusable(etcd.endpoints[0], f"the password file {path}: {error}") from error


def _no_passphrase() -> str:
    """Without this, OpenSSL would ask for one on the terminal."""
    raise ValueError("the key is encrypted; syncd has no passphrase to give, store it unencrypted")
