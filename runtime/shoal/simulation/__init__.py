"""The other shell of the machines: a pool of any size on a virtual clock, with simulated nodes and no I/O.

The dispatch machine and the scaling machine are those of real pools, and decide here as they do there. Around them, time
comes from an agenda; nodes, links, the client and the work of the interchange itself are models with a few numbers each,
which :class:`Scenario` tells.
"""

from __future__ import annotations

from shoal.simulation.report import Report
from shoal.simulation.run import simulate
from shoal.simulation.scenario import Scenario

__all__ = ["Report", "Scenario", "simulate"]
