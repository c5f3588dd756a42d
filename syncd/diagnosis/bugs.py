"""Which faults a version of etcd has that a mirror can meet, and what syncd does about them. Pure.

From etcd's changelogs (CHANGELOG-3.3, -3.4, -3.5) and the issues and pull requests that each row names. A
fault is told only of versions of which that was read; so there are few of 3.3, but see `_ENDED`.
"""

from __future__ import annotations

from typing import NamedTuple

from syncd.diagnosis.catalogue import found
from syncd.findings import Finding
from syncd.gateway.endpoints import Endpoint, parse_version

Version = tuple[int, int, int]

OLDEST, UNTESTED = (3, 3, 0), (3, 6, 0)
"""The first version that syncd is made for, and the first one that it was not tested with."""

MESSAGE_LIMIT_GONE = (3, 4, 17)
"""#13077: since then the gateway takes from etcd what etcd sends; before, gRPC's 4 MiB."""

SYNCHRONISED = "3.4.25 or 3.5.8"
"""#15695, #15697; what `Endpoint.synchronised` goes by."""


class Bug(NamedTuple):
    """A fault of some versions."""

    issue: int
    """The number of etcd's issue or pull request that tells most of it."""
    what: str
    mirror: str
    """What it does to a mirror, and what syncd does about it."""
    mended: tuple[Version, ...]
    """The first release without it, of each line that has one."""
    since: Version = (3, 4, 0)
    """The first version of which the fault is known."""

    def cure(self, version: Version) -> Version | None:
        """The release that mends it in the line of `version`, or after that; None where there is no fault."""
        if version < self.since:
            return None
        own = [release for release in self.mended if release[:2] == version[:2]]
        return next((release for release in own or self.mended if release > version), None)


