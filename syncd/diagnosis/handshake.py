"""A TLS handshake that notes everything and refuses nothing.

The daemon's own connections end with the first fault, and Python's `ssl` then shows nothing of the other
side. This one goes on, and keeps the chain of certificates, all that is wrong with it, the authorities from
which etcd wants a client's to be, and etcd's last words. It sends no secret: only a request for the version.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from contextlib import closing, suppress
from typing import TypeVar

from cryptography import x509
from OpenSSL import SSL, crypto

from syncd.config import TLS
from syncd.diagnosis.names import is_address
from syncd.diagnosis.sight import Fault, Handshake
from syncd.gateway.credentials import trusting

WRONG_NAME = (62, 64)
"""OpenSSL's X509_V_ERR_HOSTNAME_MISMATCH and …_IP_ADDRESS_MISMATCH."""

LONGEST_ANSWER = 64 << 10

T = TypeVar("T")


async def shake_hands(address: str, port: int, name: str, tls: TLS, request: bytes) -> Handshake:
    """Shake hands with whoever listens there as `tls` says, expecting `name`, and send `request`.

    The request is needed: with TLS 1.3, etcd refuses a client's certificate only after the handshake. It has
    no deadline of its own.
    """
    faults: list[Fault] = []
    try:
        connection = SSL.Connection(_context(tls, faults), None)
    except SSL.Error as error:  # they were good when the configuration was read
        return Handshake(failed=f"the certificate files cannot be used: {_reason(error)}")
    if not is_address(name):  # which is no name to ask for
        connection.set_tlsext_host_name(name.encode("idna"))
    connection.set_connect_state()
    alert = failed = ""
    answer = b""
    try:
        reader, writer = await asyncio.open_connection(address, port)
        with closing(writer):
            pump = _Pump(connection, reader, writer)
            await pump.until(connection.do_handshake)
            connection.sendall(request)
            answer = await pump.until(lambda: connection.recv(LONGEST_ANSWER))
    except SSL.Error as error:
        before, is_alert, words = _reason(error).partition("alert ")
        alert, failed = (words, "") if is_alert else ("", before)
    except OSError as error:
        failed = error.strerror or str(error) or "it was cut"
    chain = tuple(connection.get_peer_cert_chain(as_cryptography=True) or ())
    return Handshake(
        protocol=connection.get_protocol_version_name() if chain else "",
        chain=chain,
        faults=tuple(faults),
        wrong_name=bool(chain) and await _is_for_others(address, port, name, chain[0], tls),
        authorities=_authorities(connection),
        alert=alert,
        failed=failed,
        answer=answer,
    )


class _Pump:
    """Carries TLS's bytes to and fro."""

    def __init__(
        self, connection: SSL.Connection, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._connection = connection
        self._reader = reader
        self._writer = writer

    async def until(self, step: Callable[[], T]) -> T:
        """Do so until `step` has what it needs."""
        while True:
            try:
                return step()
            except SSL.WantReadError:
                self._flush()
                data = await self._reader.read(LONGEST_ANSWER)
                if not data:
                    raise ConnectionResetError("it was cut") from None
                self._connection.bio_write(data)
            finally:
                self._flush()

    def _flush(self) -> None:
        with suppress(SSL.WantReadError):
            while True:
                self._writer.write(self._connection.bio_read(LONGEST_ANSWER))


def _context(tls: TLS, faults: list[Fault]) -> SSL.Context:
    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    context.set_min_proto_version(SSL.TLS1_2_VERSION)
    if tls.ca_file:
        context.load_verify_locations(str(tls.ca_file))
    else:
        context.set_default_verify_paths()
    # As the daemon trusts (gateway/credentials.py): an intermediate authority by itself, too.
    if store := context.get_cert_store():
        store.set_flags(crypto.X509StoreFlags.PARTIAL_CHAIN)
    if tls.cert_file and tls.key_file:
        context.use_certificate_chain_file(str(tls.cert_file))
        context.use_privatekey_file(str(tls.key_file))

    def note(_: SSL.Connection, certificate: crypto.X509, number: int, depth: int, good: int) -> bool:
        if not good:
            faults.append(Fault(number, depth, certificate.to_cryptography()))
        return True

    context.set_verify(SSL.VERIFY_PEER, note)
    return context


async def _is_for_others(address: str, port: int, name: str, certificate: x509.Certificate, tls: TLS) -> bool:
    """Whether Python's `ssl` finds that `certificate` is for another than `name`, were it trusted.

    OpenSSL looks at the name before it looks at the dates, so that is all that can come of it.
    """
    context = trusting((certificate,))
    try:
        if tls.cert_file:  # not needed for this, but etcd's log would tell of a client without one
            context.load_cert_chain(tls.cert_file, tls.key_file)
        _, writer = await asyncio.open_connection(address, port, ssl=context, server_hostname=name)
    except ssl.SSLCertVerificationError as error:
        return error.verify_code in WRONG_NAME
    except OSError:
        return False  # etcd refuses us, but only after the name was looked at
    writer.close()
    return False


def _authorities(connection: SSL.Connection) -> tuple[x509.Name, ...]:
    try:
        return tuple(connection.get_client_ca_list(as_cryptography=True))
    except ValueError:  # OpenSSL takes names that are badly encoded
        return ()


def _reason(error: SSL.Error) -> str:
    """OpenSSL's words, such as `tlsv13 alert certificate required`; none when the connection was just cut."""
    return "; ".join(str(each[2]) for each in error.args[0]) if error.args else "it was cut"
