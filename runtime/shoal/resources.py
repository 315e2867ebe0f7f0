"""What one attempt of a task needs."""

from __future__ import annotations

import math
import operator
import re
from typing import Any, SupportsFloat

import msgspec

from shoal.errors import ConfigurationError

__all__ = ["Resources", "as_bytes", "as_text"]

_PRIORITY = 2**31
_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12, "ki": 2**10, "mi": 2**20, "gi": 2**30, "ti": 2**40}
_SIZE = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([kmgt]?i?)b?\s*", re.IGNORECASE)


class Resources(msgspec.Struct, frozen=True, array_like=True, kw_only=True):
    """What one attempt of a task needs.

    Args:
        cores: CPU cores that it keeps busy; a worker slot is one core.
        priority: higher runs first among tasks that wait in one pool; 0 is the default.
        memory: bytes, or a text such as ``"2 GB"`` (powers of 1000) or ``"2 GiB"`` (of 1024); 0 if it does not matter.
        gpus: accelerators.
        ranks: MPI processes that it starts, all on one node; each takes a core, unless ``cores`` says more. 0: none.

    Raises:
        ConfigurationError: a number that cannot be.
    """

    cores: float = 1.0
    priority: int = 0
    memory: int = 0
    gpus: int = 0
    ranks: int = 0

    def __post_init__(self) -> None:
        """Take any kind of number (numpy's too), refuse what is none."""
        given: Any = self.cores  # whatever the caller wrote
        cores = float(given) if isinstance(given, SupportsFloat) else math.nan
        if not (math.isfinite(cores) and cores > 0):
            raise ConfigurationError("Resources.cores", self.cores, "use a number of cores above 0")
        priority = _whole(self.priority)
        if abs(priority) >= _PRIORITY:
            raise ConfigurationError("Resources.priority", self.priority, "use a whole number of at most 9 digits")
        gpus = _whole(self.gpus)
        if not 0 <= gpus < _PRIORITY:
            raise ConfigurationError("Resources.gpus", self.gpus, "use a whole number, 0 or more")
        ranks = _whole(self.ranks)
        if not 0 <= ranks < _PRIORITY:
            raise ConfigurationError("Resources.ranks", self.ranks, "use a whole number, 0 or more")
        if cores < ranks:
            if cores != 1.0:
                raise ConfigurationError("Resources.cores", self.cores, f"{ranks} ranks need as many cores, or more")
            cores = float(ranks)
        msgspec.structs.force_setattr(self, "ranks", ranks)
        msgspec.structs.force_setattr(self, "cores", cores)
        msgspec.structs.force_setattr(self, "priority", priority)
        msgspec.structs.force_setattr(self, "memory", as_bytes("Resources.memory", self.memory))
        msgspec.structs.force_setattr(self, "gpus", gpus)


def as_bytes(field: str, size: object) -> int:
    """A size in bytes.

    Args:
        field: the name of the option, for the error.
        size: a number of bytes, or a text with a unit: ``"500 MB"``, ``"1.5 GiB"``.

    Raises:
        ConfigurationError: it is neither.
    """
    if isinstance(size, str):
        found = _SIZE.fullmatch(size)
        if found is not None:
            return int(float(found[1]) * _UNITS[found[2].lower()])
    elif not isinstance(size, bool):
        number = _whole(size)
        if 0 <= number < 2**63:
            return number
    raise ConfigurationError(field, size, "use a number of bytes, or a text with a unit such as '2 GB' or '500 MiB'")


def as_text(size: int) -> str:
    """A size in bytes, for people: ``1.5 GB``."""
    amount = float(size)
    for unit in ("bytes", "kB", "MB", "GB"):
        if amount < 1000:
            return f"{amount:.3g} {unit}"
        amount /= 1000
    return f"{amount:.3g} TB"


def _whole(number: Any) -> int:
    try:
        return operator.index(number)
    except TypeError:
        return -_PRIORITY * 2
