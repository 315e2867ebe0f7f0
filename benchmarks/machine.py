"""The machine and the run in a few lines, without names that say whose it is."""

from __future__ import annotations

import os
import platform
import time
from pathlib import Path

import psutil

BUSY = 0.3
"""Load average a core from which figures are in doubt."""


def describe_machine(rounds: int, workers: int) -> list[str]:
    """What a reader needs to judge the figures."""
    memory = psutil.virtual_memory().total / 2**30
    load = os.getloadavg()[0]
    system = f"{platform.system()} {platform.release().split('-')[0]}, Python {platform.python_version()}"
    date = time.strftime("%Y-%m-%d")
    return [
        f"{date}: {processor()}, {cores()} cores, {memory:.0f} GiB of memory, {system}",
        f"{workers} workers each; {rounds} round{'s' if rounds > 1 else ''}, systems in turn; load average {load:.1f} at the start",
    ]


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0))


def busy() -> str:
    """A warning, if other programs are using the machine."""
    load = os.getloadavg()[0]
    return f"the load average is {load:.1f}: figures will be in doubt" if load > BUSY * cores() else ""


def processor() -> str:
    """The processor's name."""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()
