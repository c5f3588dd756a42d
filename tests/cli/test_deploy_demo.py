"""`deploy/demo`: from a clean clone to the demo, and clear words when that cannot be."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
INSTALL_SECONDS = 300.0

TOOLS = ("bash", "cat", "dirname", "flock", "mkdir", "sha256sum")


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """Copy what is in the repository, and nothing else, as a clone would have it."""
    listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    files = subprocess.run(listed, cwd=ROOT, capture_output=True, check=True, text=True).stdout
    for name in filter(None, files.split("\0")):
        if (ROOT / name).is_file():  # others may be at work in the same tree
            (tmp_path / "clone" / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, tmp_path / "clone" / name)
    return tmp_path / "clone"


def demo(clone: Path, environment: dict[str, str], *options: str) -> subprocess.CompletedProcess[str]:
    """Run the script, from another folder."""
    return subprocess.run(
        [clone / "deploy" / "demo", *options],
        cwd="/",
        capture_output=True,
        text=True,
        check=False,
        timeout=INSTALL_SECONDS,
        env=environment,
    )


def path_with(folder: Path, python: str | None) -> str:
    """Make a $PATH that has the tools the script needs, and this script as python3."""
    folder.mkdir()
    for tool in TOOLS:
        found = shutil.which(tool)
        assert found, tool
        (folder / tool).symlink_to(found)
    if python is not None:
        (folder / "python3").write_text(f"#!/bin/sh\n{python}\n")
        (folder / "python3").chmod(0o755)
    return str(folder)


def test_from_a_clean_clone_with_an_empty_home(clone: Path, tmp_path: Path) -> None:
    """Everything is installed into the clone, the demo runs, and a second time nothing is installed."""
    home = tmp_path / "home"
    home.mkdir()
    # The real Python, not a version manager's wrapper that would look for its settings in the home.
    path = f"{Path(os.path.realpath(sys.executable)).parent}:{os.environ['PATH']}"
    environment = {**os.environ, "HOME": str(home), "PATH": path}
    environment.pop("XDG_CACHE_HOME", None)
    done = demo(clone, environment)
    if "pip could not install" in done.stderr:
        pytest.skip(f"NOT TESTED: deploy/demo's installation; pip said: {done.stderr[-500:]}")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "promises, checked in" in done.stdout
    again = demo(clone, environment, "--help")
    assert (again.returncode, again.stderr) == (0, "")
    assert "usage: syncd demo" in again.stdout


@pytest.mark.parametrize(
    ("python", "said"),
    [
        ('[ "$1" = --version ] && echo Python 3.9.2 && exit; exit 1', "python3 is Python 3.9.2."),
        (None, "python3 is missing."),
        ('case "$*" in *ensurepip*) exit 1;; esac', "apt install python3-venv"),
        ('case "$*" in *" -m venv"*|"-m venv"*) exit 1;; esac', "cannot make a venv"),
    ],
    ids=["too old", "none", "without venv", "venv fails"],
)
def test_what_is_missing_is_said(clone: Path, tmp_path: Path, python: str | None, said: str) -> None:
    """One line, exit 1."""
    done = demo(clone, {"PATH": path_with(tmp_path / "bin", python)})
    assert done.returncode == 1
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_a_named_python_that_is_none_is_refused(clone: Path) -> None:
    """$PYTHON is taken at its word."""
    done = demo(clone, {**os.environ, "PYTHON": "/bin/false"})
    assert done.returncode == 1
    assert "$PYTHON is /bin/false, which is no Python 3.11 or newer" in done.stderr
