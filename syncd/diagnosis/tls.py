"""What a handshake that went wrong means: which certificate is at fault, why, and what helps. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from syncd.config import TLS
from syncd.config.files import in_shell
from syncd.config.pem import title
from syncd.diagnosis.catalogue import found
from syncd.diagnosis.explain import SEE_ETCD, SET_CERTIFICATE
from syncd.diagnosis.sight import NO_ANSWER, Fault, Handshake
from syncd.findings import Finding

_NOT_YET, _EXPIRED, _PURPOSE = 9, 10, 26
"""OpenSSL's X509_V_ERR_CERT_NOT_YET_VALID, …_CERT_HAS_EXPIRED, …_INVALID_PURPOSE."""

_USAGES = {ExtendedKeyUsageOID.SERVER_AUTH: "serverAuth", ExtendedKeyUsageOID.CODE_SIGNING: "codeSigning"}
_FOR_CLIENTS = {ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE}


@dataclass(frozen=True, slots=True)
class Own:
    """What syncd itself has: the CAs of `etcd.tls.ca_file`, and its certificate with its chain."""

    tls: TLS
    authorities: tuple[x509.Certificate, ...] = ()
    chain: tuple[x509.Certificate, ...] = ()


def tls_findings(url: str, handshake: Handshake, plain: bool, own: Own, now: datetime) -> list[Finding]:
    """What `handshake` with `url` shows; `plain`: whether HTTP without TLS is answered there."""
    if handshake.failed == NO_ANSWER and not plain:
        said = "it takes connections, and answers neither with TLS nor without"
        return [found("gateway.timeout", url, said, SEE_ETCD)]
    if not url.startswith("https:"):
        return list(_unexpected(url, handshake))
    if not handshake.chain:
        return [_no_handshake(url, handshake, plain)]
    findings = [*_shown(url, handshake, own), *_refusal(url, handshake, own, now)]
    if findings:
        return findings
    leaf = handshake.chain[0]
    seen = (
        f"{handshake.protocol}; the certificate of {title(leaf)}, issued by {_issuer(leaf)}, "
        f"is valid until {_day(leaf.not_valid_after_utc)}"
    )
    asked = "; etcd asks for a client's, and takes ours" if handshake.authorities and own.chain else ""
    return [found("tls.ok", url, seen + asked)]


def behind_the_gateway(url: str, handshake: Handshake, said: str) -> Finding | None:
    """Why etcd's gateway may be unable to reach etcd itself, which it then `said`; None when it is not TLS.

    The gateway is a client of etcd, and shows etcd's own certificate (unless --client-cert-file is set).
    """
    if not (handshake.chain and handshake.authorities):
        return None
    leaf = handshake.chain[0]
    usages = _usages(leaf)
    if usages and not _FOR_CLIENTS & usages:
        names = ", ".join(sorted(_USAGES.get(usage, usage.dotted_string) for usage in usages))
        return found(
            "tls.server_cert_no_client_auth",
            url,
            f"the extended key usage of etcd's certificate ({title(leaf)}) is {names}, without clientAuth; "
            f"etcd asks for client certificates; and its gateway says: {said}",
            "one of two:\n"
            "1. have etcd's certificate issued again for both usages (etcd reads it anew by itself):\n"
            "  openssl req -new -key SERVER.key -subj /O=etcd -out SERVER.csr "
            '-addext "extendedKeyUsage=serverAuth,clientAuth" '
            f'-addext "subjectAltName={_alternatives(leaf)}"\n'
            "2. with etcd 3.5.0 or later, give the gateway a certificate of its own, which is for clients:\n"
            "  etcd … --client-cert-file=CLIENT.pem --client-key-file=CLIENT.key",
        )
    if not _from(handshake.chain, handshake.authorities):
        return found(
            "tls.server_cert_untrusted_by_etcd",
            url,
            f"etcd's certificate is issued by {_issuer(leaf)}; etcd asks for client certificates from "
            f"{_names(handshake.authorities)}; and its gateway says: {said}",
            "one of two:\n"
            f"1. add the CA {_issuer(leaf)} to the file that etcd's --trusted-ca-file names\n"
            "2. with etcd 3.5.0 or later, give the gateway a certificate from a CA that etcd trusts:\n"
            "  etcd … --client-cert-file=CLIENT.pem --client-key-file=CLIENT.key",
        )
    return None


