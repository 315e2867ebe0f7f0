"""A simulated node: a manager and its workers, which take the tasks in the order in which they come."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from heapq import heappop, heappush

from shoal.dispatch.events import AttemptsEnded, AttemptsReturned, Event
from shoal.simulation.agenda import Agenda
from shoal.wire.messages import Result, Task

__all__ = ["Node"]

Duration = Callable[[], float]
"""How long the next task takes, in seconds."""


class Node:
    """One node that is up.

    Args:
        number: of its manager.
        block: of which it is the only node.
        workers: how many.
        agenda: the time.
        duration: how long tasks take.
        tell: takes what it sends to the pool, and the number of tasks in that.
    """

    __slots__ = ("_agenda", "_duration", "_ends", "_idle", "_queue", "_tell", "alive", "block", "number", "useful")

    def __init__(
        self,
        number: int,
        block: int,
        workers: int,
        agenda: Agenda,
        duration: Duration,
        tell: Callable[[Event, int], None],
    ) -> None:
        self.number = number
        self.block = block
        self.alive = True
        self.useful = 0.0
        """Seconds that its workers spent on tasks that ended."""
        self._agenda, self._duration, self._tell = agenda, duration, tell
        self._idle = workers
        self._queue: deque[Task] = deque()
        self._ends: list[tuple[float, int, Task, float]] = []

    def take(self, tasks: list[Task]) -> None:
        """Tasks arrive."""
        if self.alive:
            self._queue.extend(tasks)
            self._begin()

    def give_back(self) -> None:
        """The pool wants back what has not begun."""
        if self.alive:
            keys = [(t.client, t.tid, t.attempt) for t in self._queue]
            self._queue.clear()
            self._tell(AttemptsReturned(self.number, keys), len(keys))

    def _begin(self) -> None:
        now, ends, queue = self._agenda.now, self._ends, self._queue
        whens = set()
        while self._idle and queue:
            self._idle -= 1
            task = queue.popleft()
            seconds = self._duration()
            heappush(ends, (now + seconds, task.tid, task, now))
            whens.add(seconds)
        for seconds in sorted(whens):
            self._agenda.after(seconds, self._end)

    def _end(self) -> None:
        """Tasks end; those that end together are told together."""
        if not self.alive:
            return
        now, ends = self._agenda.now, self._ends
        results = []
        while ends and ends[0][0] <= now:
            _, _, task, began = heappop(ends)
            self._idle += 1
            self.useful += now - began
            results.append(Result(task.client, task.tid, task.attempt, [], None, "", began, now))
        if results:
            self._tell(AttemptsEnded(self.number, results), len(results))
            self._begin()
