"""The servers that all other tests rely on are real, are what they claim to be, and do as they are told."""

import os
import re
import select
import signal
import socket
import ssl
import subprocess
import sys
from contextlib import closing
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests import etcd as module
from tests.calls import LOAD_TXN_OPS, KeyValue, RefusedError, prefix_end
from tests.etcd import VERSIONS, Cluster, Etcd, EtcdError, reason_missing

ROOT = Path(__file__).resolve().parent.parent


def test_it_is_the_version_asked_for(etcd: Etcd, etcd_version: str) -> None:
    """The server itself says so."""
    assert f'"etcdserver":"{etcd_version}"'.encode() in etcd.get("/version")


def test_the_script_fetches_all_versions() -> None:
    """`tests/etcd-versions` and `VERSIONS` name the same ones."""
    script = (ROOT / "tests" / "etcd-versions").read_text()
    assert set(re.findall(r"(?<==|\(| )(\d+\.\d+\.\d+)(?=:|\n)", script)) == set(VERSIONS)


def test_a_new_server_is_empty(etcd: Etcd) -> None:
    """No state goes from one test to the next."""
    assert etcd.revision() == 1
    assert etcd.range_prefix("").kvs == []


def test_what_was_put_is_read(etcd: Etcd) -> None:
    """Keys and values are bytes, and the revisions are etcd's."""
    assert etcd.put(b"/\xff\x00", b"\x00\xfe") == 2
    assert etcd.put("/a", "") == 3
    assert etcd.put("/a", "é") == 4
    held = etcd.range_prefix("/")
    assert held.revision == 4
    assert held.kvs == [
        KeyValue(b"/a", "é".encode(), create_revision=3, mod_revision=4, version=2, lease=0),
        KeyValue(b"/\xff\x00", b"\x00\xfe", create_revision=2, mod_revision=2, version=1, lease=0),
    ]
    assert [kv.value for kv in etcd.range("/a", revision=3).kvs] == [b""]


def test_a_limited_read_counts_the_whole_range(etcd: Etcd) -> None:
    """`count` goes beyond `limit`."""
    etcd.txn_put((f"/{i}", "") for i in range(5))
    page = etcd.range("/1", "/4", limit=2)
    assert [kv.key for kv in page.kvs] == [b"/1", b"/2"]
    assert page.count == 3


def test_a_prefix_is_deleted_in_one_revision(etcd: Etcd) -> None:
    """Neighbours stay."""
    etcd.txn_put([("/a", ""), ("/a/1", ""), ("/a/2", ""), ("/a0", "")])
    assert etcd.delete_prefix("/a/") == 3
    assert etcd.delete("/a") == 4
    assert [kv.key for kv in etcd.range_prefix("").kvs] == [b"/a0"]


def test_transactions_put_in_order(etcd: Etcd) -> None:
    """Each has its own revision and as many keys as asked for."""
    assert etcd.txn_put(((f"/{i:02}", str(i)) for i in range(25)), ops=10) == 4
    assert [kv.mod_revision for kv in etcd.range_prefix("/").kvs] == [2] * 10 + [3] * 10 + [4] * 5


def test_bulk_is_loaded_whole(etcd: Etcd) -> None:
    """More than one transaction's worth, on all connections."""
    pairs = {f"/{i:06}".encode(): str(i).encode() for i in range(5 * LOAD_TXN_OPS + 1)}
    assert etcd.load(pairs.items()) == 7
    assert {kv.key: kv.value for kv in etcd.range_prefix("/").kvs} == pairs


def test_compacted_history_is_gone(etcd: Etcd) -> None:
    """And the refusal carries etcd's own words."""
    etcd.put("/a", "1")
    etcd.put("/a", "2")
    etcd.compact(3)
    assert etcd.range("/a", revision=3).kvs[0].value == b"2"
    with pytest.raises(RefusedError, match="required revision has been compacted") as refused:
        etcd.range("/a", revision=2)
    assert refused.value.status == 400


@pytest.mark.parametrize("way", ["kill", "stop"])
def test_a_restart_keeps_data_and_endpoint(etcd: Etcd, way: str) -> None:
    """However it ended; in between, nobody answers."""
    endpoint, revision = etcd.endpoint, etcd.put("/a", "1")
    getattr(etcd, way)()
    assert not etcd.is_running
    with pytest.raises(ConnectionRefusedError):
        etcd.revision()
    etcd.start()
    assert etcd.endpoint == endpoint
    assert etcd.range("/a").kvs[0].mod_revision == revision == etcd.revision()


def test_nobody_else_gets_the_port_of_a_stopped_server(new_etcd: Etcd) -> None:
    """Neither by asking for it nor by chance."""
    new_etcd.kill()
    with socket.socket() as other, pytest.raises(OSError, match="in use"):
        other.bind(("127.0.0.1", new_etcd.port))


def test_a_wiped_server_is_the_same_cluster_unless_told_otherwise(etcd: Etcd) -> None:
    """The revision begins anew either way."""

    def wiped(*, new_cluster_id: bool) -> str:
        etcd.put("/a", "1")
        etcd.kill()
        etcd.wipe(new_cluster_id=new_cluster_id)
        etcd.start()
        assert etcd.revision() == 1
        return cluster_id()

    def cluster_id() -> str:
        return str(etcd.ask("/maintenance/status", {})["header"]["cluster_id"])

    before = cluster_id()
    assert wiped(new_cluster_id=False) == before
    assert wiped(new_cluster_id=True) != before