_BUGS = (
    # #17529, a watch whose next revision is compacted before it is sent: #17610, #17612. #18089, compaction
    # removes a delete of its very revision: #18474, #18475. #19179, the same after a restart: #19249, #19251.
    Bug(
        17529,
        "a watch that is behind when etcd compacts may miss events, deletes above all",
        "the mirror may keep an old value; syncd reads its stream at once, never begins one where etcd may "
        "have lost a delete, and compares the keys after each lost connection",
        ((3, 4, 36), (3, 5, 18)),
    ),
    # #15271, a member that gets a snapshot from the leader: #15515, #15520. #20221, the same for a watch
    # from a revision that the member does not have yet: #20290, #20291.
    Bug(
        15271,
        "a watch may bring old events again after its member was cut off from the others",
        "syncd leaves such a stream and opens another one; nothing old is told to readers",
        ((3, 4, 38), (3, 5, 22)),
    ),
    # #20418: #21385, #21387 (a read while the leader changes), #21421, #21423 (a process that was paused).
    Bug(
        20418,
        "a linearizable read may be stale when the leader changes, or a member was paused",
        "syncd takes such a read for a proof, so for that moment an age may be too low",
        ((3, 4, 42), (3, 5, 28)),
    ),
    # #13766, also #13514: #13908.
    Bug(
        13766,
        "a crash under load can leave the members with different data",
        "the mirror is what the member has that syncd asks; another endpoint may give something else",
        ((3, 5, 3),),
        (3, 5, 0),
    ),
    # #14685: #14733.
    Bug(
        14685,
        "a crash while etcd defragments can leave the members with different revisions",
        "the mirror is what the member has that syncd asks; another one may seem to lag, or to be wiped",
        ((3, 5, 6),),
        (3, 5, 0),
    ),
    # #20653, #20659.
    Bug(
        20653,
        "a member that defragments while it gets a snapshot from the leader may corrupt its data",
        "the mirror is what the member has that syncd asks",
        ((3, 4, 38), (3, 5, 23)),
    ),
    # #11613.
    Bug(
        11613,
        "defragmenting may corrupt a member's data",
        "the mirror is what the member has that syncd asks",
        ((3, 3, 19), (3, 4, 4)),
        OLDEST,
    ),
    # #11651: #11652.
    Bug(
        11651,
        "with authentication, a restart can leave the members with different data",
        "the mirror is what the member has that syncd asks",
        ((3, 3, 21), (3, 4, 8)),
        OLDEST,
    ),
    # #14355, what users may do is not loaded at the start: #14409, #14410. #14571, nor from a snapshot, and
    # then what is written is refused by that member alone: #14648, #14649.
    Bug(
        14355,
        "with authentication, a member that was restarted or got a snapshot may refuse its users everything",
        "syncd believes a refusal, and serves what it has as stale until users or roles are changed",
        ((3, 4, 22), (3, 5, 6)),
    ),
    # #14370, a lone member answers before the write is on its disk: #14423, #14424. #17780, a crash in a
    # compaction of the newest revision: #17864, #17865.
    Bug(
        14370,
        "after a crash, etcd may be back at an earlier revision",
        "syncd notices, reads the range anew and announces another epoch to its readers",
        ((3, 4, 32), (3, 5, 14)),
    ),
    # #13429: #14254, #14884. Seen: 3.3.25 and 3.5.1 refuse them, 3.4.23, 3.5.16 and 3.5.30 do not.
    Bug(
        13429,
        "while etcd has the alarm NOSPACE, it refuses also transactions that only read",
        "after a lost connection syncd cannot compare what it holds; the range is stale until the alarm is "
        "disarmed",
        ((3, 4, 20), (3, 5, 7)),
        OLDEST,
    ),
    # #13541.
    Bug(
        13541,
        "etcd may crash while it sends a watch events of the past",
        "syncd goes on with another endpoint",
        ((3, 5, 2),),
        (3, 5, 0),
    ),
    # #11817, cherry-picked as #11855 and #11856.
    Bug(
        11817,
        "a member that gets a snapshot from the leader may lock up",
        "syncd notices that it is silent, and goes on with another endpoint",
        ((3, 3, 21), (3, 4, 8)),
        OLDEST,
    ),
    # #11826, #14077; #8238 had lifted the limit only without TLS: #14219, #14251.
    Bug(
        11826,
        "with TLS, the gateway has room for some 250 watches and calls of all its clients; more of them hang",
        "syncd needs one stream for each range, and spreads over the endpoints; many daemons may be too many",
        ((3, 4, 20), (3, 5, 5)),
        OLDEST,
    ),
    # #15402: #15452.
    Bug(
        15402,
        "with TLS, heavy reads through a gateway keep all its watches waiting",
        "changes may come late, and a range may be stale for as long",
        ((3, 5, 8),),
        (3, 5, 0),
    ),
    # #18704: #18784, #18785.
    Bug(
        18704,
        "watches that end may leave memory behind in etcd",
        "each lost or reopened stream can add to it",
        ((3, 4, 35), (3, 5, 17)),
    ),
    # CHANGELOG-3.3: `fragment` (#9291) and progress requests (#9869) came late to 3.3.
    Bug(
        9291,
        "a watch can neither be answered in fragments nor be asked for its progress",
        "a catch-up of more than 4 MiB never succeeds, and a quiet range cannot be proved current cheaply",
        ((3, 3, 14),),
        OLDEST,
    ),
)

_ENDED = (3, 4, 0)
"""CHANGELOG-3.3 ends with 3.3.27 of October 2021: what was mended since was not looked for there."""


def version_findings(url: str, version: str) -> list[Finding]:
    """What is known of the etcd at `url`, which tells that it is `version` ('' when it does not tell)."""
    number = parse_version(version)
    seen = f"etcd {version}" if any(number) else f"etcd does not tell its version: {version!r}"
    findings = []
    if number < OLDEST or number >= UNTESTED:
        cure = "upgrade etcd to 3.4 or later" if OLDEST > number > (0, 0, 0) else ""
        findings.append(found("etcd.untested_version", url, seen, cure))
    if OLDEST <= number < _ENDED:
        findings.append(
            found(
                "etcd.known_bug",
                url,
                f"{seen}: nobody mends the faults of 3.3 any more; its last release was in October 2021",
                "upgrade etcd to the newest 3.5, by way of 3.4",
                means="faults that were found since then may be there, too",
            )
        )
    for bug in _BUGS:
        if mended := bug.cure(number):
            release = ".".join(map(str, mended))
            findings.append(
                found(
                    "etcd.known_bug",
                    url,
                    f"etcd #{bug.issue}: {bug.what}",
                    f"upgrade etcd to {release} or later",
                    means=bug.mirror,
                )
            )
    if (0, 0, 0) < number < MESSAGE_LIMIT_GONE:
        findings.append(found("gateway.message_limit", url, seen, "upgrade etcd to 3.4.17 or later"))
    if not Endpoint(url, version=version).synchronised:
        findings.append(
            found("gateway.progress_early", url, seen, f"upgrade etcd to {SYNCHRONISED} or later")
        )
    return findings
