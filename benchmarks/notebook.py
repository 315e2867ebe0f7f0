"""What the notebook side costs and gains, through a real kernel. Run by ``python -m benchmarks.notebook``.

Three figures: a notebook of independent cells as tasks and as it is; what ``%%task`` adds to an empty cell; what plain cells cost with
the extension loaded, and with tasks in flight.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from statistics import median

from jupyter_client.blocking.client import BlockingKernelClient
from jupyter_client.manager import KernelManager

WORKERS = 4
CELLS = 12
REPEATS = 300
LIMIT = 120.0
LOAD = """
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
        self.run(code)
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
    """Print the figures."""
    text = "x = [i * i for i in range(10)]\ny = {'a': sum(x)}\nlen(y)"
    for _ in range(2):
        tell("an empty cell, Python's own kernel", bare.each("pass"), "ms")
        tell("an empty cell, Shoal loaded", ours.each("pass"), "ms")
        tell("a short plain cell, Python's own kernel", bare.each(text), "ms")
        tell("a short plain cell, Shoal loaded", ours.each(text), "ms")
    sleeps = ["time.sleep(0.5)"] * CELLS
    bare.run("import time")
    ours.run("import time")
    tell(f"{CELLS} cells of 0.5 s, plain", bare.run(*sleeps), "s")
    ours.run(LOAD.format(runs=f"{home}/runs", workers=WORKERS))
    ours.run("%autotask on")
    tell(f"the same under %autotask, {WORKERS} workers", ours.run(*sleeps, "%wait"), "s")
    ours.run("%autotask off")
    tell("a short plain cell, after task cells", ours.each(text), "ms")
    ours.run("%%task\ntime.sleep(300)\nheld = 1")
    tell("the same while a name is pending", ours.each(text), "ms")
    ours.run("%cancel held")
    tell("a cell with %%task pass", ours.each("%%task\npass"), "ms")
    tell("a cell with %%task --quiet pass", ours.each("%%task --quiet\npass"), "ms")


def tell(what: str, value: float, unit: str) -> None:
    """One line."""
    sys.stdout.write(f"{what:55} {value:8.2f} {unit}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
