"""What one attempt of a task needs."""

from __future__ import annotations

import math
import operator
from typing import Any, SupportsFloat

import msgspec

from shoal.errors import ConfigurationError

__all__ = ["Resources"]

_PRIORITY = 2**31


class Resources(msgspec.Struct, frozen=True, array_like=True, kw_only=True):
    """What one attempt of a task needs.

    Args:
        cores: CPU cores that it keeps busy; a worker slot is one core.
        priority: higher runs first among tasks that wait in one pool; 0 is the default.

    Raises:
        ConfigurationError: a number that cannot be.
    """

    cores: float = 1.0
    priority: int = 0

    def __post_init__(self) -> None:
        """Take any kind of number (numpy's too), refuse what is none."""
        given: Any = self.cores  # whatever the caller wrote
        cores = float(given) if isinstance(given, SupportsFloat) else math.nan
        if not (math.isfinite(cores) and cores > 0):
            raise ConfigurationError("Resources.cores", self.cores, "use a number of cores above 0")
        try:
            priority = operator.index(self.priority)
        except TypeError:
            priority = _PRIORITY
        if abs(priority) >= _PRIORITY:
            raise ConfigurationError("Resources.priority", self.priority, "use a whole number of at most 9 digits")
        msgspec.structs.force_setattr(self, "cores", cores)
        msgspec.structs.force_setattr(self, "priority", priority)
