"""Attempts that came before the values that they take: they wait here until other attempts of the pool have made these."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any

from shoal.dispatch.events import Key
from shoal.outcome import Payload
from shoal.wire.messages import Input, Task

__all__ = ["Ahead"]


class Ahead:
    """What waits for values, and what it waits for."""

    def __init__(self) -> None:
        self._waiting: dict[Key, list[Any]] = {}
        """Each with its message, and how many inputs are missing."""
        self._takers: dict[tuple[int, int], list[tuple[Key, list[int]]]] = {}
        """Who takes values of a task (client, tid), and the places that they fill."""

    def __len__(self) -> int:
        """How many wait."""
        return len(self._waiting)

    def __contains__(self, key: Key) -> bool:
        """Whether an attempt waits here."""
        return key in self._waiting

    def hold(self, key: Key, task: Task, comes: Callable[[Key], bool] | None = None) -> bool:
        """Keep an attempt until its inputs are there; False if one of them is not being made here.

        Args:
            key: which.
            task: its message; where an input is missing, its payload is None.
            comes: whether an attempt is in the pool, and has not ended; without it all are taken to come.
        """
        client = key[0]
        places: dict[tuple[int, int], list[int]] = {}
        missing = 0
        for place, item in enumerate(task.inputs):
            if item.payload is None:
                missing += 1
                places.setdefault((client, item.task), []).append(place)
        if comes is not None:
            for source in places:
                made_by = (*source, 1)
                if not comes(made_by) and made_by not in self._waiting:
                    return False
        self._waiting[key] = [task, missing]
        for source, its in places.items():
            self._takers.setdefault(source, []).append((key, its))
        return True

    def made(self, client: int, tid: int, values: Sequence[Payload], flawed: Collection[int] = ()) -> list[Task]:
        """A task has its values: fill them in, and give back the attempts that have all they need.

        Args:
            client: whose task.
            tid: which.
            values: one an output.
            flawed: outputs that have none: who takes one of these waits for ever.
        """
        ready = []
        for key, places in self._takers.pop((client, tid), ()):
            entry = self._waiting.get(key)
            if entry is None:
                continue
            task = entry[0]
            for place in places:
                output = task.inputs[place].output
                if output < len(values) and output not in flawed:
                    task.inputs[place] = Input(tid, output, values[output])
                    entry[1] -= 1
            if not entry[1]:
                del self._waiting[key]
                ready.append(task)
        return ready

    def drop(self, key: Key) -> Task | None:
        """Take an attempt out; None if it does not wait here."""
        found = self._waiting.pop(key, None)
        if found is None:
            return None
        task: Task = found[0]
        for source in {(key[0], item.task) for item in task.inputs if item.payload is None}:
            left = [taker for taker in self._takers.get(source, ()) if taker[0] != key]
            if left:
                self._takers[source] = left
            else:
                self._takers.pop(source, None)
        return task

    def failed(self, client: int, tid: int, outputs: Collection[int] | None = None) -> list[Task]:
        """A task will not have its values, or not these outputs: take out the attempts that wait for it."""
        out = []
        for key, places in list(self._takers.get((client, tid), ())):
            entry = self._waiting.get(key)
            if entry is None or (outputs is not None and not any(entry[0].inputs[p].output in outputs for p in places)):
                continue
            out.append(entry[0])
            self.drop(key)
        return out

    def sources(self, client: int) -> list[int]:
        """The tasks of a client whose values are waited for."""
        return [tid for its, tid in self._takers if its == client]

    def keys(self) -> Iterable[Key]:
        """Which attempts wait."""
        return self._waiting.keys()

    def tasks(self) -> list[Task]:
        """All that waits, in the order in which it came: no attempt before one that it waits for."""
        return [task for task, _ in self._waiting.values()]

    def leave(self, client: int) -> None:
        """Forget all that is a client's."""
        for key in [key for key in self._waiting if key[0] == client]:
            del self._waiting[key]
        for source in [source for source in self._takers if source[0] == client]:
            del self._takers[source]
