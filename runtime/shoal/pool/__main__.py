"""``python -P -m shoal.pool SPEC``: run a pool as its spec file says."""

from __future__ import annotations

import os
import resource
import signal
import sys
from pathlib import Path

import msgspec

from shoal.pool.server import PoolServer
from shoal.pool.spec import PoolSpec
from shoal.record.log import LogWriter
from shoal.stacks import write_on_signal


def raise_file_limit() -> None:
    """Let this process open as many files as it may: each manager and each client that is connected is one."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def main() -> None:
    """Run a pool."""
    # Ctrl-C in a terminal goes to all processes there; ending a pool takes more than that.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    spec = msgspec.json.decode(Path(sys.argv[1]).read_bytes(), type=PoolSpec)
    os.chdir(spec.cwd)
    raise_file_limit()
    write_on_signal(2)
    journal = LogWriter(Path(spec.folder) / "pool.log")
    try:
        PoolServer(spec, journal).run()
    finally:
        journal.close()


if __name__ == "__main__":
    main()
