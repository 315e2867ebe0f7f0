"""The tasks that every system runs. They do nothing of their own, so that what is measured is the way there and back."""

from __future__ import annotations

import os
import threading
import time
from typing import Any


def noop() -> None:
    """Nothing."""


def echo(value: Any) -> Any:
    """Its argument."""
    return value


def look(array: Any, place: int) -> float:
    """One number of an array."""
    return float(array[place])


def increment(value: int) -> int:
    """One more: a link of a chain."""
    return value + 1


def total(*values: int) -> int:
    """The sum: the far end of a fan."""
    return sum(values)


def whoami(seconds: float) -> tuple[int, int]:
    """Which worker this is (process and thread), after a moment that keeps it busy while the others are asked."""
    time.sleep(seconds)
    return os.getpid(), threading.get_ident()
