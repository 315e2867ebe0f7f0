"""What an attempt gets of its node besides a worker: accelerators that no other has, cores to run on.

It is told to the worker on the page that they share (see :mod:`shoal.node.page`), by the mark of the attempt: so the worker
knows it before it rebuilds the task, an attempt that is taken back takes nothing along, and others cost nothing.

A library reads once in the life of a process which accelerators there are. So a worker keeps those that it was given first:
an attempt that is to have others gets a worker that has had none, if need be a new one.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import NamedTuple, Protocol, TypeVar

import msgspec

from shoal.errors import ConfigurationError
from shoal.wire.starting import NodeRules

__all__ = ["CPUS", "HIDDEN", "Gear", "Grant", "Outfit", "layout", "names_of"]

HIDDEN = "-1"
"""Shows a process no accelerator at all: no device has this number, and an empty list counts as none given in places."""


CPUS = "SHOAL_CPUS"
"""Names the cores of a worker in its environment."""


class Outfit(msgspec.Struct, array_like=True):
    """What a worker sets for one attempt, and undoes after it.

    Args:
        environment: variables.
        cpus: the cores that it may run on; empty to leave that alone.
    """

    environment: dict[str, str]
    cpus: tuple[int, ...] = ()


class Grant(NamedTuple):
    """What one attempt holds.

    Args:
        devices: names of accelerators.
        slots: indices of the workers whose cores it uses; empty where workers are not bound to cores.
        ranks: MPI processes that it starts.
    """

    devices: tuple[str, ...] = ()
    slots: tuple[int, ...] = ()
    ranks: int = 0


class _Bearer(Protocol):
    """A worker, as far as this module is concerned."""

    index: int
    devices: tuple[str, ...]


_B = TypeVar("_B", bound=_Bearer)


class Gear:
    """The accelerators and cores of a node, and who has them.

    Args:
        rules: how they are given.
        names: of the accelerators.
        hidden: whether tasks that ask for none see none.
        cpus: the cores of each worker, by its index; empty where they are not bound.
        host: the node's name.
    """

    def __init__(
        self,
        rules: NodeRules | None = None,
        names: Sequence[str] = (),
        hidden: bool = False,
        cpus: Sequence[tuple[int, ...]] = (),
        host: str = "localhost",
    ) -> None:
        self._rules = rules or NodeRules()
        self.names = tuple(names)
        self.cpus = cpus
        self._hidden = hidden
        self._host = host
        self._taken: set[str] = set()

    def environment(self, index: int) -> dict[str, str]:
        """What a worker has in its environment from its start, and while it runs nothing that asks for accelerators."""
        shown = dict.fromkeys(self._rules.accelerator_variables, HIDDEN) if self._hidden else {}
        if self.cpus:
            shown[CPUS] = ",".join(map(str, self.cpus[index]))
        return shown

    def choose(self, number: int, idle: Sequence[_B]) -> tuple[_B, tuple[str, ...]] | None:
        """A worker for an attempt that needs accelerators, and which it gets.

        Args:
            number: how many it needs, 1 or more.
            idle: the workers to choose from, one at least.

        Returns:
            None if so many are not free; no names if the worker has to be replaced first, since it has seen others.
        """
        free = [name for name in self.names if name not in self._taken]
        if len(free) < number:
            return None
        for worker in idle:
            if len(worker.devices) == number and self._taken.isdisjoint(worker.devices):
                return worker, worker.devices
        fresh = next((worker for worker in idle if not worker.devices), None)
        if fresh is None:
            return idle[0], ()
        worn = {name for worker in idle for name in worker.devices}
        free.sort(key=lambda name: name in worn)  # stable: in the order of their names otherwise
        return fresh, tuple(sorted(free[:number], key=self.names.index))

    def take(self, grant: Grant) -> bytes:
        """An attempt gets this; returns its outfit, for the page."""
        self._taken.update(grant.devices)
        shown = dict.fromkeys(self._rules.accelerator_variables, ",".join(grant.devices)) if grant.devices else {}
        if grant.devices:
            shown["SHOAL_GPUS"] = ",".join(grant.devices)
        if grant.ranks:
            shown |= self._mpi(grant.ranks)
        cpus = tuple(sorted({cpu for slot in grant.slots for cpu in self.cpus[slot]}))
        return msgspec.json.encode(Outfit(shown, cpus))

    def _mpi(self, ranks: int) -> dict[str, str]:
        """What a command line of mpiexec is made of."""
        shown = {"SHOAL_RANKS": str(ranks), "SHOAL_HOSTS": f"{self._host}:{ranks}", "SHOAL_NODES": "1"}
        if not self.cpus:
            # Open MPI binds each rank to a core, and always begins with the first one: so would all such tasks of a node.
            shown["OMPI_MCA_hwloc_base_binding_policy"] = "none"
        return shown

    def give_back(self, grant: Grant) -> None:
        """The attempt has ended."""
        self._taken.difference_update(grant.devices)


def names_of(rules: NodeRules, count: int) -> tuple[str, ...]:
    """The names of a node's accelerators.

    Args:
        rules: may give them; otherwise a list in the block's environment does, as batch systems set it; else they are numbers.
        count: how many there are.

    Raises:
        ConfigurationError: the environment shows fewer than the configuration says.
    """
    if rules.accelerators:
        return rules.accelerators[:count]
    for variable in rules.accelerator_variables:
        shown = [name.strip() for name in os.environ.get(variable, "").split(",") if name.strip()]
        if not shown or shown == [HIDDEN]:
            continue
        if len(shown) < count:
            fix = f"the environment of its block shows {len(shown)}: {variable}={os.environ[variable]}; set it to these"
            raise ConfigurationError("gpus_per_node", count, fix)
        return tuple(shown[:count])
    return tuple(map(str, range(count)))


def layout(kind: str, slots: int, cpus: Sequence[int]) -> list[tuple[int, ...]]:
    """The cores of each worker; where there are fewer cores than workers, some share one.

    Args:
        kind: ``none``: workers are not bound. ``block``: each gets neighbours. ``alternating``: worker 0 gets the first core, worker 1
            the second, and round again.
        slots: how many workers.
        cpus: the numbers of the cores.
    """
    if kind == "none" or not cpus:
        return []
    many = len(cpus)
    if many <= slots:
        return [(cpus[slot % many],) for slot in range(slots)]
    if kind == "block":
        return [tuple(cpus[slot * many // slots : (slot + 1) * many // slots]) for slot in range(slots)]
    return [tuple(cpus[slot::slots]) for slot in range(slots)]
