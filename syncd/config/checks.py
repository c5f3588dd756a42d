"""What a single value cannot show: whether the keys agree with each other.

A check looks only at values that are good in themselves, so that one mistake is not told twice.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from syncd.config.draft import Draft
from syncd.config.files import Unusable, read_password
from syncd.config.ranges import check_overlaps
from syncd.config.schema import TLS, ServeTLS

CREDENTIAL = "etcd-password"
"""The name of the password among systemd's credentials (systemd.exec(5), LoadCredential=)."""


def check(draft: Draft, environ: Mapping[str, str]) -> None:
    """Note in the draft where the keys contradict each other."""
    _check_endpoints(draft)
    _check_tls(draft)
    _check_user(draft, environ)
    if draft.values.get("ranges") == ():
        draft.wrong("ranges", "at least one range is needed")
    check_overlaps(draft)
    _check_access(draft)
    _check_listen(draft)


def systemd_password(environ: Mapping[str, str]) -> Path | None:
    """Where systemd put the password for etcd, None when it was given none."""
    directory = environ.get("CREDENTIALS_DIRECTORY")
    if not directory:
        return None
    file = Path(directory) / CREDENTIAL
    return file if os.path.lexists(file) else None


def _check_endpoints(draft: Draft) -> None:
    if draft.values.get("etcd.endpoints") == ():
        draft.wrong("etcd.endpoints", "at least one endpoint is needed")
    first: dict[tuple[str | None, int | None], str] = {}
    for path, url in draft.items("etcd.endpoints"):
        parts = urlsplit(url)
        member = parts.hostname, parts.port or {"http": 80, "https": 443}[parts.scheme]
        if member in first:
            draft.wrong(path, f"names the same host and port as {draft.place(first[member])}")
        first.setdefault(member, path)
    if len({urlsplit(url).scheme for _, url in draft.items("etcd.endpoints")}) > 1:
        draft.wrong("etcd.endpoints", "mixes http and https; use one of them for all endpoints")


def _check_tls(draft: Draft) -> None:
    endpoints = draft.values.get("etcd.endpoints", ())
    if endpoints and all(urlsplit(url).scheme == "http" for url in endpoints):
        for field in msgspec.structs.fields(TLS):
            if draft.values.get(path := f"etcd.tls.{field.name}") is not None:
                draft.wrong(
                    path, "has no effect while every endpoint is http; use https endpoints or remove it"
                )
    _check_both(draft, "etcd.tls.cert_file", "etcd.tls.key_file")
    _check_both(draft, "etcd.tls.key_file", "etcd.tls.cert_file")
    _check_pair(draft, "etcd.tls")


def _check_user(draft: Draft, environ: Mapping[str, str]) -> None:
    _check_both(draft, "etcd.password_file", "etcd.user")
    credential = systemd_password(environ)
    if credential is None:
        _check_both(
            draft, "etcd.user", "etcd.password_file", f", or the credential {CREDENTIAL} from systemd"
        )
    elif draft.values.get("etcd.user") and draft.values.get("etcd.password_file", "mistaken") is None:
        try:
            read_password(credential)
        except Unusable as error:
            draft.unusable("etcd.user", error)


def _check_access(draft: Draft) -> None:
    for path in [path for path, value in draft.values.items() if value == () and path in draft.lines]:
        if re.fullmatch(r"serve\.access\[\d+\]\.prefixes", path):
            draft.wrong(path, "at least one prefix is needed")
        elif re.fullmatch(r"serve\.access\[\d+\]\.(users|groups)", path):
            # An empty list that a template made must not open to all what was meant for a few.
            draft.wrong(path, "names nobody; leave it out if the rule is for everybody")


def _check_listen(draft: Draft) -> None:
    files = [f"serve.tls.{field.name}" for field in msgspec.structs.fields(ServeTLS)]
    named = [path for path in files if draft.values.get(path, "mistaken") is not None]
    if named:
        for path in files:
            if path not in named:
                draft.wrong(path, f"missing, as {draft.place(named[0])} is there; TLS needs all three")
        if draft.values.get("serve.listen", "mistaken") is None:
            draft.wrong("serve.tls", "has no effect without serve.listen")
        _check_pair(draft, "serve.tls")
        return
    address = draft.values.get("serve.listen")
    if address and not address.loopback:
        draft.wrong(
            "serve.listen",
            f"{address} can be reached from other machines, by anybody; use 127.0.0.1 or [::1], or have "
            "clients show certificates, with serve.tls",
        )


def _check_pair(draft: Draft, section: str) -> None:
    """Note it when the `key_file` of that section is not that of its `cert_file`."""
    certificate, key = (draft.values.get(f"{section}.{name}") for name in ("cert_file", "key_file"))
    if certificate and key:
        import ssl  # noqa: PLC0415 - these are large, and without TLS not needed

        from syncd.config.openssl import show  # noqa: PLC0415
        from syncd.config.pem import check_pair  # noqa: PLC0415

        try:
            check_pair(certificate, key)
            show(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), certificate, key)
        except Unusable as error:
            draft.unusable(f"{section}.key_file", error)


def _check_both(draft: Draft, path: str, needed: str, instead: str = "") -> None:
    """Note a key that is given at `path` while the one it needs is not."""
    if draft.values.get(path) is not None and draft.values.get(needed, "mistaken") is None:
        draft.wrong(path, f"needs {needed} too{instead}")
