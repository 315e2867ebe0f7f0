"""``python -P -m shoal.pool.supervisor SPEC``: runs a lasting pool, and starts its process again after a crash.

What the pool must not forget is in its ledger; clients find it by its connection file, which it writes again. A pool that
was told to end is not started again, nor is one that dies again and again.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import deque
from contextlib import suppress
from pathlib import Path

__all__ = ["main", "supervise"]

MOST = 5
"""Crashes within ``SPAN`` after which the pool is given up."""

SPAN = 60.0
PAUSE = 0.1
"""Seconds before it is started again; each further crash within the span adds as much."""


def supervise(spec: str) -> int:
    """Run the pool of a spec file until it ends in good order, or too often in another way.

    Returns:
        The exit code of its last process.
    """
    falls: deque[float] = deque()
    came_up = False
    file = Path(json.loads(Path(spec).read_bytes())["connection"])
    while True:
        process = subprocess.Popen([sys.executable, "-P", "-m", "shoal.pool", spec], stdin=subprocess.DEVNULL)
        code = process.wait()
        if code == 0:
            return 0
        now = time.monotonic()
        while falls and now - falls[0] > SPAN:
            falls.popleft()
        falls.append(now)
        how = f"signal {-code}" if code < 0 else f"exit code {code}"
        came_up = came_up or _wrote(file, process.pid)
        given_up = not came_up or len(falls) > MOST
        what = "it is given up" if given_up else "it is started again"
        with suppress(OSError):  # a full disk
            sys.stderr.write(f"the pool's process {process.pid} ended with {how}; {what}\n")
        sys.stderr.flush()
        if given_up:
            return code if code > 0 else 1
        time.sleep(PAUSE * len(falls))


def _wrote(file: Path, pid: int) -> bool:
    """Whether that process has come so far as to write its connection file."""
    try:
        return bool(json.loads(file.read_bytes())["pid"] == pid)
    except (OSError, ValueError, KeyError):
        return False


def main() -> None:
    """Supervise a pool."""
    # Whoever wants the pool to end tells the pool itself.
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    os.chdir("/")
    sys.exit(supervise(sys.argv[1]))


if __name__ == "__main__":
    main()
