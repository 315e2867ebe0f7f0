"""What a node has to offer besides cores."""

from __future__ import annotations

import os
import re
from contextlib import suppress
from pathlib import Path

from shoal.wire.starting import NodeRules

__all__ = ["gpus", "memory"]

_GPU = re.compile(r"nvidia\d+")


def memory(proc: Path = Path("/proc"), groups: Path = Path("/sys/fs/cgroup")) -> int:
    """Bytes of memory that processes here may take in all: what the host has, or less where a control group says so.

    Args:
        proc: where the kernel tells about processes.
        groups: where it tells about control groups.
    """
    total = 0
    with suppress(OSError):
        found = re.search(r"^MemTotal:\s*(\d+) kB$", (proc / "meminfo").read_text(), re.MULTILINE)
        total = int(found[1]) * 1024 if found else 0
    limits = [limit for limit in _limits(proc, groups) if 0 < limit < total]
    return min(limits, default=total)


def gpus(devices: str = "/dev", rules: NodeRules | None = None) -> int:
    """How many accelerators tasks here may have.

    Args:
        devices: where the kernel shows devices.
        rules: may name them, and say which variables of the environment do; what such a variable shows counts.
    """
    rules = rules or NodeRules()
    if rules.accelerators:
        return len(rules.accelerators)
    for variable in rules.accelerator_variables:
        shown = os.environ.get(variable)
        if shown is not None:
            return len([name for name in shown.split(",") if name.strip() not in ("", "-1")])
    try:
        return sum(_GPU.fullmatch(name) is not None for name in os.listdir(devices))
    except OSError:
        return 0


def _limits(proc: Path, groups: Path) -> list[int]:
    """The memory limits of this process's control groups, from its own up to the root."""
    found = []
    with suppress(OSError):
        for line in (proc / "self/cgroup").read_text().splitlines():
            _, kinds, path = line.split(":", 2)
            if kinds == "":
                folder, name = groups, "memory.max"
            elif "memory" in kinds.split(","):
                folder, name = groups / "memory", "memory.limit_in_bytes"
            else:
                continue
            own = folder / path.strip("/")
            for place in (own, *own.parents):
                with suppress(OSError, ValueError):  # "max" is no number
                    found.append(int((place / name).read_text()))
                if place == folder:
                    break
    return found
