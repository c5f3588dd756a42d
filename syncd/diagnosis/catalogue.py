"""Every code that a finding may have: how bad it is, and what it means. Pure.

Codes are stable: programs and the README's tables rely on them.
"""

from __future__ import annotations

from typing import NamedTuple

from syncd.findings import Finding, Level


class Entry(NamedTuple):
    """What a code stands for."""

    level: Level
    means: str = ""


CATALOGUE: dict[str, Entry] = {
    # The configuration and its files
    "config.ok": Entry("ok"),
    "config.invalid": Entry("error", "the configuration cannot be used; the daemon would not start"),
    "file.missing": Entry("error", "there is no such file"),
    "file.unreadable": Entry("error", "syncd may not read it"),
    "file.not_a_file": Entry("error", "it is a directory, a device or the like"),
    "file.empty": Entry("error", "there is nothing in it"),
    "file.not_pem": Entry("error", "it is not in the PEM format, which begins with -----BEGIN"),
    "file.wrong_kind": Entry("error", "it holds something else than what is expected there"),
    "file.readable_by_others": Entry("warning", "whoever has an account on this machine can steal it"),
    "tls.key_encrypted": Entry("error", "syncd has no passphrase to give: it runs unattended"),
    "tls.key_mismatch": Entry("error", "the key is not the one that the certificate was made for"),
    # The road
    "dns.ok": Entry("ok"),
    "dns.unresolved": Entry("error", "no address is known for the host's name"),
    "tcp.ok": Entry("ok"),
    "tcp.refused": Entry("error", "the host is there, but nothing listens on that port"),
    "tcp.timeout": Entry("error", "packets get lost: the host is down, or a firewall drops them"),
    "tcp.unreachable": Entry("error", "there is no way to the host from here"),
    # TLS: what etcd shows
    "tls.ok": Entry("ok"),
    "tls.off": Entry("note", "whatever is read, and any password, can be seen on the network"),
    "tls.server_speaks_plaintext": Entry("error", "the endpoint is https, but etcd speaks http there"),
    "tls.server_demands_tls": Entry("error", "the endpoint is http, but etcd speaks TLS there"),
    "tls.handshake_failed": Entry("error", "there is no TLS between syncd and what answers there"),
    "tls.version_too_old": Entry("error", "what answers there speaks no TLS 1.2, the oldest that is safe"),
    "tls.server_cert_untrusted": Entry("error", "etcd's certificate is not from a CA that syncd trusts"),
    "tls.server_cert_expired": Entry("error", "etcd's certificate is no longer valid"),
    "tls.server_cert_not_yet_valid": Entry("error", "etcd's certificate is not valid yet; is a clock wrong?"),
    "tls.server_cert_wrong_name": Entry("error", "etcd's certificate is for other names than the endpoint's"),
    "tls.server_cert_no_server_auth": Entry("error", "etcd's certificate is not one for servers"),
    "tls.server_cert_expires": Entry("warning", "after that, nobody will trust etcd"),
    "tls.server_cert_no_client_auth": Entry(
        "error",
        "etcd's gateway shows etcd's own certificate to etcd, as a client; that certificate is for servers "
        "alone, and --client-cert-auth refuses it. So etcdctl works, and the gateway fails",
    ),
    "tls.server_cert_untrusted_by_etcd": Entry(
        "error",
        "etcd's gateway shows a certificate to etcd, as a client: etcd's own, or that of --client-cert-file; "
        "it does not come from the CA in etcd's --trusted-ca-file, and --client-cert-auth refuses it",
    ),
    "tls.gateway_cert_expired": Entry(
        "error",
        "etcd's gateway shows a certificate to etcd, as a client: that of --client-cert-file, or etcd's own; "
        "it has expired or is not valid yet, and --client-cert-auth refuses it",
    ),
    "tls.ca_expired": Entry("error", "the CA's own certificate is no longer valid, nor what it signed"),
    "tls.ca_expires": Entry("warning", "after that, nothing is trusted that it signed"),
    # TLS: what syncd shows
    "tls.client_cert_missing": Entry("error", "etcd demands a client certificate (--client-cert-auth)"),
    "tls.client_cert_expired": Entry("error", "syncd's certificate is no longer valid, so etcd refuses it"),
    "tls.client_cert_not_yet_valid": Entry(
        "error", "syncd's certificate is not valid yet; is a clock wrong?"
    ),
    "tls.client_cert_no_client_auth": Entry(
        "error", "syncd's certificate is for servers alone, so etcd refuses it"
    ),
    "tls.client_cert_untrusted": Entry("error", "syncd's certificate is from a CA that etcd does not trust"),
    "tls.client_cert_refused": Entry("error", "etcd refuses syncd's certificate and does not say why"),
    "tls.renewal_refused": Entry(
        "warning", "with the certificates in the files, etcd would not let syncd in; those in use stay in use"
    ),
    "tls.client_cert_expires": Entry("warning", "after that, etcd will not let syncd in"),
    # The gateway
    "gateway.ok": Entry("ok"),
    "gateway.missing": Entry("error", "what answers there is no etcd gateway"),
    "gateway.wrong_prefix": Entry("error", "no etcd gateway answers at the paths of etcd.api_prefix"),
    "gateway.malformed": Entry("error", "what answers there does not speak as etcd's gateway does"),
    "gateway.unavailable": Entry("error", "a gateway or a proxy answers, but etcd behind it does not"),
    "gateway.timeout": Entry("error", "there is a connection, but no answer: etcd hangs or is overloaded"),
    "gateway.cut": Entry("error", "the connection is made, and then cut"),
    "gateway.message_limit": Entry(
        "note", "a larger answer than 4 MiB fails; syncd's pages and fragments stay below by themselves"
    ),
    "gateway.message_limit_key": Entry("error", "one key alone is larger than this etcd's gateway can send"),
    "gateway.duplex": Entry("ok"),
    "gateway.no_duplex": Entry(
        "warning",
        "something between here and etcd reads a request to its end before it passes it on; syncd "
        "cannot ask on the stream how far etcd has come, and proves a quiet range in a dearer way",
    ),
    "gateway.progress_early": Entry(
        "note",
        "a progress answer may overtake events; syncd waits for a second one, after a quiet second",
    ),
    "gateway.heartbeat_short": Entry("warning", "a proof may take longer than the heartbeat"),
    # etcd itself
    "etcd.ok": Entry("ok"),
    "etcd.known_bug": Entry("warning", "a fault of this version"),
    "etcd.untested_version": Entry("note", "syncd was not tested with it"),
    "etcd.no_leader": Entry("error", "the member has lost the others, or they have no quorum"),
    "etcd.learner": Entry("warning", "a learner answers no linearizable reads; syncd leaves it"),
    "etcd.lagging": Entry("warning", "the member is behind the others; syncd waits until it has caught up"),
    "etcd.alarm": Entry("warning", "etcd has raised an alarm"),
    "etcd.other_cluster": Entry("error", "the endpoints are not members of one cluster"),
    "etcd.members_not_configured": Entry("note", "syncd does not know of them, and cannot go on with them"),
    "clock.ok": Entry("ok"),
    "clock.differs": Entry("warning", "one clock is wrong; certificates and tokens depend on them"),
    # Users
    "auth.ok": Entry("ok"),
    "auth.off": Entry("note", "etcd has no authentication switched on: the user and password go unused"),
    "auth.required": Entry("error", "etcd demands a user and a password, and none are configured"),
    "auth.wrong_password": Entry("error", "etcd knows no such user, or that is not the user's password"),
    "auth.failed": Entry("error", "etcd refuses the very tokens that it gives"),
    "auth.client_cert_common_name": Entry(
        "error",
        "while etcd's authentication is on, its gateway refuses every client certificate with a CommonName, "
        "which it could not pass on",
    ),
    "auth.permission_denied": Entry("error", "the user has no role that may read all of the range"),
    "auth.token_expired": Entry("note", "the token's time was over; syncd asked for another one"),
    "auth.token_refused": Entry("note", "etcd did not know the token any more; syncd asked for another one"),
    # What is mirrored
    "range.ok": Entry("ok"),
    "range.empty": Entry("note", "nothing is there; is that the right prefix?"),
    "range.failed": Entry("error", "it cannot be read"),
    "range.held": Entry("warning", "its guard keeps what would be gone: readers are served the state before"),
    "watch.ok": Entry("ok"),
    "watch.failed": Entry("error", "it cannot be watched"),
    # This host
    "socket.ok": Entry("ok"),
    "socket.in_use": Entry("ok"),
    "socket.taken": Entry("error", "the daemon could not serve there"),
    "socket.unwritable": Entry("error", "the daemon could not make its socket"),
    "socket.open_to_all": Entry("warning", "every local user can read all that is mirrored"),
    "cache.ok": Entry("ok"),
    "cache.in_use": Entry("ok"),
    "cache.off": Entry("note", "a restart reads everything anew, and serves nothing while etcd is down"),
    "cache.unwritable": Entry("warning", "the daemon could keep no copy on disk there"),
    "cache.not_read": Entry("warning", "a copy could not be read just now; it stays for the next start"),
    "cache.full": Entry("warning", "the disk has no room for a copy"),
    "cache.damaged": Entry(
        "warning",
        "a copy on disk is not what was written; an older one is used, or the range is read from etcd",
    ),
    "cache.newer_format": Entry(
        "warning",
        "a later version of syncd wrote a copy on disk; an older one is used, or the range is read from etcd",
    ),
    "cache.set_aside": Entry(
        "warning", "a daemon could not use it, as its log told then; it is kept for you alone"
    ),
    "cache.other_ranges": Entry("note", "no such range is configured; it is neither used nor removed"),
    # The check itself
    "check.skipped": Entry("note", "it could not be looked at; mend first what stands above"),
    "check.failed": Entry("error", "this is a fault of syncd; the rest was looked at"),
    "check.timeout": Entry("error", "it took too long to be looked at"),
}


def found(code: str, subject: str, seen: str, cure: str = "", *, means: str = "") -> Finding:
    """A finding of the catalogue; `means` is added to what the code always means."""
    level, meaning = CATALOGUE[code]
    return Finding(code, level, subject, seen, "; ".join(part for part in (meaning, means) if part), cure)
