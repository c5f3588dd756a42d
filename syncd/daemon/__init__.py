"""The daemon: how the parts are put together; signals; the log."""

from syncd.daemon.run import StartError, run

__all__ = ["StartError", "run"]
