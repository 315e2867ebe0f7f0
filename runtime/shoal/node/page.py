"""The page of memory that a worker shares with its manager: eight-byte slots, each written by one side only.

What stands there is known to the manager also while the worker is in a C call, and when it is gone.
"""

from __future__ import annotations

import mmap
import signal

from shoal.wire.diary import DIARY_SIZE

__all__ = [
    "BEGUN",
    "CHUNK",
    "DIARY",
    "DONE",
    "LENGTH",
    "MARK",
    "OUTFIT",
    "OUTFITTED",
    "READ",
    "SIGNAL",
    "SIZE",
    "TARGET",
    "TRACE",
]

MARK = 0
"""By the worker: the mark of the attempt that it began last; 0 for none."""

BEGUN = 1
"""By the worker: when it began that (a double, seconds since the epoch)."""

DONE = 2
"""By the worker: the mark of the attempt that it ended last, all that it printed having been read."""

TARGET = 3
"""By the manager: the mark of the attempt to interrupt."""

READ = (4, 5)
"""By the manager: how often it has read from the worker's stdout and stderr."""

OUTFITTED = 6
"""By the manager: the mark of the attempt that has an outfit, see :mod:`shoal.node.gear`."""

LENGTH = 7
"""By the manager: the length of that outfit in bytes."""

OUTFIT = mmap.PAGESIZE
"""By the manager: where that outfit begins (bytes)."""

DIARY = 4 * mmap.PAGESIZE
"""By the worker: where the attempts stand that it has begun, see :mod:`shoal.wire.diary`. It has no room for a larger outfit."""

SIZE = DIARY + DIARY_SIZE
"""Bytes that are shared."""

TRACE = SIZE
"""By the worker: where behind them, in their file, Python writes its stack when the process crashes."""

CHUNK = 1 << 16
"""Bytes that the manager takes in one reading, if there are so many."""

SIGNAL = int(signal.SIGRTMIN) + 11
"""Tells a worker to look at ``TARGET``, and to send the results that it holds back. Programs hardly use this number."""
