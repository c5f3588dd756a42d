"""Commands for cures: complete, with what is configured, and quoted, so that they can be pasted. Pure."""

from __future__ import annotations

import shlex
from urllib.parse import urlsplit

from syncd.config import Etcd
from syncd.config.files import in_shell


def etcdctl(etcd: Etcd, *urls: str, root: bool = False) -> str:
    """The beginning of an etcdctl command for the members at `urls`, or all that are configured.

    With authentication it is root's, whose password etcdctl asks for: what cures need is for administrators.
    """
    tls = etcd.tls
    words = [
        "ETCDCTL_API=3",  # which 3.3 does not speak by itself
        "etcdctl",
        f"--endpoints={shlex.quote(','.join(urls or etcd.endpoints))}",
    ]
    files = {"cacert": tls.ca_file, "cert": tls.cert_file, "key": tls.key_file}
    words += [f"--{flag}={in_shell(file)}" for flag, file in files.items() if file]
    if root or etcd.user is not None:
        words.append("--user=root")
    return " ".join(words)


def certificates_shown(url: str, name: str = "") -> str:
    """The command that shows which certificates the endpoint shows; `name` is the one that is expected."""
    parts = urlsplit(url)
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    return (
        f"openssl s_client -connect {shlex.quote(f'{host}:{parts.port or 443}')} "
        f"-servername {shlex.quote(name or parts.hostname or '')} -showcerts </dev/null"
    )


def issued_again(key: str, whose: str, usages: str, names: str = "") -> str:
    """The lines that make a certificate for `usages` and `names` (as openssl writes them), without a CN.

    `key` is the word for the key's file, `whose` names the new ones. Who signs a request leaves its
    extensions out unless told otherwise.
    """
    extensions = [f"extendedKeyUsage={usages}", *([f"subjectAltName={names}"] if names else [])]
    wanted = " ".join(f"-addext {shlex.quote(extension)}" for extension in extensions)
    return (
        f"  openssl req -new -key {key} -subj /O={whose} {wanted} -out {whose}.csr\n"
        "The CA has to keep the extensions that the request has; OpenSSL 3 does so with -copy_extensions:\n"
        f"  openssl x509 -req -in {whose}.csr -CA CA.pem -CAkey CA.key -CAcreateserial -days 365 "
        f"-copy_extensions copy -out {whose}.pem"
    )
