"""A run that is killed, and goes on where it was: results of apps with ``cache=True`` are kept as they are made.

The program starts itself as a child, kills that with SIGKILL in the middle of its work, and starts it again.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import shoal

STEPS = 20


@shoal.python_app(cache=True, ignore_for_cache=["notes"])
def simulate(step: int, notes: str) -> int:
    """A step that takes its time, and notes that it was really run."""
    import time
    from pathlib import Path

    time.sleep(0.1)
    with Path(notes).open("a") as file:
        file.write(f"{step}\n")
    return step * step


def work(folder: str) -> int:
    """The program that gets killed: the sum of all steps."""
    config = shoal.Config(
        executors=[shoal.HighThroughputExecutor(max_workers_per_node=2)],
        run_dir=f"{folder}/runs",
        memo=shoal.Memo(folder=f"{folder}/memo"),
    )
    with shoal.load(config):
        return sum(shoal.gather([simulate(step, f"{folder}/notes") for step in range(STEPS)]))


def main() -> tuple[int, int]:
    """Start, kill, start again; returns the sum, and how many steps were run in both runs together."""
    with tempfile.TemporaryDirectory() as folder:
        notes = Path(folder) / "notes"
        command = [sys.executable, __file__, folder]
        first = subprocess.Popen(command)
        while not notes.exists() or len(notes.read_text().split()) < STEPS // 2:
            time.sleep(0.02)
        first.send_signal(signal.SIGKILL)
        first.wait()
        done = len(notes.read_text().split())
        print(f"killed with {done} of {STEPS} steps done")
        total = int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        again = len(notes.read_text().split()) - done
        print(f"sum {total}; the second run ran {again} steps")
        return total, done + again


if __name__ == "__main__":
    if len(sys.argv) > 1:
        print(work(sys.argv[1]))
    else:
        main()
