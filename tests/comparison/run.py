"""The loop: some writes, then some requests to both; what differs is told as a curl command."""

from __future__ import annotations

import http.client
import random
import socket
from base64 import b64encode
from collections import Counter
from dataclasses import dataclass, field
from time import monotonic

from tests.comparison.drawn import Case, Drawn
from tests.comparison.history import PREFIX, PREFIX_END, History
from tests.comparison.spoilt import spoilt
from tests.comparison.verdict import Answer, Difference, judge
from tests.daemon.process import Daemon
from tests.etcd import Etcd
from tests.serve.local import connected

ROUND = 25
"""Requests between two pieces of history."""

SPOILT = 0.3
"""Of the requests have a mistake."""

HISTORY_EVENTS = 150
"""That syncd remembers: soon some of what is asked for is too old."""

FAILURES = 5
"""After which it is enough."""

SECONDS = 30.0


@dataclass
class Report:
    """What a run did and found."""

    version: str
    seed: int
    cases: int = 0
    seconds: float = 0.0
    verdicts: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        lines = [f"{self.cases} cases, etcd {self.version}, seed {self.seed}, {self.seconds:.1f} s"]
        lines += [f"{count:7} {verdict}" for verdict, count in self.verdicts.most_common()]
        return "\n".join([*lines, *self.failures, f"{len(self.failures)} differences"])


class Asked:
    """Whom requests are sent to, on one connection."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection

    def __call__(self, case: Case) -> Answer:
        """The answer."""
        head = f"POST /v3{case.path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(case.body)}\r\n\r\n"
        # In one piece, as most clients send it: there is a shorter way for what is plain and comes so.
        self._connection.sendall(head.encode() + case.body)
        response = http.client.HTTPResponse(self._connection, method="POST")
        response.begin()
        return Answer(response.status, response.read())

    def close(self) -> None:
        """Hang up."""
        self._connection.close()


def run(version: str, seed: int, cases: int) -> Report:
    """Ask so many times, or until FAILURES answers differed."""
    report, began = Report(version, seed), monotonic()
    draw = random.Random(seed)
    settings = {"history": {"events": HISTORY_EVENTS}}
    with (
        Etcd(version, flags=("--max-txn-ops=128",)) as etcd,
        Daemon(etcd.endpoint, prefixes=[PREFIX.decode()], settings=settings) as daemon,
    ):
        daemon.wait_for("live")
        history = History(etcd, draw)
        both = Both(etcd, daemon)
        drawn = Drawn(history, draw)
        while report.cases < cases and len(report.failures) < FAILURES:
            history.go_on()
            both.meet(history.revision)
            oldest = daemon.range_status()["history"]["oldest_revision"]
            for _ in range(min(ROUND, cases - report.cases)):
                case = spoilt(drawn, draw) if draw.random() < SPOILT else drawn.case()
                report.cases += 1
                try:
                    report.verdicts[both.ask(case, oldest)] += 1
                except Difference as difference:
                    report.failures.append(f"case {report.cases}: {difference}")
        both.close()
        daemon.assert_no_traceback()
    report.seconds = monotonic() - began
    return report


class Both:
    """etcd and a daemon that mirrors it."""

    def __init__(self, etcd: Etcd, daemon: Daemon) -> None:
        self._etcd_at = f"{etcd.endpoint}/v3"
        self._syncd_at = f"--unix-socket {daemon.socket} http://localhost/v3"
        self.etcd = Asked(socket.create_connection(("127.0.0.1", etcd.port), SECONDS))
        self.syncd = Asked(connected(daemon.socket))

    def meet(self, revision: int) -> None:
        """See to it that both are at `revision`; a linearizable read must, whatever it asks for."""
        body = b'{"key":"%b","range_end":"%b","count_only":true}' % (b64encode(PREFIX), b64encode(PREFIX_END))
        answer = self.syncd(Case("/kv/range", body))
        assert answer.status == 200, answer
        assert answer.json["header"]["revision"] == str(revision), (answer, revision)

    def ask(self, case: Case, oldest_revision: int) -> str:
        """The verdict; Difference tells how to ask again by hand."""
        etcd, syncd = self.etcd(case), self.syncd(case)
        try:
            return judge(case, etcd, syncd, oldest_revision)
        except Difference as difference:
            lines = [
                str(difference),
                self.curl(self._etcd_at, case),
                f"    {etcd.status} {etcd.body.decode(errors='replace')}",
                self.curl(self._syncd_at, case),
                f"    {syncd.status} {syncd.body.decode(errors='replace')}",
            ]
            raise Difference("\n  ".join(lines)) from difference

    @staticmethod
    def curl(where: str, case: Case) -> str:
        """The command that asks it once more."""
        body = "".join(
            chr(byte) if 32 <= byte < 127 and byte not in b"\\'" else f"\\x{byte:02x}" for byte in case.body
        )
        return f"curl -s --data-binary $'{body}' {where}{case.path}"

    def close(self) -> None:
        """Hang up."""
        self.etcd.close()
        self.syncd.close()
