"""Real etcd servers for tests and benchmarks: one process, or three in a cluster, of any version at hand.

`tests/etcd-versions` puts the programs into `.cache/etcd/VERSION/`; here they are started:

    with Etcd("3.4.23") as etcd:
        etcd.put("/a", "1")
        etcd.kill()
        etcd.start()  # the same data, the same ports

Everything blocks. An async test may call the quick methods as they are, and uses `asyncio.to_thread` for what
takes long beside a running daemon (`load`, `leader`).
"""

import os
import shutil
import signal
import socket
import ssl
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from http.client import HTTPException
from pathlib import Path
from typing import Self

from tests.calls import LOAD_TXN_OPS, Calls, RefusedError

VERSIONS: tuple[str, ...] = ("3.3.25", "3.4.23", "3.5.1", "3.5.16", "3.5.30")
"""The versions syncd is tested against: each has a quirk of its own."""

USUAL_VERSION = "3.5.16"
"""What a test gets that doesn't depend on the version."""

PROGRAMS = Path(__file__).resolve().parent.parent / ".cache" / "etcd"
START_SECONDS = 30.0  # far more than the 0.3 s it takes: a busy machine is no failure
STOP_SECONDS = 10.0
ASK_AGAIN_SECONDS = 0.01  # between two questions "are you ready?", to leave the processor to the one asked
LOG_TAIL_LINES = 40  # a wrong flag is named above 20 lines of usage

started: Counter[str] = Counter()
"""How many servers of each version were started so far; the tests' summary tells."""


class EtcdError(Exception):
    """An etcd or etcdctl did not do what the test asked for; the message ends with what it said itself."""


def available() -> tuple[str, ...]:
    """List the versions whose programs are there, oldest first."""
    return tuple(version for version in VERSIONS if (PROGRAMS / version / "etcd").exists())


def reason_missing(version: str) -> str:
    """Say why `version` is not there, in the words of `tests/etcd-versions`, or '' when it is there."""
    if version in available():
        return ""
    note = PROGRAMS / f"{version}.missing"
    return note.read_text().strip() if note.exists() else "tests/run has not fetched it yet"


def usual_version() -> str:
    """`USUAL_VERSION`, or the newest one there is. Raises EtcdError when there is none at all."""
    found = available()
    if not found:
        raise EtcdError("no etcd at all in .cache/etcd: run tests/run")
    return USUAL_VERSION if USUAL_VERSION in found else found[-1]


