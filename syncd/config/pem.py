"""Certificates and keys in PEM, read from files; whatever stands there instead is called by its name.

Import this only where a certificate or key is configured: `cryptography` costs 8 MB and 60 ms. OpenSSL, which
reads them for the connections, says of a bad one no more than "PEM lib"; here it only has the last word.
"""

from __future__ import annotations

import re
import ssl
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import RLock
from typing import NamedTuple, TypeVar

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_der_private_key,
    load_pem_private_key,
)
from cryptography.x509.oid import NameOID

from syncd.config.errors import quoted, shown
from syncd.config.files import Unusable, in_shell, read_file
from syncd.config.kinds import (
    CERTIFICATE,
    CURES,
    DER_CURES,
    ENCRYPTED_KEY,
    EXPECTED,
    KEY,
    LABELS,
    PKCS12,
    TOOL,
)
from syncd.config.openssl import trust

PrivateKey = (
    rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | ed448.Ed448PrivateKey
)
"""The keys that sign for TLS."""

Extension = TypeVar("Extension", bound=x509.ExtensionType)

TITLE_CHARACTERS = 100

_NOT_UNDERSTOOD = (
    ValueError,
    x509.InvalidVersion,
    x509.ExtensionNotFound,
    x509.DuplicateExtension,
    x509.UnsupportedGeneralNameType,  # OpenSSL and etcd know more kinds of names
)
"""What `cryptography` raises where a certificate is not as it expects; no class is common to them."""

_MARK = re.compile(rb"^-----(BEGIN|END) ([ -~]{1,60})-----[ \t\r]*$", re.MULTILINE)
_PKCS12 = re.compile(rb"\x30(?:[\x00-\x7f]|\x81.|\x82..|\x83...)\x02\x01\x03", re.DOTALL)
"""How a PKCS #12 bundle begins: a sequence, and in it the version, 3 (RFC 7292)."""


def read_certificates(path: Path) -> tuple[x509.Certificate, ...]:
    """Return all certificates of the file, at least one; Unusable when there is none, or a damaged one."""
    file = _File(path, CERTIFICATE)
    blocks = list(file.blocks())
    of_certificates = [block for block in blocks if block.kind == CERTIFICATE]
    if not of_certificates:
        raise file.without(blocks)
    certificates = tuple(_certificate(file, block) for block in of_certificates)
    refused = trust(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), certificates)
    if refused is not None:
        raise file.damaged(of_certificates[refused], "OpenSSL cannot read")
    return certificates


def read_key(path: Path) -> PrivateKey:
    """Return the first private key of the file, which OpenSSL takes too; Unusable when TLS cannot use it."""
    file = _File(path, KEY)
    blocks = list(file.blocks())
    block = next((block for block in blocks if block.kind in {KEY, ENCRYPTED_KEY}), None)
    if block is None:
        raise file.without(blocks)
    if block.kind == ENCRYPTED_KEY:
        raise file.unusable("tls.key_encrypted", f"holds {ENCRYPTED_KEY}", CURES[KEY, ENCRYPTED_KEY])
    try:
        # To look for errors in the primes would take 0.2 s with 4096 bits; OpenSSL doesn't do so, either.
        key = load_pem_private_key(block.text, password=None, unsafe_skip_rsa_key_validation=True)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise file.damaged(block, "cannot be understood") from error
    if not isinstance(key, PrivateKey):
        found = f"holds a private key of a kind that TLS cannot use ({type(key).__name__})"
        cure = "have a certificate made for another key: openssl genpkey -algorithm ed25519 -out {new}"
        raise file.unusable("file.wrong_kind", found, cure)
    return key


def check_pair(certificate_path: Path, key_path: Path) -> None:
    """Raise Unusable when the key is not that of the first certificate, or one of the files is unusable."""
    certificates, key = read_certificates(certificate_path), read_key(key_path)
    wanted = _spki(key)
    owned = [number for number, certificate in enumerate(certificates, 1) if _spki(certificate) == wanted]
    if 1 in owned:
        return
    certificate = in_shell(certificate_path)
    if owned:
        found = f"is the key of certificate {owned[0]}, not of the first one"
        cure = f"move that certificate to the beginning: openssl storeutl -noout -text -certs {certificate}"
    else:
        found = "holds another key"
        cure = (
            "name the key that was made with the certificate, so that both print the same: "
            f"openssl x509 -noout -pubkey -in {certificate}; openssl pkey -pubout -in {in_shell(key_path)}"
        )
    expected = f"the key of the certificate in {shown(certificate_path)}"
    raise Unusable("tls.key_mismatch", key_path, found, expected=expected, cure=cure)


def title(certificate: x509.Certificate) -> str:
    """Return what people call it: its CommonName, else the names it is for, else its serial number.

    Printable, and at most TITLE_CHARACTERS long.
    """
    with _lenient():
        text = _common_name(certificate) or _alternative_names(certificate)
        text = text or f"serial number {certificate.serial_number:X}"
    text = "".join(character if character.isprintable() else "?" for character in text)
    return text if len(text) <= TITLE_CHARACTERS else text[: TITLE_CHARACTERS - 1] + "…"


