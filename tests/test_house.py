"""The house rules that tools can check: ruff's, mypy's, and who may import whom (in pyproject.toml)."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import grimp
import pytest

ROOT = Path(__file__).resolve().parent.parent
FILES = {file for folder in ("syncd", "tests") for file in (ROOT / folder).rglob("*.py")}


def run(*command: str) -> str:
    """Run a tool of this Python's at the repository's top; fail with what it says, or return that."""
    tool = Path(sys.executable).with_name(command[0])
    done = subprocess.run([tool, *command[1:]], cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.fail(f"{' '.join(command)}\n{done.stdout}{done.stderr}", pytrace=False)
    return done.stdout


def number(pattern: str, text: str) -> int:
    """Return the number that a tool reports: how much it looked at."""
    found = re.search(pattern, text)
    assert found, f"no {pattern!r} in: {text}"
    return int(found[1])


def test_there_are_files_to_check() -> None:
    """The other tests would be worth nothing if the folders were not found."""
    assert Path(__file__).resolve() in FILES
    assert ROOT / "syncd" / "__init__.py" in FILES


def test_ruff_finds_nothing() -> None:
    """Ruff looks at every file, and has nothing to say."""
    looked_at = {Path(line) for line in run("ruff", "check", "--show-files", ".").splitlines()}
    assert looked_at >= FILES
    run("ruff", "check", "--output-format=concise", ".")


def test_files_are_formatted() -> None:
    """`ruff format` would change nothing."""
    said = run("ruff", "format", "--check", ".")
    assert number(r"(\d+) files? already formatted", said) >= len(FILES)


def test_types_fit() -> None:
    """Mypy, strict, understands every file."""
    assert tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["mypy"]["strict"] is True
    said = run("mypy")
    assert number(r"no issues found in (\d+) source files", said) >= len(FILES)


def test_every_module_is_seen_by_the_import_rules() -> None:
    """A folder without `__init__.py` would be no part of the graph, and could import what it likes."""
    graph = grimp.build_graph("syncd", cache_dir=None)
    seen = {module for module in graph.modules if module.split(".")[0] == "syncd"}
    modules = {
        ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        for file in FILES
        if file.is_relative_to(ROOT / "syncd")
    }
    assert modules == seen


def test_imports_go_one_way() -> None:
    """Import-linter keeps every contract of pyproject.toml."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    said = run("lint-imports", "--no-logo")
    assert number(r"(\d+) kept, 0 broken", said) == len(contracts) > 0
