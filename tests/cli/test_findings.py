"""The order of findings, and how they are laid out for people."""

import random

import pytest

from syncd.cli.findings import SYMBOLS, WORDS, lines, summary
from syncd.cli.order import in_order
from syncd.config import Config, Etcd
from syncd.diagnosis.catalogue import found
from syncd.findings import Finding
from syncd.keyrange import prefix_range

NEAR, FAR = "https://near:2379", "https://a-far:2379"
CONFIG = Config(
    etcd=Etcd(endpoints=(NEAR, FAR)), ranges=(prefix_range(b"/b/"), prefix_range(b"/a/"), prefix_range(b""))
)
LONG = "a sentence with --client-cert-auth in it, " * 6


def shown(findings: list[Finding], width: int | None = None) -> list[str]:
    """What is printed, without its colours."""
    return ["".join(text for text, _ in line) for line in lines(findings, WORDS, width)]


def test_what_is_nearer_comes_first() -> None:
    """First the host and its files, then each endpoint from the road to the user, then the ranges."""
    expected = [
        ("config.ok", "/etc/syncd.yaml"),
        ("file.readable_by_others", "/etc/a.key"),
        ("tls.ca_expires", "/etc/ca.pem"),
        ("socket.ok", "/run/s"),
        ("socket.open_to_all", "/run/s"),
        ("cache.off", "cache.directory"),
        ("dns.ok", NEAR),
        ("tcp.ok", NEAR),
        ("tls.ok", NEAR),
        ("gateway.ok", NEAR),
        ("etcd.ok", NEAR),
        ("auth.ok", NEAR),
        ("tcp.refused", FAR),
        ("check.skipped", FAR),
        ("etcd.alarm", "https://no-endpoint:2379"),
        ("etcd.members_not_configured", "etcd.endpoints"),
        ("range.ok", f"{NEAR} /b/"),
        ("watch.ok", f"{NEAR} /b/"),
        ("range.ok", f"{FAR} /b/"),
        ("range.empty", "/a/"),
        ("range.ok", f"{NEAR} (all keys)"),
        ("etcd.known_bug", "etcd 3.5.16"),
    ]
    findings = [found(code, subject, "seen") for code, subject in expected]
    for seed in range(5):
        shuffled = random.Random(seed).sample(findings, len(findings))
        assert [(one.code, one.subject) for one in in_order(shuffled, CONFIG)] == expected


def test_equal_codes_stay_in_the_order_of_their_making() -> None:
    """A server may have several known bugs."""
    bugs = [found("etcd.known_bug", NEAR, text) for text in ("b", "c", "a")]
    assert in_order(bugs, CONFIG) == bugs


def test_a_paragraph_for_each_subject() -> None:
    """A line a finding; below it what it means and how to mend it, commands on lines of their own."""
    findings = [
        found("tcp.ok", NEAR, "connected"),
        found(
            "auth.wrong_password", NEAR, "refused", "write the right one, or give another:\n  etcdctl user"
        ),
        found("range.empty", f"{NEAR} /b/", "no keys"),
    ]
    assert shown(findings) == [
        NEAR,
        "  ok       tcp.ok          connected",
        "  error    auth.wrong_password  refused",
        "             etcd knows no such user, or that is not the user's password",
        "             > write the right one, or give another:",
        "                 etcdctl user",
        "",
        f"{NEAR} /b/",
        "  note     range.empty     no keys",
        "             nothing is there; is that the right prefix?",
        "",
    ]


@pytest.mark.parametrize("width", [40, 80, 300])
def test_sentences_are_wrapped_and_commands_are_not(width: int) -> None:
    """On a terminal, no line is too wide for it or for readers; commands and words stay whole."""
    command = f"openssl {'x' * 200} --a-b"
    finding = Finding("tcp.ok", "error", NEAR, LONG, LONG, f"{LONG}\n  {command}\n{LONG}")
    text = shown([finding], width)
    assert f"                 {command}" in text
    rest = [line for line in text if command not in line]
    assert max(map(len, rest)) <= min(width, 100)
    assert sum(line.count("--client-cert-auth") for line in rest) == 4 * 6
    assert sum(line.lstrip().startswith("> ") for line in rest) == 1


@pytest.mark.parametrize("seen", [LONG, ""])
def test_what_was_seen_is_one_line_elsewhere(seen: str) -> None:
    """However long it is, for programs such as grep read it; and even when it is nothing."""
    assert shown([Finding("tcp.ok", "ok", NEAR, seen)])[1:] == [f"  ok       tcp.ok          {seen}", ""]
    assert len(shown([Finding("tcp.ok", "ok", NEAR, seen)], 40)) == (14 if seen else 3)


def test_what_others_wrote_cannot_control_the_terminal() -> None:
    """An answer of a server, a file's name, a user's."""
    evil = "\x1b[2J\r\n\u202e"
    for line in shown([Finding("tcp.ok", "error", evil, evil, evil, f"{evil}\n  {evil}")]):
        assert line.isprintable()


def test_every_level_has_its_mark() -> None:
    """Words of one width, and symbols."""
    assert set(WORDS) == set(SYMBOLS) == {"ok", "note", "warning", "error"}
    assert len({len(word) for word in WORDS.values()}) == 1


@pytest.mark.parametrize(
    ("codes", "said"),
    [
        (["tcp.ok", "tls.off"], "all is well"),
        (["tcp.ok", "clock.differs"], "1 warning: syncd works; mind what is said above"),
        (["tcp.refused"], "1 error (tcp.refused): syncd cannot work like this"),
        (
            ["tcp.refused", "tcp.timeout", "clock.differs"],
            "2 errors (tcp.refused, tcp.timeout), 1 warning: syncd cannot work like this",
        ),
    ],
)
def test_the_last_line_sums_up(codes: list[str], said: str) -> None:
    """How many of what."""
    assert summary([found(code, NEAR, "") for code in codes])[0] == said
