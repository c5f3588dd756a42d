"""What files may hold: keys and certificates in every form, and what is neither."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa, x25519
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    pkcs7,
    pkcs12,
)
from cryptography.x509.oid import NameOID

from syncd.config.pem import PrivateKey

PASSPHRASE = b"battery staple"
PKCS8, TRADITIONAL = PrivateFormat.PKCS8, PrivateFormat.TraditionalOpenSSL

EC = ec.generate_private_key(ec.SECP256R1())
RSA = rsa.generate_private_key(65537, 1024)  # a small one is quick to make
KEYS = {
    "EC": EC,
    "RSA": RSA,
    "Ed25519": ed25519.Ed25519PrivateKey.generate(),
    "Ed448": ed448.Ed448PrivateKey.generate(),
}


def key_file(key: Any, form: PrivateFormat = PKCS8, encoding: Encoding = Encoding.PEM) -> bytes:
    """A key as a file holds it."""
    data: bytes = key.private_bytes(encoding, form, NoEncryption())
    return data


def encrypted(form: PrivateFormat = PKCS8, encoding: Encoding = Encoding.PEM) -> bytes:
    """A key as a file holds it for those who know the passphrase."""
    return EC.private_bytes(encoding, form, BestAvailableEncryption(PASSPHRASE))


def certificate(key: PrivateKey = EC, common_name: str = "somebody", *names: str) -> x509.Certificate:
    """Sign a certificate for the key, with the key itself; it has the serial number 0xBEEF."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)] if common_name else [])
    now, day = datetime.now(UTC), timedelta(days=1)
    builder = x509.CertificateBuilder(name, name, key.public_key(), 0xBEEF, now - day, now + day)
    if names:
        alternatives = [
            x509.IPAddress(ip_address(text)) if text[0].isdigit() else x509.DNSName(text) for text in names
        ]
        builder = builder.add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
    pure = isinstance(key, ed25519.Ed25519PrivateKey | ed448.Ed448PrivateKey)
    return builder.sign(key, None if pure else hashes.SHA256())


CERTIFICATE = certificate()
CERTIFICATE_PEM = CERTIFICATE.public_bytes(Encoding.PEM)
CERTIFICATE_DER = CERTIFICATE.public_bytes(Encoding.DER)
REQUEST_PEM = (
    x509.CertificateSigningRequestBuilder(CERTIFICATE.subject)
    .sign(EC, hashes.SHA256())
    .public_bytes(Encoding.PEM)
)
TRUSTED_PEM = CERTIFICATE_PEM.replace(b" CERTIFICATE", b" TRUSTED CERTIFICATE")
PKCS7_PEM = pkcs7.serialize_certificates([CERTIFICATE], Encoding.PEM)
PKCS12 = pkcs12.serialize_key_and_certificates(
    b"x", EC, CERTIFICATE, None, BestAvailableEncryption(PASSPHRASE)
)
PUBLIC_PEM = EC.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
PARAMETERS = b"-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n"
X25519_PEM = key_file(x25519.X25519PrivateKey.generate())

CUT = CERTIFICATE_PEM[:-40]
BROKEN = CERTIFICATE_PEM[:70] + b"!!!!" + CERTIFICATE_PEM[74:]
NO_DER = CERTIFICATE_PEM[:28] + b"AAAA" + CERTIFICATE_PEM[32:]
BROKEN_KEY = key_file(EC)[:40] + b"!!!!" + key_file(EC)[44:]
