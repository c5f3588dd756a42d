"""One target under atheris, in a process of its own: coverage has to be prepared before anything is imported.

    python -m tests.fuzzing.under_atheris TARGET [-FLAG=VALUE …] [FOLDER …]

Flags and folders are libFuzzer's; it ends the process, with an exit code other than 0 when an input failed.
The environment that the target asks for is set by whoever starts this.
"""

from __future__ import annotations

import random
import sys

import atheris

from tests.fuzzing.mutate import dictionary, mutated
from tests.fuzzing.targets import TARGETS


def main() -> None:
    """Fuzz; never returns."""
    name, *arguments = sys.argv[1:]
    target = TARGETS[name]
    vocabulary = dictionary(target.seeds().values())
    with atheris.instrument_imports(include=list(target.about)):
        function = target.load()

    def mutate(data: bytes, longest: int, seed: int) -> bytes:
        draw = random.Random(seed)
        if draw.random() < 0.5:
            changed: bytes = atheris.Mutate(data, longest)
            return changed
        return mutated(data, draw, vocabulary, longest)

    flags = [f"-max_len={target.longest}", "-timeout=20", "-rss_limit_mb=2048", *arguments]
    atheris.Setup([sys.argv[0], *flags], function, custom_mutator=mutate)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
