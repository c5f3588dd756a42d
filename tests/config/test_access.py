"""Rules of access: whom they name, and what they must not leave open."""

from __future__ import annotations

import grp
import pwd
import re
from pathlib import Path

import pytest

from syncd.config import Access
from tests.config.conftest import Load, Mistakes

EXAMPLE = Path(__file__).parents[2] / "config.example.yaml"
ROOT = pwd.getpwuid(0).pw_name
WHEEL = grp.getgrgid(0).gr_name


def test_names_become_numbers(loaded: Load) -> None:
    """By name, by number, and by a number that no name belongs to; a name of digits would be a name first."""
    config = loaded(f"""
        serve:
          access:
            - users: [{ROOT}, 4000000000, "12345"]
              groups: [{WHEEL}, 4000000001]
              prefixes: [/a/, "", /ü/]
            - {{prefixes: [/public/]}}
    """)
    assert config.serve.access == (
        Access(users=(0, 4000000000, 12345), groups=(0, 4000000001), prefixes=("/a/", "", "/ü/")),
        Access(prefixes=("/public/",)),
    )


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ("{users: [no-such-one], prefixes: [/a/]}", 'users[0]: this machine has no user "no-such-one"'),
        ("{groups: [no-such-one], prefixes: [/a/]}", 'groups[0]: this machine has no group "no-such-one"'),
        ("{users: [4294967295], prefixes: [/a/]}", 'users[0]: this machine has no user "4294967295"'),
        ("{users: [-1], prefixes: [/a/]}", 'users[0]: this machine has no user "-1"'),
        ("{groups: [''], prefixes: [/a/]}", "groups[0]: is empty"),
        (r'{users: ["a\0b"], prefixes: [/a/]}', r'users[0]: the user "a\u0000b" cannot be looked up'),
        ("{users: [0]}", "prefixes: missing"),
        ("{users: [0], prefixes: []}", "prefixes: at least one prefix is needed"),
        ("{users: [], prefixes: [/a/]}", "users: names nobody; leave it out if the rule is for everybody"),
        ("{users: [0], groups: [], prefixes: [/a/]}", "groups: names nobody; leave it out"),
        ("{user: [0], prefixes: [/a/]}", 'user: unknown key; did you mean "users"?'),
        ("{users: 0, prefixes: [/a/]}", "users: should be a list, but is a number"),
        ("{users: [0], prefixes: /a/}", "prefixes: should be a list, but is a single value"),
        ("{users: [0], prefixes: [5]}", "prefixes[0]: should be text, but YAML reads a number"),
    ],
)
def test_what_is_no_rule(mistakes: Mistakes, rule: str, expected: str) -> None:
    """Each mistake has its path and line, and nothing is passed over."""
    [line] = mistakes(f"serve:\n  access:\n  - {{prefixes: [/b/]}}\n  - {rule}")
    assert line.startswith(f"4: serve.access[1].{expected}")


def test_all_mistakes_are_told_at_once(mistakes: Mistakes) -> None:
    """A rule with several has a line for each."""
    found = mistakes("serve: {access: [{users: [], groups: [no-such-one]}]}")
    assert [line.split(": ")[1] for line in found] == [
        "serve.access[0].groups[0]",
        "serve.access[0].prefixes",
        "serve.access[0].users",
    ]


def test_the_commented_rules_are_valid(loaded: Load) -> None:
    """What config.example.yaml shows is right, but for the names, which this machine may not have."""
    lines = re.findall(r"^  #(   [- ] (?:users|groups|prefixes): .*)$", EXAMPLE.read_text(), re.MULTILINE)
    text = "\n".join(["serve:", "  access:", *lines]).replace("www-data", WHEEL).replace("alice,", f"{ROOT},")
    assert [len(rule.prefixes) for rule in loaded(text).serve.access] == [1, 2, 1]
