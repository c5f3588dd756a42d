"""What a file may hold where a certificate or a key should be: what it is called, and what helps."""

from __future__ import annotations

CERTIFICATE = "a certificate"
KEY = "a private key"
ENCRYPTED_KEY = "an encrypted private key"
REQUEST = "a request for a certificate"
TRUSTED = "a certificate in OpenSSL's own format"
PKCS7 = "a PKCS #7 bundle"
PKCS12 = "a PKCS #12 bundle"

LABELS = {
    "CERTIFICATE": CERTIFICATE,
    "X509 CERTIFICATE": CERTIFICATE,
    "PRIVATE KEY": KEY,
    "RSA PRIVATE KEY": KEY,
    "EC PRIVATE KEY": KEY,
    "ENCRYPTED PRIVATE KEY": ENCRYPTED_KEY,
    "CERTIFICATE REQUEST": REQUEST,
    "NEW CERTIFICATE REQUEST": REQUEST,
    "TRUSTED CERTIFICATE": TRUSTED,
    "PKCS7": PKCS7,
    "X509 CRL": "a list of revoked certificates",
    "PUBLIC KEY": "a public key",
    "OPENSSH PRIVATE KEY": "a key for SSH",
    **dict.fromkeys(("DH PARAMETERS", "DSA PARAMETERS", "EC PARAMETERS"), "parameters of a key"),
}
"""What a block is, by its label (RFC 7468, and what openssl writes besides)."""

EXPECTED = {
    CERTIFICATE: "a file with one or more certificates in PEM",
    KEY: "a file with one private key in PEM, not encrypted",
}
"""What a file is named for."""

TOOL = {CERTIFICATE: "openssl x509", KEY: "openssl pkey"}
"""The command that looks at it."""

_EXCHANGED = (
    "name the other file; are those of certificate and key exchanged? What this one holds: grep BEGIN {}"
)
CURES = {
    (CERTIFICATE, KEY): _EXCHANGED,
    (CERTIFICATE, ENCRYPTED_KEY): _EXCHANGED,
    (KEY, CERTIFICATE): _EXCHANGED,
    (KEY, ENCRYPTED_KEY): "decrypt it, and name the result: openssl pkey -in {} -out {new}",
    (CERTIFICATE, REQUEST): "let the CA sign it, and name the result: "
    "openssl x509 -req -in {} -CA CA.pem -CAkey CA.key -copy_extensions copyall -days 365 -out {new}",
    (CERTIFICATE, TRUSTED): "convert it, and name the result: openssl x509 -in {} -out {new}",
    (CERTIFICATE, PKCS7): "convert it, and name the result: openssl pkcs7 -print_certs -in {} -out {new}",
}
"""What to do with a file that should hold the first, and holds the second: `{}`, or `{new}` in its place."""

DER_CURES = {
    (CERTIFICATE, CERTIFICATE): "convert it, and name the result: openssl x509 -inform der -in {} -out {new}",
    (KEY, KEY): "convert it, and name the result: openssl pkey -inform der -in {} -out {new}",
    (KEY, ENCRYPTED_KEY): "convert it, and name the result: openssl pkey -inform der -in {} -out {new}",
    (CERTIFICATE, PKCS12): "take it out, and name the result: openssl pkcs12 -in {} -nokeys -out {new}",
    (KEY, PKCS12): "take it out, and name the result: openssl pkcs12 -in {} -nocerts -nodes -out {new}",
}
"""The same of files in DER."""
