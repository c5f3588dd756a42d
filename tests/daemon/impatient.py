"""Runs `syncd` with less patience for slow readers, for tests that would only wait for its end.

python -m tests.daemon.impatient run -c CONFIG
"""

import sys

from syncd.cli.main import main
from syncd.serve import connection, entrance, patience
from syncd.serve.v3 import body

MODULE = "tests.daemon.impatient"
SECONDS = 1.0

if __name__ == "__main__":
    for module, name in (
        (patience, "IDLE"),
        (connection, "IDLE"),
        (patience, "STALLED"),
        (body, "SECONDS"),
        (entrance, "LEAVING"),
    ):
        assert hasattr(module, name)
        setattr(module, name, SECONDS)
    sys.exit(main())
