"""The codes: each is documented, used, and formed as the others are."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec

from syncd.config import Etcd
from syncd.diagnosis.catalogue import CATALOGUE, found

ROOT = Path(__file__).resolve().parents[2]
CODE = re.compile(r"[a-z]+\.[a-z_]+")


def test_codes_are_dotted_words() -> None:
    """An area, and what is the matter there."""
    assert all(CODE.fullmatch(code) for code in CATALOGUE)


def test_what_is_not_well_says_what_it_means() -> None:
    """And what is well needs no words."""
    assert all(bool(entry.means) == (entry.level != "ok") for entry in CATALOGUE.values())


def test_every_code_is_used() -> None:
    """By the code that finds it: none is left over, and none is made up elsewhere."""
    catalogue = ROOT / "syncd" / "diagnosis" / "catalogue.py"
    sources = {file: file.read_text() for file in (ROOT / "syncd").rglob("*.py") if file != catalogue}
    quoted = {word for text in sources.values() for word in re.findall(r'"([a-z]+\.[a-z_]+)"', text)}
    assert set(CATALOGUE) - quoted == set()


def test_the_readme_knows_every_code_and_no_other() -> None:
    """Users search there for what they see; what a code means is said there as it is here."""
    text = (ROOT / "README.md").read_text()
    section = text.partition("## When etcd does not let you in")[2].partition("\n## ")[0]
    keys = {f"etcd.{field.name}" for field in msgspec.structs.fields(Etcd)}
    areas = {code.partition(".")[0] for code in CATALOGUE}
    named = {name for name in CODE.findall(section) if name.partition(".")[0] in areas} - keys
    assert named - set(CATALOGUE) == set()
    for code, entry in CATALOGUE.items():
        assert (f"| `{code}` | {entry.means} |" if entry.means else f"`{code}`") in section


def test_a_finding_says_what_its_code_means_and_more() -> None:
    """What is always so, and what is so in this case."""
    finding = found("tcp.refused", "http://etcd:1", "seen", "cure", means="more")
    assert finding.level == "error"
    assert finding.means == f"{CATALOGUE['tcp.refused'].means}; more"
