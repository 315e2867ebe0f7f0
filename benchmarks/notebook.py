"""What the notebook side costs and gains, through real kernels. Run by ``python -m benchmarks.notebook``; prints one table.

Two kernels take turns, so that a slow moment slows down both: Python's own, and Shoal's. Differences and ratios are of the medians
of the rounds, with the least and the most.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Sequence
from statistics import median

from jupyter_client.blocking.client import BlockingKernelClient
from jupyter_client.manager import KernelManager

WORKERS = 4
CELLS = 12
REPEATS = 60
ROUNDS = 9
VARIABLES = 2_000
LIMIT = 120.0
TEXT = "x = [i * i for i in range(10)]\ny = {'a': sum(x)}\nlen(y)"
FRAME = """
import numpy, pandas
frame = pandas.DataFrame({c: numpy.random.default_rng(0).random(5_000_000) for c in "abcde"})
"""
LOAD = """
import time
import shoal
from shoal import Config, HighThroughputExecutor, LocalProvider
session = shoal.load(Config(run_dir={runs!r}, executors=[HighThroughputExecutor(
    label="pool", max_workers_per_node={workers}, provider=LocalProvider(init_blocks=1, max_blocks=1))]))
warm = [session.submit(time.sleep, (0.2,)) for _ in range({workers})]
[w.result() for w in warm]
"""


class Kernel:
    """A kernel and its client.

    Args:
        name: the kernelspec's.
        home: a folder for what it writes.
    """

    def __init__(self, name: str, home: str) -> None:
        self.manager = KernelManager(kernel_name=name)
        env = {**os.environ, "IPYTHONDIR": f"{home}/ipython", "SHOAL_HOME": f"{home}/shoal"}
        self.manager.start_kernel(env=env, cwd=home)
        self.client: BlockingKernelClient = self.manager.blocking_client()
        self.client.start_channels()
        self.client.wait_for_ready(timeout=LIMIT)

    def run(self, *cells: str) -> float:
        """Send cells at once, as "Run All" does; returns the seconds until the last has ended."""
        began = time.perf_counter()
        ids = {self.client.execute(code) for code in cells}
        while ids:
            reply = self.client.get_shell_msg(timeout=LIMIT)
            ids.discard(reply["parent_header"].get("msg_id"))
            if reply["content"].get("status") != "ok":
                raise SystemExit(f"a cell failed: {reply['content']}")
        return time.perf_counter() - began

    def each(self, code: str) -> float:
        """The median time of a cell, in milliseconds, sent one by one."""
        return 1e3 * median(self.run(code) for _ in range(REPEATS))

    def stop(self) -> None:
        """End it."""
        self.client.stop_channels()
        self.manager.shutdown_kernel()


def main() -> int:
    """Measure and print."""
    with tempfile.TemporaryDirectory(prefix="shoal-notebook-") as home:
        bare, ours = Kernel("python3", home), Kernel("shoal", home)
        try:
            measure(bare, ours, home)
        finally:
            bare.stop()
            ours.stop()
    return 0


def measure(bare: Kernel, ours: Kernel, home: str) -> None:
    """Print the table."""
    tell("", "Python's kernel", "with Shoal", "difference or ratio")
    compare("an empty cell, ms", bare, ours, "pass")
    compare("a short plain cell, ms", bare, ours, TEXT)
    for kernel in (bare, ours):
        kernel.run(f"globals().update((f'v{{i}}', i) for i in range({VARIABLES}))")
    compare(f"the same beside {VARIABLES:,} variables, ms", bare, ours, TEXT)
    ours.run(LOAD.format(runs=f"{home}/runs", workers=WORKERS))
    ours.run("%%task\nheld = 1")
    ours.run("%wait")
    compare("the same, some of them futures, ms", bare, ours, TEXT)
    compare("%%task pass, against an empty cell, ms", bare, ours, "pass", "%%task\npass")
    compare("%%task --quiet pass, likewise, ms", bare, ours, "pass", "%%task --quiet\npass")
    sleeps(bare, ours)
    frames(ours)


def compare(what: str, bare: Kernel, ours: Kernel, code: str, task: str = "") -> None:
    """One line: cells one by one, the kernels in turn."""
    pairs = [(bare.each(code), ours.each(task or code)) for _ in range(ROUNDS)]
    first, second = zip(*pairs, strict=True)
    by = [mine - theirs if task else mine / theirs for theirs, mine in pairs]
    unit = "+{:.2f} ms" if task else "x {:.2f}"
    tell(what, spread(first), spread(second), spread(by, unit))
    if task:
        ours.run("%wait")


def sleeps(bare: Kernel, ours: Kernel) -> None:
    """Cells that do not need each other."""
    cells = ["time.sleep(0.5)"] * CELLS
    bare.run("import time")
    plain = [bare.run(*cells)]
    ours.run("%autotask on")
    tasks = [ours.run(*cells, "%wait") for _ in range(3)]
    ours.run("%autotask off")
    what = f"{CELLS} cells of 0.5 s, %autotask on {WORKERS} workers, s"
    tell(what, spread(plain), spread(tasks), f"x {median(tasks) / plain[0]:.2f}")


def frames(ours: Kernel) -> None:
    """Cells of half a second that only read one table of 200 MB, beside cells that read nothing."""
    ours.run(FRAME)
    cells = [f"%%task\nr{n} = float(frame['{c}'].sum())\ntime.sleep(0.5)" for n, c in enumerate("abcd")]
    alone = [f"%%task\nr{n} = 1\ntime.sleep(0.5)" for n in range(4)]
    for _ in range(2):
        ours.run(*cells, "%wait")  # each worker has loaded pandas then, and mapped the memory
    without = [ours.run(*alone, "%wait") for _ in range(5)]
    reading = [ours.run(*cells, "%wait") for _ in range(5)]
    ours.run("kept, frame = frame, shoal.share(frame)", *cells, "%wait")
    shared = [ours.run(*cells, "%wait") for _ in range(5)]
    tell("4 task cells of 0.5 s that read nothing, s", "", spread(without), "")
    tell(
        "that each read the same table of 200 MB, s", "", spread(reading), f"+{median(reading) - median(without):.2f} s"
    )
    tell("the same, the table by shoal.share, s", "", spread(shared), f"+{median(shared) - median(without):.2f} s")


def spread(values: Sequence[float], unit: str = "{:.2f}") -> str:
    """The median, with the least and the most."""
    return f"{unit.format(median(values))} ({min(values):.2f} to {max(values):.2f})"


def tell(what: str, *columns: str) -> None:
    """One line."""
    sys.stdout.write(f"{what:51}" + "".join(f" {column:>25}" for column in columns) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
