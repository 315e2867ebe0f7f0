"""Facts, in the past tense: the schema of the event log.

A log is a sequence of these records in the order in which they became true for their writer. The session writes the
facts of its run (tasks, attempts, values); a pool writes its own (blocks, managers, workers) into a log of its own.
Times are seconds since the epoch on the writer's clock unless said otherwise. Digests are 16 bytes of BLAKE2b.

To keep the log small and cheap, what follows from another record is not written: a task without unfinished inputs is
launched as it is submitted (``TaskSubmitted.waiting_for`` is empty), and a task whose attempt ended with a value is done.
A reader is :class:`shoal.record.runs.RunView`.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from shoal.resources import Resources
from shoal.task import ValueId

__all__ = [
    "LOG_VERSION",
    "AttemptEnded",
    "AttemptStarted",
    "BlockChanged",
    "CellBegan",
    "CellRef",
    "EnvironmentSeen",
    "Event",
    "HeldName",
    "ManagerLeft",
    "ManagerRegistered",
    "NamesHeld",
    "PoolEnded",
    "PoolJoined",
    "PoolStarted",
    "RunEnded",
    "RunStarted",
    "TaskEnded",
    "TaskLaunched",
    "TaskPrinted",
    "TaskSubmitted",
    "TaskTakenOver",
    "WorkerEnded",
]

LOG_VERSION = 1


class CellRef(msgspec.Struct, frozen=True, array_like=True):
    """Where in a notebook a task was made.

    Args:
        cell_id: the notebook's own id of the cell; empty where the front end sends none.
        execution_count: the number shown as ``In [n]``.
        line: 1-based line in the cell; 0 where unknown.
    """

    cell_id: str
    execution_count: int = 0
    line: int = 0


class RunStarted(msgspec.Struct, array_like=True, tag="run-started", gc=False):
    """A session began.

    Args:
        time: when.
        run: the run's id.
        python, shoal: versions.
        host, pid: where.
        config: the configuration as JSON.
    """

    time: float
    run: str
    python: str
    shoal: str
    host: str
    pid: int
    config: str


class EnvironmentSeen(msgspec.Struct, array_like=True, tag="environment", gc=False):
    """What is installed where the run's session lives.

    Args:
        time: when.
        digest: of ``packages``.
        packages: ``name==version``, sorted.
    """

    time: float
    digest: bytes
    packages: list[str]


class TaskSubmitted(msgspec.Struct, array_like=True, tag="submitted"):
    """An app was invoked.

    Args:
        time: when.
        tid: the task.
        label: the app's name.
        executor: the label of the executor chosen; empty for a future of another library that a task waits for.
        values: the values that it takes as inputs.
        waiting_for: those of its input tasks that had not ended then.
        outputs: names of its outputs; empty for one unnamed.
        code, captures: digests of the function's code and captured variables.
        inputs: digest of the pickled arguments; empty where they were over 15 kB.
        resources: what one attempt needs; None for one core.
        cell: the notebook cell; None outside a notebook.
        parent: the join app's task whose body made it; -1 for none.
    """

    time: float
    tid: int
    label: str
    executor: str
    values: Sequence[ValueId]
    waiting_for: Sequence[int]
    outputs: tuple[str, ...]
    code: bytes
    captures: bytes
    inputs: bytes
    resources: Resources | None = None
    cell: CellRef | None = None
    parent: int = -1


class TaskLaunched(msgspec.Struct, array_like=True, tag="launched", gc=False):
    """An attempt was given to the executor: after the inputs came, or again after a failure."""

    time: float
    tid: int
    attempt: int


class AttemptStarted(msgspec.Struct, array_like=True, tag="started", gc=False):
    """An attempt has been running for a moment (short ones are only logged when they end)."""

    time: float
    tid: int
    attempt: int
    worker: str


class AttemptEnded(msgspec.Struct, array_like=True, tag="ended", gc=False):
    """An attempt ended.

    Args:
        tid, attempt: which.
        kind: ``value``, ``memo`` (a value from the store of results), ``joined`` (it returned futures, and waits for them),
            ``failure`` (of the task's code) or ``lost`` (worker, manager or pool gone).
        worker: who ran it; empty if it never started.
        started, ended: on the worker's clock; 0.0 if it never started.
        size: bytes of the values.
        error: one line; empty on success.
    """

    tid: int
    attempt: int
    kind: str
    worker: str
    started: float
    ended: float
    size: int = 0
    error: str = ""


class TaskPrinted(msgspec.Struct, array_like=True, tag="printed", gc=False):
    """A task wrote text to ``stdout`` or ``stderr``."""

    tid: int
    attempt: int
    stream: str
    text: str


class TaskEnded(msgspec.Struct, array_like=True, tag="task-ended", gc=False):
    """A task ended without a value; or with one that came after its attempt had ended.

    Args:
        time: when.
        tid: the task.
        state: ``done`` (the tasks that it joined ended), ``failed``, ``skipped`` (an input failed) or ``cancelled``.
        error: one line.
    """

    time: float
    tid: int
    state: str
    error: str


class TaskTakenOver(msgspec.Struct, array_like=True, tag="taken-over", gc=False):
    """A task is one of an earlier session, whose process ended; a pool that lasts had it.

    Args:
        tid: the task in this run.
        session: the id under which the pool knows the earlier session.
        source: its number there.
    """

    tid: int
    session: str
    source: int


class CellBegan(msgspec.Struct, array_like=True, tag="cell", gc=False):
    """A cell of the notebook began to run, in a kernel whose session uses a pool that lasts.

    Args:
        time: when it was written down: for cells that ran before the session began, then.
        cell: which.
        text: as it was typed.
    """

    time: float
    cell: CellRef
    text: str


class HeldName(msgspec.Struct, array_like=True):
    """What a variable of the notebook holds: futures of this run.

    Args:
        name: the variable.
        kind: ``future``; ``list``, ``tuple`` or ``dict`` of futures; ``elements``: the future of the list of the values of
            others, which come after it.
        futures: for each its task, and its place among the task's outputs; -1 for the task's own.
        keys: of a dict; of elements what tells them apart in another run, empty where nothing does.
    """

    name: str
    kind: str
    futures: list[tuple[int, int]]
    keys: list[str] = []


class NamesHeld(msgspec.Struct, array_like=True, tag="names"):
    """Variables of the notebook got futures, or lost them; written after the cell that did it.

    Args:
        time: when.
        cell: that cell.
        held: what holds others than before.
        dropped: variables that hold none any more.
    """

    time: float
    cell: CellRef
    held: list[HeldName]
    dropped: list[str]


class PoolJoined(msgspec.Struct, array_like=True, tag="pool-joined", gc=False):
    """The session has an executor with a pool that lasts: there its tasks can be claimed when it is gone.

    Args:
        time: when.
        label: the executor's.
        pool: the pool's name.
        session: the id by which the pool knows the session.
    """

    time: float
    label: str
    pool: str
    session: str


class RunEnded(msgspec.Struct, array_like=True, tag="run-ended", gc=False):
    """The session ended."""

    time: float
    reason: str


class PoolStarted(msgspec.Struct, array_like=True, tag="pool-started", gc=False):
    """A pool process began."""

    time: float
    name: str
    host: str
    pid: int
    python: str
    shoal: str
    spec: str


class BlockChanged(msgspec.Struct, array_like=True, tag="block", gc=False):
    """A block went from one state to another (a name of ``blocks.states.BlockState``)."""

    time: float
    block: int
    state: str
    job: str
    message: str = ""


class ManagerRegistered(msgspec.Struct, array_like=True, tag="manager", gc=False):
    """A manager joined its pool."""

    time: float
    manager: int
    block: int
    host: str
    pid: int
    slots: int


class ManagerLeft(msgspec.Struct, array_like=True, tag="manager-left", gc=False):
    """A manager ended or was lost."""

    time: float
    manager: int
    lost: bool
    reason: str


class WorkerEnded(msgspec.Struct, array_like=True, tag="worker-ended", gc=False):
    """A worker process ended otherwise than by order."""

    time: float
    worker: str
    reason: str


class PoolEnded(msgspec.Struct, array_like=True, tag="pool-ended", gc=False):
    """A pool process ended."""

    time: float
    reason: str


Event = (
    RunStarted
    | EnvironmentSeen
    | TaskSubmitted
    | TaskLaunched
    | AttemptStarted
    | AttemptEnded
    | TaskPrinted
    | TaskEnded
    | TaskTakenOver
    | CellBegan
    | NamesHeld
    | PoolJoined
    | RunEnded
    | PoolStarted
    | BlockChanged
    | ManagerRegistered
    | ManagerLeft
    | WorkerEnded
    | PoolEnded
)
"""Every fact that a log holds."""
