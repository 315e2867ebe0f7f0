"""The benchmarks are a package of the checkout, not of the wheel: put its root on the path."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

ROOT = str(Path(__file__).parents[3])

if ROOT not in sys.path:
    sys.path.insert(0, ROOT)


class Stub:
    """A system that does nothing, with the capabilities that a test wants."""

    requirements: tuple[str, ...] = ()

    def __init__(self, name, **flags):
        self.name, self.title = name, name.capitalize()
        self.dependencies = flags.get("dependencies", True)
        self.processes = flags.get("processes", True)
        self.slow = flags.get("slow", False)
        self.rounds = flags.get("rounds", 1000)
        self.project = flags.get("project", name == "shoal")
        self.default = True
        self.variant = flags.get("variant", "" if self.processes else " (variant)")
        self.cases = flags.get("cases", ())


@pytest.fixture
def stub():
    """Makes systems that do nothing."""
    return Stub