def _unexpected(url: str, handshake: Handshake) -> Iterator[Finding]:
    if handshake.chain:
        leaf = handshake.chain[0]
        yield found(
            "tls.server_demands_tls",
            url,
            f"it takes a TLS handshake, and shows the certificate of {title(leaf)}",
            f"write https in etcd.endpoints, and set etcd.tls.ca_file to the CA {_issuer(leaf)}",
        )


def _no_handshake(url: str, handshake: Handshake, plain: bool) -> Finding:
    said = handshake.alert or handshake.failed
    if plain:
        return found(
            "tls.server_speaks_plaintext",
            url,
            f"no TLS ({said}), but it answers in plain HTTP",
            "give etcd a certificate (--cert-file, --key-file, and https in --listen-client-urls); or, in a "
            "network that nobody listens to, write http in etcd.endpoints",
        )
    if "protocol" in said:
        cure = "let what answers there speak TLS 1.2 or 1.3; etcd itself does"
        return found("tls.version_too_old", url, said, cure)
    return found("tls.handshake_failed", url, said, f"see what answers there:\n  {_show(url, own_name='')}")


def _shown(url: str, handshake: Handshake, own: Own) -> Iterator[Finding]:
    """What is wrong with the certificates that etcd shows."""
    leaf = handshake.chain[0]
    dated = [fault for fault in handshake.faults if fault.number in (_NOT_YET, _EXPIRED)]
    for fault in dated:
        yield _out_of_time(url, fault, own)
    strange = [fault for fault in handshake.faults if fault not in dated]
    if strange:
        yield _untrusted(url, strange[0], leaf, own)
    if handshake.wrong_name:
        wanted = own.tls.server_name or urlsplit(url).hostname or ""
        names = _alternatives(leaf)
        first = names.partition(",")[0].partition(":")[2]
        yield found(
            "tls.server_cert_wrong_name",
            url,
            f"{wanted} is expected, and the certificate is for {names or 'no name at all'}",
            f"have it issued again with subjectAltName={'IP' if _is_address(wanted) else 'DNS'}:{wanted}"
            + (f"; or use one of its names, or set etcd.tls.server_name: {first}" if first else ""),
        )


def _out_of_time(url: str, fault: Fault, own: Own) -> Finding:
    certificate = fault.certificate
    who = title(certificate)
    if fault.number == _NOT_YET:
        seen = f"the certificate of {who} is valid from {_moment(certificate.not_valid_before_utc)} on"
        cure = "compare the clocks of both hosts (date -u); if both are right, wait, or have it issued again"
        return found("tls.server_cert_not_yet_valid", url, seen, cure)
    seen = f"the certificate of {who} expired at {_moment(certificate.not_valid_after_utc)}"
    if fault.depth > 0:
        cure = f"have the CA renewed, and put its new certificate into {_ca_file(own)} and into etcd's files"
        return found("tls.ca_expired", url, seen, cure)
    return found(
        "tls.server_cert_expired",
        url,
        seen,
        "renew it and put it where etcd's --cert-file and --key-file lie; etcd reads them anew by itself",
    )


def _untrusted(url: str, fault: Fault, leaf: x509.Certificate, own: Own) -> Finding:
    show = f"What etcd shows is told by\n  {_show(url, own.tls.server_name or '')}"
    if fault.number == _PURPOSE:
        usages = "the extended key usage of its certificate lacks serverAuth"
        return found("tls.server_cert_untrusted", url, usages, f"have it issued again for servers. {show}")
    held = (
        _names([each.subject for each in own.authorities]) if own.authorities else "what this machine trusts"
    )
    same = any(each.subject == leaf.issuer for each in own.authorities)
    by = "itself" if leaf.issuer == leaf.subject else f"{_issuer(leaf)}"
    seen = f"the certificate of {title(leaf)} is issued by {by}; {_ca_file(own)} holds {held}"
    if same:
        seen += ", which has the same name but another key"
    cure = f"put the certificate of the CA that issued it into {_ca_file(own)}"
    if not same and by != "itself":
        cure += "; or, if that CA is one between, add its certificate to etcd's --cert-file"
    return found("tls.server_cert_untrusted", url, seen, f"{cure}. {show}")


