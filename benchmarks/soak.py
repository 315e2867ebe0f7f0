"""A million tasks in one session, submitted by a loop that never waits: the rate stays, and so does the memory.

``make soak`` runs it; the figures go to docs/benchmarks.md by hand.
"""

from __future__ import annotations

import argparse
import gc
import tempfile
import time
from collections import deque
from concurrent.futures import Future
from typing import Any

import psutil

import shoal


@shoal.python_app
def number(n: int) -> int:
    """Its argument."""
    return n


def soak(tasks: int, outstanding: int, workers: int) -> None:
    """Submit ``tasks`` no-ops and print, for each tenth, the rate and the resident memory of this process.

    Args:
        tasks: how many.
        outstanding: the session's ``max_outstanding``.
        workers: of the pool.
    """
    executors = [shoal.HighThroughputExecutor(max_workers_per_node=workers)]
    process = psutil.Process()
    with (
        tempfile.TemporaryDirectory() as folder,
        shoal.load(shoal.Config(executors=executors, run_dir=folder, max_outstanding=outstanding)) as session,
    ):
        number(0).result()
        held: deque[Future[Any]] = deque(maxlen=1000)
        began = time.perf_counter()
        for tenth in range(10):
            start = time.perf_counter()
            for n in range(tasks // 10):
                held.append(number(n))
            while session.pending() > outstanding // 2:
                held[0].result()
                time.sleep(0.01)
            rate = tasks // 10 / (time.perf_counter() - start)
            gc.collect()
            print(
                f"{(tenth + 1) * tasks // 10:>12,} submitted  {rate:>9,.0f} tasks/s  {session.pending():>8,} unfinished  "
                f"{process.memory_info().rss / 1e6:>6.0f} MB",
                flush=True,
            )
        session.wait()
        if held[-1].result() != tasks // 10 - 1:
            raise RuntimeError("the last task has a wrong value")
        print(f"{tasks / (time.perf_counter() - began):,.0f} tasks/s over all; {session.view().counts[3]:,} done")


def main() -> None:
    """Read the options."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", type=int, default=1_000_000, metavar="N")
    parser.add_argument(
        "--outstanding", type=int, default=50_000, metavar="N", help="max_outstanding (default: 50,000)"
    )
    parser.add_argument("--workers", type=int, default=2, metavar="N")
    options = parser.parse_args()
    soak(options.tasks, options.outstanding, options.workers)


if __name__ == "__main__":
    main()
