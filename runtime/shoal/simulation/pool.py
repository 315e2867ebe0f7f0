"""A simulated pool: the dispatch and the scaling machine, and an interchange that takes its time."""

from __future__ import annotations

import random

from shoal.blocks.scaling import CancelBlock, CapacityGone, DrainBlock, Scaling, SubmitBlock
from shoal.blocks.scaling import Command as BlockCommand
from shoal.dispatch.events import (
    BlobArrived,
    CapacityLost,
    ClientJoined,
    Command,
    DrainRequested,
    Event,
    ManagerDrained,
    ManagerGone,
    ManagerHeard,
    ManagerRegistered,
    ManagerSuspected,
    ManagerTimedOut,
    Ticked,
    ToClient,
    ToManager,
)
from shoal.dispatch.machine import Dispatcher
from shoal.errors import WorkerStartFailed
from shoal.serialize import pack_failure
from shoal.simulation.agenda import Agenda
from shoal.simulation.client import CLIENT, CODE, SimulatedClient
from shoal.simulation.node import Node
from shoal.simulation.scenario import Scenario
from shoal.wire.messages import Blob, Recall, Results, Tasks

__all__ = ["SimulatedPool"]

HEARTBEAT = 2.5
"""Seconds between signs of life of a manager."""

_GROUPS = 10
"""Managers beat in so many groups, one after the other."""

_TICK, _UNEVEN_TICK = 1.0, 0.05
_PROVIDER = 0.1
"""Seconds that the provider takes to answer."""


