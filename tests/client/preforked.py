"""A program like a web server that loads the application before it forks: `preforked.py SOCKET FORKS`.

It keeps a mirror of `/`, and forks again and again while others write. Each child looks at once whether
it has got whole contents, follows until the key `/stop` is there, and then tells what it has, in one line of
JSON. So does the parent, last. Callbacks are looked after, too: what they were told must be what is there.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path

from syncd.client import Mirror
from tests.client.mirrors import SECONDS, Follower, whole
from tests.serve.local import wait_until

ALARM = round(2 * SECONDS)


def tell(mirror: Mirror[bytes], follower: Follower, *, begun_whole: bool) -> None:
    """Wait for the end, and say how it was."""
    changes = mirror.changes()
    while "/stop" not in mirror:
        changes.next(SECONDS)
    wait_until(lambda: "/stop" in follower.state, "the callback was told")
    descriptors = [str(path.readlink()) for path in Path("/proc/self/fd").iterdir() if path.is_symlink()]
    told = {
        "connections": sum(name.startswith("socket:") for name in descriptors),
        "whole": begun_whole and whole(mirror.snapshot()),
        "followed": follower.state == dict(mirror),
        "revision": mirror.revision,
        "gaps": follower.gaps,
    }
    sys.stdout.write(json.dumps(told) + "\n")
    sys.stdout.flush()


def main() -> None:
    """Fork, and wait for all children."""
    signal.alarm(ALARM)  # what hangs shall not hang the tests
    follower = Follower(lenient=True)
    mirror = Mirror("/", socket_path=sys.argv[1], heartbeat=0.2, on_change=follower)
    mirror.start().wait_ready(SECONDS)
    children = []
    for _ in range(int(sys.argv[2])):
        changes = mirror.changes()
        changes.next(SECONDS)  # so that it forks when there is something going on
        child = os.fork()
        if not child:
            signal.alarm(ALARM)
            tell(mirror, follower, begun_whole=whole(mirror.snapshot()))
            return
        children.append(child)
    sys.stdout.write("forked\n")
    sys.stdout.flush()
    codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
    tell(mirror, follower, begun_whole=True)
    sys.exit(max(codes))


if __name__ == "__main__":
    main()