def test_a_paused_server_accepts_and_says_nothing(new_etcd: Etcd) -> None:
    """As a half-open connection does; resumed, it goes on."""
    new_etcd.pause()
    with pytest.raises(TimeoutError):
        new_etcd.get("/health", timeout=0.2)
    new_etcd.resume()
    assert new_etcd.put("/a", "1") == 2


def test_a_paused_server_can_be_stopped(new_etcd: Etcd) -> None:
    """Its end doesn't wait for somebody to resume it."""
    new_etcd.pause()
    new_etcd.stop()
    assert not new_etcd.is_running


def test_etcdctl_speaks_to_this_server(etcd: Etcd) -> None:
    """In the v3 API, with standard input."""
    etcd.etcdctl("put", "/a", stdin=b"from stdin")
    assert etcd.range("/a").kvs[0].value == b"from stdin"
    assert etcd.etcdctl("get", "/a", "--print-value-only") == b"from stdin\n"
    with pytest.raises(EtcdError, match="nonsense"):
        etcd.etcdctl("nonsense")


def test_the_callers_flags_win(etcd_version: str) -> None:
    """They come after the ones every server gets."""
    with (
        Etcd(etcd_version, ["--max-txn-ops=2"]) as etcd,
        pytest.raises(RefusedError, match="too many operations"),
    ):
        etcd.txn_put((f"/{i}", "") for i in range(3))


def test_the_environment_is_the_callers() -> None:
    """What the test sets arrives."""
    with Etcd(environment={"ETCD_NONSENSE": "1"}) as etcd:
        assert "ETCD_NONSENSE" in etcd.log.read_text()


def test_a_server_with_a_certificate_is_spoken_to_in_tls(etcd_version: str, tmp_path: Path) -> None:
    """By the calls and by etcdctl, once they know the certificate."""
    certificate, key = self_signed(tmp_path)
    tls = ssl.create_default_context(cafile=certificate)
    with Etcd(
        etcd_version,
        [f"--cert-file={certificate}", f"--key-file={key}"],
        {"ETCDCTL_CACERT": str(certificate)},
        tls=tls,
    ) as etcd:
        assert etcd.endpoint.startswith("https://")
        assert etcd.put("/a", "1") == 2
        assert etcd.etcdctl("get", "/a", "--print-value-only") == b"1\n"


def self_signed(directory: Path) -> tuple[Path, Path]:
    """Write a throw-away certificate for 127.0.0.1, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "etcd")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(IPv4Address("127.0.0.1"))]), critical=False
        )
        .sign(key, hashes.SHA256())
    )
    files = directory / "certificate.pem", directory / "key.pem"
    pem, plain = serialization.Encoding.PEM, serialization.NoEncryption()
    files[0].write_bytes(certificate.public_bytes(pem))
    files[1].write_bytes(key.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain))
    return files


def test_a_server_that_does_not_start_says_why(etcd_version: str) -> None:
    """The error ends with etcd's own words, and nothing is left behind."""
    with closing(Etcd(etcd_version, ["--nonsense"])) as etcd:
        with pytest.raises(EtcdError, match=r"(?s)ended with .*nonsense"):
            etcd.start()
        assert not etcd.is_running
    assert not etcd.directory.exists()


def test_a_killed_test_run_leaves_no_server_behind() -> None:
    """Even when nothing of its own clean-up has run."""
    program = (
        "from tests.etcd import Etcd; e = Etcd().start(); print(e.pid, e.directory, flush=True); input()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as tests:
        assert tests.stdout
        pid, directory = tests.stdout.readline().split()
        server = os.pidfd_open(int(pid))
        tests.send_signal(signal.SIGKILL)
    try:
        assert select.select([server], [], [], 10)[0], "etcd still runs"
    finally:
        os.close(server)
        subprocess.run(["rm", "-r", directory], check=True)


def test_a_missing_version_tells_its_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The one that `tests/etcd-versions` left behind, if it did."""
    monkeypatch.setattr(module, "PROGRAMS", tmp_path)
    assert reason_missing("3.5.16") == "tests/run has not fetched it yet"
    (tmp_path / "3.5.16.missing").write_text("apt is on holiday\n")
    with pytest.raises(EtcdError, match=r"no etcd 3\.5\.16: apt is on holiday"):
        Etcd("3.5.16")


def test_a_cluster_survives_its_leader(etcd_version: str) -> None:
    """The two others elect a new one and have the data."""
    with Cluster(etcd_version) as cluster:
        leader = cluster.leader()
        leader.put("/a", "1")
        leader.kill()
        successor = cluster.leader()
        assert successor is not leader
        assert successor.put("/a", "2") == 3
        leader.start()
        assert leader.range("/a").kvs[0].value == b"2"


@pytest.mark.parametrize(
    ("prefix", "end"), [(b"a", b"b"), (b"a\xff", b"b"), (b"\xff\xff", b"\0"), (b"", b"\0"), (b"a\0", b"a\1")]
)
def test_the_end_of_a_prefix(prefix: bytes, end: bytes) -> None:
    """As etcd's own clients compute it."""
    assert prefix_end(prefix) == end
