"""Runs `syncd` with less time between two looks at its files, for tests that would only wait for that.

python -m tests.daemon.hasty run -c CONFIG
"""

import sys

from syncd.cli.main import main
from syncd.gateway import rotation

MODULE = "tests.daemon.hasty"
LOOK = 0.1

if __name__ == "__main__":
    rotation.LOOK = LOOK
    sys.exit(main())
