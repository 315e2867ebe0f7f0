"""One measurement in a process of its own.

Run as ``python -m benchmarks.child MODULE PEER CASE COUNT WORKERS FILE EXEC_TIME``; the results go to FILE as JSON, since a
system may print what it likes. Only what the start-up case needs is imported at the top.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path


def main(arguments: list[str]) -> None:
    """Measure, and write down what was found."""
    module, name, case, count, workers, file, executed = arguments
    if case == "startup":
        found = startup(module, name, int(workers), int(executed))
    else:
        found = measure(module, name, case, int(count), int(workers))
    import json

    Path(file).write_text(json.dumps(found))


def startup(module: str, name: str, workers: int, executed: int) -> dict[str, object]:
    """From the exec of this process (``executed``, monotonic, in ns) to the first result of a system not yet started."""
    from benchmarks import tasks
    from benchmarks.peers import load_peer

    peer = load_peer(module, name)
    peer.start(workers)
    peer.collect([peer.prepare(tasks.noop)()])
    seconds = (time.monotonic_ns() - executed) / 1e9
    peer.close()
    return {"figures": {"seconds": seconds}}


def measure(module: str, name: str, case_name: str, count: int, workers: int) -> dict[str, object]:
    """A case on a system that is up with all its workers."""
    from benchmarks.cases import CASES
    from benchmarks.measure.processes import wait_for_workers
    from benchmarks.peers import load_peer

    case = next(case for case in CASES if case.name == case_name)
    if case.run is None:
        raise ValueError(f"{case_name} is measured by the start itself")
    peer = load_peer(module, name)
    peer.start(workers)
    try:
        wait_for_workers(peer, workers)
        return {"figures": case.run(peer, count), "description": peer.describe()}
    finally:
        peer.close()


if __name__ == "__main__":
    main(sys.argv[1:])