class SimulatedPool:
    """One pool and all of its nodes.

    Args:
        scenario: how large, how slow and how unlucky.
        agenda: the time.
    """

    def __init__(self, scenario: Scenario, agenda: Agenda) -> None:
        self.machine = Dispatcher((scenario.workers, 0, 0))
        self.client = SimulatedClient(scenario, agenda, self._from_client)
        self.lost = self.started = self.suspected = self.messages = self.rounds = self.waiting = 0
        self.useful = self.busy = 0.0
        self._scenario, self._agenda = scenario, agenda
        self._scaling = Scaling(0, scenario.nodes)
        self._random = random.Random(scenario.seed)  # noqa: S311  repeatable on purpose
        self._nodes: dict[int, Node] = {}
        self._node_of_block: dict[int, Node] = {}
        self._groups: list[dict[int, Node]] = [{} for _ in range(_GROUPS)]
        self._inbox: list[Event] = [ClientJoined(CLIENT), BlobArrived(CLIENT, Blob(CODE, b""))]
        self._cost = 0.0
        self._at_work = False
        self._next_manager = 1

    def begin(self) -> None:
        """Ask for all nodes, and let time begin."""
        self._carry_out_blocks(self._scaling.target_set(self._scenario.nodes, [], 0.0))
        self._agenda.after(0.0, self._tick)
        self._agenda.after(HEARTBEAT / _GROUPS, self._beat, 0)

    # ------------------------------------------------------------------ the interchange

    def _from_client(self, event: Event, tasks: int) -> None:
        self._agenda.after(self._scenario.latency, self._arrive, event, tasks)

    def _from_node(self, event: Event, tasks: int) -> None:
        self._agenda.after(self._scenario.latency, self._arrive, event, tasks)

    def _arrive(self, event: Event, tasks: int) -> None:
        """A message arrives; it waits while the interchange is busy with those before it."""
        self._inbox.append(event)
        self.messages += 1
        self._cost += self._scenario.pool_message + tasks * self._scenario.pool_task / 4
        if not self._at_work:
            self._round()

    def _tell(self, event: Event) -> None:
        """What the pool itself has found out."""
        self._inbox.append(event)
        if not self._at_work:
            self._round()

    def _round(self) -> None:
        """Take in all that is there, as long as that takes."""
        events, self._inbox = self._inbox, []
        cost, self._cost = self._cost, 0.0
        self._at_work = True
        self.busy += cost
        self._agenda.after(cost, self._decide, events)

    def _decide(self, events: list[Event]) -> None:
        commands = self.machine.handle_all(events, self._agenda.now)
        self.rounds += 1
        self.waiting = max(self.waiting, self.machine.waiting)
        cost = self._carry_out(commands)
        self.busy += cost
        self._agenda.after(cost, self._next)

    def _next(self) -> None:
        if self._inbox:
            self._round()
        else:
            self._at_work = False

    def _carry_out(self, commands: list[Command]) -> float:
        """Send what is ordered; returns the seconds that it takes."""
        scenario, after = self._scenario, self._agenda.after
        cost = 0.0
        for command in commands:
            if isinstance(command, ToClient):
                if isinstance(message := command.message, Results):
                    cost += scenario.pool_message + len(message.results) * scenario.pool_task / 4
                    after(cost + scenario.latency, self.client.receive, message.results)
            elif isinstance(command, ToManager):
                cost += scenario.pool_message
                node = self._nodes.get(command.manager)
                if node is None:
                    continue
                if isinstance(message := command.message, Tasks):
                    cost += len(message.tasks) * scenario.pool_task / 4
                    after(cost + scenario.latency, node.take, message.tasks)
                elif isinstance(message, Recall):
                    after(cost + scenario.latency, node.give_back)
            elif isinstance(command, ManagerSuspected):
                self.suspected += 1
            elif isinstance(command, ManagerTimedOut):
                self._give_up(command.manager, command.reason)
            elif isinstance(command, ManagerDrained):
                self._forget(self._nodes[command.manager])
        self.messages += sum(isinstance(c, ToClient | ToManager) for c in commands)
        return cost

    # ------------------------------------------------------------------ time

    def _tick(self) -> None:
        self._carry_out_blocks(self._scaling.ticked(self._agenda.now))
        self._tell(Ticked())
        self._agenda.after(_UNEVEN_TICK if self.machine.uneven else _TICK, self._tick)

    def _beat(self, group: int) -> None:
        for node in self._groups[group].values():
            if node.alive:
                self._from_node(ManagerHeard(node.number, self._scenario.workers), 0)
        self._agenda.after(HEARTBEAT / _GROUPS, self._beat, (group + 1) % _GROUPS)

    # ------------------------------------------------------------------ blocks and nodes

    def _carry_out_blocks(self, commands: list[BlockCommand]) -> None:
        scenario = self._scenario
        for command in commands:
            match command:
                case SubmitBlock(block):
                    delay = _PROVIDER if scenario.start else 0.0
                    self._agenda.after(delay, self._accepted, block)
                case CancelBlock(block, _):
                    node = self._node_of_block.get(block)
                    if node is not None:
                        self._tell(ManagerGone(node.number, "its block was ended"))
                        self._forget(node)
                case DrainBlock(block):
                    node = self._node_of_block.get(block)
                    if node is not None:
                        self._tell(DrainRequested(node.number))
                case CapacityGone(reason):
                    self._tell(CapacityLost(pack_failure(WorkerStartFailed("simulated", reason, ""))))

    def _accepted(self, block: int) -> None:
        self._carry_out_blocks(self._scaling.accepted(block, f"job-{block}", self._agenda.now))
        self._agenda.after(self._scenario.start, self._come_up, block)

    def _come_up(self, block: int) -> None:
        """The node of a block registers, if it is still wanted."""
        scenario, agenda = self._scenario, self._agenda
        if not self._scaling.arrived(block, agenda.now):
            return
        self._scaling.worked(block, agenda.now)
        number, self._next_manager = self._next_manager, self._next_manager + 1
        node = Node(number, block, scenario.workers, agenda, self._duration, self._from_node)
        self._nodes[number] = self._node_of_block[block] = self._groups[number % _GROUPS][number] = node
        self.started += 1
        self._tell(ManagerRegistered(number, block, scenario.workers, f"node {number}"))
        self._tell(ManagerHeard(number, scenario.workers))
        if scenario.lifetime:
            agenda.after(self._random.expovariate(1.0 / scenario.lifetime), self._die, node)

    def _die(self, node: Node) -> None:
        if not node.alive or node.number not in self._nodes:
            return
        node.alive = False
        self.lost += 1
        if self._scenario.notice is not None:
            self._agenda.after(self._scenario.notice, self._noticed, node)

    def _noticed(self, node: Node) -> None:
        if node.number in self._nodes:
            self._carry_out_blocks(self._scaling.failed(node.block, "it died", self._agenda.now))

    def _give_up(self, manager: int, reason: str) -> None:
        """The machine has given a manager up; it knows already that it is gone."""
        node = self._nodes.get(manager)
        if node is not None:
            self._forget(node)
            self._carry_out_blocks(self._scaling.failed(node.block, reason, self._agenda.now))

    def _forget(self, node: Node) -> None:
        node.alive = False
        self.useful += node.useful
        del self._nodes[node.number], self._node_of_block[node.block]
        del self._groups[node.number % _GROUPS][node.number]

    def all_useful(self) -> float:
        """Seconds that workers spent on tasks that ended."""
        return self.useful + sum(node.useful for node in self._nodes.values())

    def _duration(self) -> float:
        """How long the next task takes."""
        scenario = self._scenario
        if not scenario.spread:
            return scenario.duration
        return scenario.duration * (1.0 + scenario.spread * self._random.uniform(-1.0, 1.0))