def _refusal(url: str, handshake: Handshake, own: Own, now: datetime) -> Iterator[Finding]:
    """Why etcd does not take our certificate, if it does not."""
    wanted = f"; etcd wants one from {_names(handshake.authorities)}" if handshake.authorities else ""
    said = f"etcd ends the connection: {handshake.alert or handshake.failed}"
    if handshake.answer or not (handshake.alert or handshake.authorities):
        return
    if not own.chain:
        yield found("tls.client_cert_missing", url, said + wanted, SET_CERTIFICATE)
        return
    certificate, file = own.chain[0], in_shell(own.tls.cert_file) if own.tls.cert_file else "FILE"
    who = f"the certificate of {title(certificate)} in {file}"
    again = "it is read anew by itself when the files change"
    if now >= certificate.not_valid_after_utc:
        seen = f"{who} expired at {_moment(certificate.not_valid_after_utc)}"
        yield found("tls.client_cert_expired", url, seen, f"renew it; {again}")
    elif now < certificate.not_valid_before_utc:
        seen = f"{who} is valid from {_moment(certificate.not_valid_before_utc)} on"
        yield found("tls.client_cert_not_yet_valid", url, seen, "compare the clocks of both hosts: date -u")
    elif (usages := _usages(certificate)) and not _FOR_CLIENTS & usages:
        seen = f"{who} has an extended key usage without clientAuth"
        yield found(
            "tls.client_cert_no_client_auth", url, seen, f"have it issued again with clientAuth; {again}"
        )
    elif handshake.alert == "unknown ca" or (
        handshake.authorities and not _from(own.chain, handshake.authorities)
    ):
        yield found(
            "tls.client_cert_untrusted",
            url,
            f"{who} is issued by {_issuer(certificate)}{wanted}",
            "have one issued by a CA that etcd trusts, or add this CA to the file that etcd's "
            f"--trusted-ca-file names, and restart etcd; {again}",
        )
    else:
        yield found(
            "tls.client_cert_refused",
            url,
            f"{said}; {who} is issued by {_issuer(certificate)}{wanted}",
            "etcd's log says why (rejected connection). It may demand a certain name "
            "(--client-cert-allowed-hostname), or have revoked it (--client-crl-file). Look at it:\n"
            f"  openssl x509 -in {file} -noout -subject -issuer -dates -ext subjectAltName,extendedKeyUsage",
        )


def _from(chain: Sequence[x509.Certificate], authorities: Sequence[x509.Name]) -> bool:
    return any(certificate.issuer in authorities for certificate in chain)


def _usages(certificate: x509.Certificate) -> set[x509.ObjectIdentifier]:
    """Its extended key usages; none means that it may be used for anything."""
    try:
        return set(certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value)
    except (x509.ExtensionNotFound, ValueError):
        return set()


def _alternatives(certificate: x509.Certificate) -> str:
    """The names that it is for, as openssl writes them: `DNS:etcd-1,IP:10.0.0.1`."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, ValueError):
        return ""
    dns = [f"DNS:{name}" for name in names.get_values_for_type(x509.DNSName)]
    return ",".join([*dns, *(f"IP:{address}" for address in names.get_values_for_type(x509.IPAddress))])


def _issuer(certificate: x509.Certificate) -> str:
    return _name(certificate.issuer)


def _names(names: Sequence[x509.Name]) -> str:
    some = [_name(name) for name in names[:3]]
    return ", ".join(some) + (f" and {len(names) - 3} others" if len(names) > 3 else "")


def _name(name: x509.Name) -> str:
    return name.rfc4514_string() or "a CA without a name"


def _ca_file(own: Own) -> str:
    return str(own.tls.ca_file or "etcd.tls.ca_file")


def _show(url: str, own_name: str) -> str:
    parts = urlsplit(url)
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    return (
        f"openssl s_client -connect {host}:{parts.port or 443} -servername {own_name or parts.hostname} "
        "-showcerts </dev/null"
    )


def _is_address(name: str) -> bool:
    return ":" in name or name.replace(".", "").isdigit()


def _day(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d}"


def _moment(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC"