class Etcd(Calls):
    """One etcd process in a directory of its own, on ports that are its own until `close()`.

    `flags` come last on etcd's command line, so they win over those given here. `environment` is added for
    etcd and etcdctl; inherited ETCD… variables are dropped. With `tls` (a client's context) the endpoint is
    https, and `flags` have to name the server's certificates.

    When the tests are killed, so is the process (PR_SET_PDEATHSIG): to be exact, when the *thread* ends that
    started it. Start it from a thread that lives as long as it.
    """

    def __init__(
        self,
        version: str | None = None,
        flags: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
        *,
        name: str = "etcd",
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.version = version or usual_version()
        if reason := reason_missing(self.version):
            raise EtcdError(f"no etcd {self.version}: {reason}")
        self.name = name
        self.flags = tuple(flags)
        self.environment = {k: v for k, v in os.environ.items() if not k.startswith("ETCD")}
        self.environment |= environment or {}
        self.directory = Path(tempfile.mkdtemp(prefix=f"etcd-{self.version}-"))
        self.log = self.directory / "log"
        self._reserved = (reserve_port(), reserve_port())
        self._process: subprocess.Popen[bytes] | None = None
        port, peer_port = (s.getsockname()[1] for s in self._reserved)
        self.peer_url = self.advertised_peer_url = f"http://127.0.0.1:{peer_port}"
        self.initial_cluster = f"{name}={self.peer_url}"
        self.cluster_token = self.peer_url
        super().__init__(port, "/v3beta" if self._is_below(3, 4) else "/v3", tls)

    @property
    def pid(self) -> int:
        """The running process's id. Raises EtcdError when there is none."""
        return self._running().pid

    @property
    def is_running(self) -> bool:
        """Whether it was started, and not ended since (a paused one runs)."""
        return self._process is not None

    def start(self) -> Self:
        """Start etcd on whatever its directory holds, and return when it serves."""
        self.launch()
        self.wait_until_ready()
        return self

    def launch(self) -> None:
        """Start etcd without waiting: a member of a cluster is not ready before the others are started."""
        if self._process is not None:
            raise EtcdError(f"etcd {self.version} runs already")
        # setpriv becomes etcd, so the pid is etcd's. In a session of its own, a terminal's Ctrl-C ends the
        # tests first, and they end etcd.
        command = ["setpriv", "--pdeathsig", "KILL", "--", str(PROGRAMS / self.version / "etcd")]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [*command, *self._own_flags(), *self.flags],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self.environment,
                cwd=self.directory,
                start_new_session=True,
            )
        started[self.version] += 1

    def wait_until_ready(self) -> None:
        """Return when etcd calls itself healthy, that is: serves and has a leader.

        Raises EtcdError with the end of its log when it ends, or isn't ready in START_SECONDS.
        """
        process = self._running()
        deadline = time.monotonic() + START_SECONDS
        while not self.is_healthy():
            if process.poll() is not None:
                self._forget_process()
                raise EtcdError(f"etcd {self.version} ended with {process.returncode}:\n{self.log_tail()}")
            if time.monotonic() > deadline:
                raise EtcdError(f"etcd {self.version} is not ready:\n{self.log_tail()}")
            time.sleep(ASK_AGAIN_SECONDS)

    def is_healthy(self) -> bool:
        """Ask etcd (not its gateway, which may be broken on purpose) whether it is healthy."""
        try:
            return b"true" in self.get("/health", timeout=1)
        except (OSError, HTTPException, RefusedError):
            return False

    def leads(self) -> bool:
        """Ask this member whether it is its cluster's leader."""
        status = self.ask("/maintenance/status", {})
        return bool(status.get("leader") == status["header"]["member_id"])

    def stop(self) -> None:
        """End etcd politely, as systemd would (SIGTERM); with SIGKILL when that takes STOP_SECONDS."""
        process = self._running()
        process.send_signal(signal.SIGTERM)
        process.send_signal(signal.SIGCONT)  # a paused process would not see the other signal
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        self._forget_process()

    def kill(self) -> None:
        """End etcd at once (SIGKILL)."""
        process = self._running()
        process.kill()
        process.wait()
        self._forget_process()

    def pause(self) -> None:
        """Stop etcd in its tracks (SIGSTOP): the kernel goes on accepting connections, nobody answers."""
        process = self._running()
        process.send_signal(signal.SIGSTOP)
        # The signal stops one thread after the other. Wait for the last, but leave an exit to Popen.
        os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)

    def resume(self) -> None:
        """Let a paused etcd go on (SIGCONT)."""
        self._running().send_signal(signal.SIGCONT)

    def wipe(self, *, new_cluster_id: bool = False) -> None:
        """Forget all data; etcd must be stopped. The next `start` begins at revision 1.

        The cluster_id is the same again, as when someone empties a data directory, unless `new_cluster_id`.
        """
        if self._process is not None:
            raise EtcdError("stop etcd before wiping its data")
        shutil.rmtree(self.directory / "data", ignore_errors=True)
        if new_cluster_id:
            self.cluster_token += "'"

    def begin_anew(self, *, new_cluster_id: bool = False) -> None:
        """End at once, forget all data, and serve again: see `wipe`."""
        self.kill()
        self.wipe(new_cluster_id=new_cluster_id)
        self.start()

    def restore(self, snapshot: Path, *, new_cluster_id: bool = False) -> None:
        """Go back to a file that `etcdctl snapshot save` wrote; etcd must be stopped, as for `wipe`."""
        self.wipe(new_cluster_id=new_cluster_id)
        self.etcdctl(
            "snapshot",
            "restore",
            str(snapshot),
            f"--data-dir={self.directory / 'data'}",
            f"--name={self.name}",
            f"--initial-advertise-peer-urls={self.advertised_peer_url}",
            f"--initial-cluster={self.initial_cluster}",
            f"--initial-cluster-token={self.cluster_token}",
        )

    def close(self) -> None:
        """End the process if there is one, give the ports back, remove the directory; may be called twice."""
        if self._process is not None:
            self.kill()
        self.hang_up()
        for port in self._reserved:
            port.close()
        shutil.rmtree(self.directory, ignore_errors=True)

    def __enter__(self) -> Self:
        try:
            return self.start()
        except BaseException:
            self.close()
            raise

    def __exit__(self, *_: object) -> None:
        self.close()

    def etcdctl(self, *arguments: str, stdin: bytes = b"") -> bytes:
        """Run this version's etcdctl against this server; its standard output, or EtcdError when it fails."""
        done = subprocess.run(
            [PROGRAMS / self.version / "etcdctl", *arguments],
            input=stdin,
            capture_output=True,
            check=False,
            timeout=START_SECONDS,
            env={"ETCDCTL_API": "3", "ETCDCTL_ENDPOINTS": self.endpoint, **self.environment},
        )
        if done.returncode:
            raise EtcdError(f"etcdctl {' '.join(arguments)}: {done.stderr.decode(errors='replace').strip()}")
        return done.stdout

    def log_tail(self) -> str:
        """Return the last lines of etcd's log."""
        lines = self.log.read_text(errors="replace").splitlines() if self.log.exists() else []
        return "\n".join(lines[-LOG_TAIL_LINES:])

    def _own_flags(self) -> list[str]:
        options = {
            "name": self.name,
            "data-dir": str(self.directory / "data"),
            "listen-client-urls": self.endpoint,
            "advertise-client-urls": self.endpoint,
            "listen-peer-urls": self.peer_url,
            "initial-advertise-peer-urls": self.advertised_peer_url,
            "initial-cluster": self.initial_cluster,
            "initial-cluster-token": self.cluster_token,
            "heartbeat-interval": "10",  # ms; one member alone waits an election out before it serves
            "election-timeout": "100",
            "quota-backend-bytes": str(8 << 30),
            "max-txn-ops": str(LOAD_TXN_OPS),
        }
        if not self._is_below(3, 5):
            options["unsafe-no-fsync"] = "true"
        return [f"--{option}={value}" for option, value in options.items()]

    def _is_below(self, major: int, minor: int) -> bool:
        return tuple(int(part) for part in self.version.split(".")) < (major, minor)

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise EtcdError(f"etcd {self.version} is not running")
        return self._process

    def _forget_process(self) -> None:
        self._process = None
        self.hang_up()


