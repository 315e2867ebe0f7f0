"""The page of memory that a worker shares with its manager: eight-byte slots, each written by one side only.

What stands there is known to the manager also while the worker is in a C call, and when it is gone.
"""

from __future__ import annotations

import signal

__all__ = ["BEGUN", "CHUNK", "DONE", "MARK", "READ", "SIGNAL", "TARGET"]

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

CHUNK = 1 << 16
"""Bytes that the manager takes in one reading, if there are so many."""

SIGNAL = int(signal.SIGRTMIN) + 11
"""Tells a worker to look at ``TARGET``, and to send the results that it holds back. Programs hardly use this number."""
