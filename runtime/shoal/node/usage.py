"""How much memory processes take: their own (anonymous pages, in memory or swapped out), with that of all that descends from them.

Files that are mapped and shared memory do not count: the kernel can do without the former, and the latter is nobody's alone.
"""

from __future__ import annotations

import os
import re
from contextlib import suppress

from shoal.node.kin import family

__all__ = ["exact_use", "quick_use"]

_OWN = re.compile(rb"^(?:RssAnon|VmSwap):\s*(\d+) kB", re.MULTILINE)
_SHARED = re.compile(rb"^(?:Pss_Anon|SwapPss):\s*(\d+) kB", re.MULTILINE)


def quick_use(pid: int) -> int:
    """Bytes of memory of a process and its descendants; what a fork shares counts several times."""
    return sum(_kilobytes(each, "status", _OWN) for each in family(pid)) * 1024


def exact_use(pid: int) -> int:
    """The same, with what they share counted once; the kernel goes through all of their pages for it."""
    return sum(_kilobytes(each, "smaps_rollup", _SHARED) for each in family(pid)) * 1024


def _kilobytes(pid: int, name: str, what: re.Pattern[bytes]) -> int:
    with suppress(OSError), open(f"/proc/{pid}/{name}", "rb", buffering=0) as file:
        return sum(map(int, what.findall(os.read(file.fileno(), 4096))))
    return 0