class Cluster:
    """Members of one version in one cluster, three unless told otherwise."""

    def __init__(self, version: str | None = None, flags: Sequence[str] = (), *, size: int = 3) -> None:
        # Members and tests share few cores: the haste of a lone member would lose them their leader.
        patient = ("--heartbeat-interval=50", "--election-timeout=500")
        self.members = tuple(Etcd(version, (*patient, *flags), name=f"member{i}") for i in range(size))
        for member in self.members:
            member.cluster_token = self.members[0].peer_url
        self.advertise([member.peer_url for member in self.members])

    @property
    def endpoints(self) -> list[str]:
        """The client URLs of all members, as they stand in syncd's configuration."""
        return [member.endpoint for member in self.members]

    def advertise(self, peer_urls: Sequence[str]) -> None:
        """Have the members reach each other at these URLs, such as proxies', instead of their own.

        Only before the first start, or that after a wipe: etcd remembers.
        """
        for member, url in zip(self.members, peer_urls, strict=True):
            member.advertised_peer_url = url
        for member in self.members:
            member.initial_cluster = ",".join(f"{m.name}={m.advertised_peer_url}" for m in self.members)

    def start(self) -> Self:
        """Start all members, and return when all serve."""
        for member in self.members:
            member.launch()
        for member in self.members:
            member.wait_until_ready()
        return self

    def leader(self) -> Etcd:
        """Wait until the running members have a leader, and return it; EtcdError after START_SECONDS."""
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            for member in self.members:
                if member.is_running and member.leads():
                    return member
            time.sleep(ASK_AGAIN_SECONDS)
        raise EtcdError("the cluster has no leader")

    def close(self) -> None:
        """Close all members."""
        for member in self.members:
            member.close()

    def __enter__(self) -> Self:
        try:
            return self.start()
        except BaseException:
            self.close()
            raise

    def __exit__(self, *_: object) -> None:
        self.close()


def reserve_port() -> socket.socket:
    """Bind a free port without listening, so that it stays ours while etcd is down.

    Linux then gives it to nobody else, refuses connections to it, and still lets a server listen on it which
    asks for SO_REUSEADDR, as Go does. The option is set only after the kernel has chosen the port: before,
    it might choose one that is reserved in the same way.
    """
    port = socket.socket()
    port.bind(("127.0.0.1", 0))
    port.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    return port