def extension(certificate: x509.Certificate, kind: type[Extension]) -> Extension | None:
    """The extension of this kind; None when it has none, or one among its extensions is not understood."""
    try:
        with _lenient():
            return certificate.extensions.get_extension_for_class(kind).value
    except _NOT_UNDERSTOOD:
        return None


class _Block(NamedTuple):
    """A part of a file from its BEGIN, on `line`, to its END."""

    kind: str
    line: int
    text: bytes


class _File:
    """A file that is to hold `kind` in PEM; knows how to say what it is instead, and how to mend that."""

    def __init__(self, path: Path, kind: str) -> None:
        self._path = path
        self._kind = kind
        self._data = read_file(path, expected=EXPECTED[kind])

    def blocks(self) -> Iterator[_Block]:
        """Yield the blocks, whatever text stands around them; Unusable when one has no end."""
        data = self._data.removeprefix(
            b"\xef\xbb\xbf"
        )  # some editors put it there, and OpenSSL passes it over
        line, counted, begin = 1, 0, None
        for mark in _MARK.finditer(data):
            if begin is None and mark[1] == b"BEGIN":
                line += data.count(b"\n", counted, mark.start())
                begin, counted = mark, mark.start()
            elif begin is not None:
                if (mark[1], mark[2]) != (b"END", begin[2]):
                    break
                yield _Block(_kind(begin), line, data[begin.start() : mark.end()])
                begin = None
        if begin is not None:
            raise self.damaged(_Block(_kind(begin), line, b""), "is cut off")

    def unusable(self, code: str, found: str, cure: str) -> Unusable:
        new = in_shell(self._path.with_name(self._path.name + ".new"))
        cure = cure.format(in_shell(self._path), new=new)
        return Unusable(code, self._path, found, expected=EXPECTED[self._kind], cure=cure)

    def damaged(self, block: _Block, how: str) -> Unusable:
        openssl = f"sed -n '{block.line},/-----END/p' {{}} | {TOOL[self._kind]} -noout"
        cure = f"copy it again from where it was made; what openssl says: {openssl}"
        return self.unusable("file.not_pem", f"holds {block.kind} (line {block.line}) that {how}", cure)

    def without(self, blocks: list[_Block]) -> Unusable:
        """What to say when none of the blocks is what the file is named for."""
        if blocks:
            kinds = list(dict.fromkeys(block.kind for block in blocks))
            known = (CURES[self._kind, kind] for kind in kinds if (self._kind, kind) in CURES)
            cure = next(known, "name another file; what this one holds: grep BEGIN {}")
            return self.unusable("file.wrong_kind", f"holds {' and '.join(kinds[:3])}", cure)
        kind = _der_kind(self._data)
        cure = DER_CURES.get((self._kind, kind), "name another file; what this one is: od -c {} | head")
        found = f"holds {kind}, in DER" if kind else 'has no line "-----BEGIN …-----"'
        return self.unusable("file.not_pem", found, cure)


def _certificate(file: _File, block: _Block) -> x509.Certificate:
    try:
        with _lenient():
            return x509.load_pem_x509_certificate(block.text)
    except _NOT_UNDERSTOOD as error:
        raise file.damaged(block, "cannot be understood") from error


_one_at_a_time = RLock()


@contextmanager
def _lenient() -> Iterator[None]:
    """No warnings of what is odd: among the authorities that machines trust, one has the serial number 0."""
    with _one_at_a_time, warnings.catch_warnings():  # which sets aside the filters of all threads
        warnings.simplefilter("ignore")
        yield


def _kind(begin: re.Match[bytes]) -> str:
    label = begin[2].decode()
    after = begin.string[begin.end() : begin.end() + 40].lstrip()
    if after.startswith(b"Proc-Type: 4,ENCRYPTED"):  # as `openssl rsa -aes128 -traditional` writes it
        return ENCRYPTED_KEY
    return LABELS.get(label, f"a block {quoted(label)}")


def _der_kind(data: bytes) -> str:
    """What DER this is, empty when it is none that is known."""
    if _PKCS12.match(data):
        return PKCS12
    try:
        x509.load_der_x509_certificate(data)
    except _NOT_UNDERSTOOD:
        pass
    else:
        return CERTIFICATE
    try:
        load_der_private_key(data, password=None, unsafe_skip_rsa_key_validation=True)
    except TypeError:  # it needs a password
        return ENCRYPTED_KEY
    except (ValueError, UnsupportedAlgorithm):
        return ""
    return KEY


def _spki(owner: x509.Certificate | PrivateKey) -> bytes | None:
    """The public key, so that it can be compared; None when it is of a kind that nobody can use."""
    try:
        key = owner.public_key()
    except (ValueError, UnsupportedAlgorithm):
        return None
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _common_name(certificate: x509.Certificate) -> str:
    try:
        names = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    except ValueError:  # the name is not encoded as names are
        return ""
    return next((str(name.value) for name in names if name.value), "")


def _alternative_names(certificate: x509.Certificate) -> str:
    names = extension(certificate, x509.SubjectAlternativeName)
    if names is None:
        return ""
    hosts = names.get_values_for_type(x509.DNSName)
    return ", ".join([*hosts, *(str(ip) for ip in names.get_values_for_type(x509.IPAddress))])
