"""Every target with its corpus, with changed inputs, and for a moment under atheris."""

from __future__ import annotations

import os
import random
import subprocess
from collections.abc import Sequence
from functools import cache
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fuzzing.__main__ import ROOT, command, write_seeds
from tests.fuzzing.mutate import dictionary, mutated, words
from tests.fuzzing.targets import TARGETS, Target

RUNS = 300
"""Inputs for each target under atheris: some seconds each, most of them for preparing its modules."""

here = [target for target in TARGETS.values() if not target.environment]
"""An environment cannot be changed once things are imported."""

each_target = pytest.mark.parametrize("target", here, ids=lambda target: target.name)


@cache
def vocabulary(target: Target) -> Sequence[bytes]:
    """The words of the target's corpus."""
    return dictionary(target.seeds().values())


@each_target
def test_what_real_servers_said(target: Target) -> None:
    """Every input of the corpus passes, alone and after another one."""
    check, seeds = target.load(), list(target.seeds().values())
    assert seeds
    for data in [b"", *seeds]:
        check(data)
    for one, other in pairwise(seeds):
        check(one + other)


@each_target
@given(data=st.data())
@settings(deadline=None, max_examples=60)
def test_what_nobody_says(target: Target, data: st.DataObject) -> None:
    """Any bytes, and the corpus with words moved, doubled, lost and replaced."""
    check = target.load()
    seeds = list(target.seeds().values())
    if data.draw(st.integers(0, 9)) == 0:
        check(data.draw(st.binary(max_size=200)))
    draw = random.Random(data.draw(st.integers(0, 2**32)))
    check(mutated(draw.choice(seeds), draw, vocabulary(target), target.longest))


@pytest.mark.parametrize("name", TARGETS)
def test_under_atheris(name: str, tmp_path: Path) -> None:
    """A moment of coverage-guided search from the corpus finds nothing; `tests/fuzz` takes longer."""
    if not find_spec("atheris"):
        pytest.skip("NOT FUZZED: atheris has wheels for CPython 3.11 to 3.13 on x86-64 Linux only")
    target = TARGETS[name]
    corpus = tmp_path / "corpus"
    write_seeds(target, corpus)
    flags = [f"-runs={RUNS}", "-seed=1", f"-artifact_prefix={tmp_path}/"]
    done = subprocess.run(
        command(target, flags, corpus),
        cwd=ROOT,
        env={**os.environ, **target.environment, "TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    if done.returncode:
        pytest.fail(f"{(done.stdout + done.stderr)[-5000:]}", pytrace=False)
    assert "cov: " in done.stderr, done.stderr[-2000:]


@given(st.binary())
def test_words_are_all_of_it(data: bytes) -> None:
    """Cut into words and joined again, nothing is lost."""
    assert b"".join(words(data)) == data


@given(st.binary(min_size=1, max_size=50), st.integers(), st.integers(1, 60))
def test_a_changed_input_has_bounds(data: bytes, seed: int, longest: int) -> None:
    """However it is changed, an input does not get longer than allowed; the same seed gives the same."""
    one, other = (mutated(data, random.Random(seed), [b"word"], longest) for _ in range(2))
    assert one == other
    assert len(one) <= longest
