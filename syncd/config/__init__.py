"""The configuration file, as frozen values.

    file ──document──▶ YAML nodes ──reader──▶ draft ──checks──▶ Config, or ConfigError with every mistake

`schema` has the keys, their types, bounds and defaults; `notation` and `units` how single values are
written; `ranges` what a range is; `draft` holds what is good so far beside what is not. `files` reads
the files that the configuration names, `pem` certificates and keys; `kinds` names what else they hold, and
`openssl` has the last word on them.
"""

from syncd.config.errors import ConfigError, Mistake
from syncd.config.load import load
from syncd.config.schema import (
    TLS,
    Access,
    Cache,
    Config,
    Etcd,
    History,
    Log,
    Serve,
    ServeTLS,
    Sync,
    Timeouts,
)

__all__ = [
    "TLS",
    "Access",
    "Cache",
    "Config",
    "ConfigError",
    "Etcd",
    "History",
    "Log",
    "Mistake",
    "Serve",
    "ServeTLS",
    "Sync",
    "Timeouts",
    "load",
]
