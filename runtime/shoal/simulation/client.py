"""A simulated client: it submits as fast as it can, takes results, and runs again what was lost."""

from __future__ import annotations

from collections.abc import Callable

from shoal.dispatch.events import Event, TasksSubmitted
from shoal.outcome import Payload
from shoal.simulation.agenda import Agenda
from shoal.simulation.scenario import Scenario
from shoal.wire.messages import Result, Task

__all__ = ["CLIENT", "CODE", "SimulatedClient"]

CLIENT = 1
CODE = b"code"
_BODY = Payload(b"")

MOST = 256
"""Tasks in one message."""

_WAITS, _DONE, _FAILED = 0, 1, 2


class SimulatedClient:
    """The one client.

    Args:
        scenario: how many tasks, and what each costs it.
        agenda: the time.
        tell: takes what it sends to the pool, and the number of tasks in that.
    """

    def __init__(self, scenario: Scenario, agenda: Agenda, tell: Callable[[Event, int], None]) -> None:
        self.attempts = self.lost = self.done = self.failed = 0
        self.finished_at = 0.0
        self._scenario, self._agenda, self._tell = scenario, agenda, tell
        self._outcomes = bytearray(scenario.tasks)
        self._next = 0

    @property
    def over(self) -> bool:
        """Whether each task has its outcome."""
        return self.done + self.failed == self._scenario.tasks

    def begin(self) -> None:
        """Submit all tasks, message by message, as each is made."""
        count = min(MOST, self._scenario.tasks - self._next)
        if count:
            self._agenda.after(count * self._scenario.client_task, self._submit, count)

    def receive(self, results: list[Result]) -> None:
        """Attempts ended."""
        again = []
        for result in results:
            if result.failure is not None and result.failure.lost:
                self.lost += 1
                again.append((result.tid, result.attempt + 1))
                continue
            assert self._outcomes[result.tid] == _WAITS, f"task {result.tid} has two outcomes"
            self._outcomes[result.tid] = _DONE if result.failure is None else _FAILED
            self.done += result.failure is None
            self.failed += result.failure is not None
        self.finished_at = self._agenda.now
        if again:
            self._send(again)

    def _submit(self, count: int) -> None:
        first, self._next = self._next, self._next + count
        self._send([(tid, 1) for tid in range(first, first + count)])
        self.begin()

    def _send(self, which: list[tuple[int, int]]) -> None:
        self.attempts += len(which)
        tasks = [Task(tid, attempt, CODE, b"", None, _BODY) for tid, attempt in which]
        self._tell(TasksSubmitted(CLIENT, tasks), len(tasks))
