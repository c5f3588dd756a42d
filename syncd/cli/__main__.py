"""`python -m syncd.cli` is `syncd`."""

import sys

from syncd.cli.main import main

sys.exit(main())
