"""``python -P -m shoal.pool SPEC``: run a pool as its spec file says."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import msgspec

from shoal.pool.server import PoolServer
from shoal.pool.spec import PoolSpec
from shoal.record.log import LogWriter


def main() -> None:
    """Run a pool."""
    # Ctrl-C in a terminal goes to all processes there; ending a pool takes more than that.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    spec = msgspec.json.decode(Path(sys.argv[1]).read_bytes(), type=PoolSpec)
    os.chdir(spec.cwd)
    journal = LogWriter(Path(spec.folder) / "pool.log")
    try:
        PoolServer(spec, journal).run()
    finally:
        journal.close()


if __name__ == "__main__":
    main()
