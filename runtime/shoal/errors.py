"""Every error that Shoal raises on purpose.

The tree (indented under its parent)::

    ShoalError
        ConfigurationError          (also ValueError)  a field, its value and the fix
            UnknownOption           (also TypeError)
            DuplicateLabel
            UnknownExecutor
        SessionError
            NoSession               no session is loaded, or it has ended
            SessionReplaced         another ``shoal.load`` ended the session of this future
            SessionClosed           the session ended before this task did
            SessionLost             the process of the session ended before this task could run
        SerializationError
            NotPicklable            (also TypeError)  an argument or a captured variable cannot travel
            ResultUnreadable        a result arrived but cannot be unpickled here
            LoanGone                a large value in shared memory cannot be read (any more)
            NotMemoizable           (also TypeError)  an argument has no digest of its content, so it cannot be cached
        TaskError
            DependencyError         an input of the task failed
            JoinError               a task that a join app returned failed
            AppTimeout              (also TimeoutError)  a task ran into its walltime
            MemoryLimitExceeded     (also MemoryError)  a task took more memory than it may
            BashAppError
                BashExitFailure     the command of a bash app ended with an exit code other than 0
                AppBadFormatting    the function of a bash app returned no command
                BadStdStreamFile    the file for stdout or stderr cannot be opened
            MissingOutputs          a task did not make the files that it promised
            HiddenMutation          a task cell changed a variable, which its text does not show
            RemoteError             stands in for a remote exception that could not travel as itself
            TaskUnreadable          the worker could not rebuild the task
            WorkerLost              the process that ran the task ended
            ManagerLost             the node (its manager) that ran the task was lost
        PoolError
            PoolStartFailed         the pool process did not come up
            PoolUnreachable         a pool does not answer
            PoolNotFound            there is no pool of that name
            PoolExists              a pool of that name is running already
            PoolLost                the pool of a running session went away
            SessionInUse            a pool's session is claimed while its own client is connected
            ResultDropped           a pool kept a result for a client that was away, and could not keep it any longer
            VersionMismatch         two parts speak different protocol versions
            WorkerStartFailed       workers do not come up; carries their stderr
        ProtocolError               a frame that is no message
        InvalidTransition           a machine got an event that its table has no entry for
        CellError                   a task cell cannot become a task; says why and what to write

Errors take data, write their own sentence, and survive pickling: an instance is rebuilt from its
constructor arguments, so subclasses only define ``__init__`` and call ``super().__init__(sentence)``.
This module imports nothing of Shoal.
"""

from __future__ import annotations

from typing import Any, Self

__all__ = [
    "AppBadFormatting",
    "AppTimeout",
    "BadStdStreamFile",
    "BashAppError",
    "BashExitFailure",
    "CellError",
    "ConfigurationError",
    "DependencyError",
    "DuplicateLabel",
    "HiddenMutation",
    "InvalidTransition",
    "JoinError",
    "LoanGone",
    "ManagerLost",
    "MemoryLimitExceeded",
    "MissingOutputs",
    "NoSession",
    "NotMemoizable",
    "NotPicklable",
    "PoolError",
    "PoolExists",
    "PoolLost",
    "PoolNotFound",
    "PoolStartFailed",
    "PoolUnreachable",
    "ProtocolError",
    "RemoteError",
    "ResultDropped",
    "ResultUnreadable",
    "SerializationError",
    "SessionClosed",
    "SessionError",
    "SessionInUse",
    "SessionLost",
    "SessionReplaced",
    "ShoalError",
    "TaskError",
    "TaskUnreadable",
    "UnknownExecutor",
    "UnknownOption",
    "VersionMismatch",
    "WorkerLost",
    "WorkerStartFailed",
]


def _rebuild(cls: type[ShoalError], args: tuple[Any, ...], kwargs: dict[str, Any]) -> ShoalError:
    return cls(*args, **kwargs)


class ShoalError(Exception):
    """The root of all errors that Shoal raises on purpose."""

    _given: tuple[tuple[Any, ...], dict[str, Any]]

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        """Note the constructor's arguments, from which pickling rebuilds the error."""
        self = super().__new__(cls, *args)
        self._given = (args, kwargs)
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        """Rebuild from the constructor's own arguments, not from the sentence."""
        args, kwargs = tuple(map(_portable, self._given[0])), self._given[1]
        state = {k: v for k, v in self.__dict__.items() if k == "__notes__"}
        return (_rebuild, (type(self), args, kwargs), state or None)


# --------------------------------------------------------------------------- configuration


class ConfigurationError(ShoalError, ValueError):
    """A configuration field has a value that cannot work.

    Args:
        field: the dotted name of the field, as the user wrote it.
        value: what it was given.
        fix: one sentence that says what to write instead.
    """

    def __init__(self, field: str, value: object, fix: str) -> None:
        super().__init__(f"{field} = {_short(value)}: {fix}")
        self.field, self.value, self.fix = field, value, fix


class UnknownOption(ConfigurationError, TypeError):
    """A keyword that the class does not have."""


class DuplicateLabel(ConfigurationError):
    """Two executors of one session carry one label."""


class UnknownExecutor(ConfigurationError):
    """An app asks for an executor label that the session does not have."""


# --------------------------------------------------------------------------- sessions


class SessionError(ShoalError):
    """Something about the running session."""


class NoSession(SessionError):
    """No session is loaded, or the one at hand has ended."""


class SessionReplaced(SessionError):
    """Another ``shoal.load`` ended the session that this future belonged to."""


class SessionClosed(SessionError):
    """The session ended before this task did."""


class SessionLost(SessionError):
    """The process of a session ended before a task could run, and nothing else has what the task needs.

    Args:
        task: the task's description.
        waited_for: what it still needed: ``the value of 'x' (task 3)``; empty if that is not known.
        fix: what to do.
    """

    def __init__(self, task: str, waited_for: str = "", fix: str = "call it again") -> None:
        needed = f": it waited for {waited_for}" if waited_for else ""
        super().__init__(f"{task} was lost when its session's process ended{needed}. Fix: {fix}.")
        self.task, self.waited_for, self.fix = task, waited_for, fix


# --------------------------------------------------------------------------- serialization


class SerializationError(ShoalError):
    """An object cannot be written to, or read from, bytes."""


class NotPicklable(SerializationError, TypeError):
    """An object cannot travel to a worker.

    Args:
        what: which object, in the user's words (``argument 'x' of fit``, ``variable 'lock' used by fit``).
        type_name: its type.
        reason: what the pickler said.
        fix: what to do instead.
    """

    def __init__(self, what: str, type_name: str, reason: str, fix: str = "") -> None:
        fix = fix or "create it inside the task, or run the task on a ThreadPoolExecutor"
        super().__init__(f"{what} ({_a(type_name)}) cannot be sent to a worker: {reason}. Fix: {fix}.")
        self.what, self.type_name, self.reason, self.fix = what, type_name, reason, fix


class ResultUnreadable(SerializationError):
    """A result arrived, but it cannot be unpickled in this process.

    Args:
        task: the task's description.
        reason: what the unpickler said.
    """

    def __init__(self, task: str, reason: str) -> None:
        super().__init__(
            f"the result of {task} arrived but cannot be unpickled here: {reason}. "
            "Fix: return plain data, or make the class importable (or defined) in this process too."
        )
        self.task, self.reason = task, reason


class LoanGone(SerializationError):
    """A large value was left in shared memory, and it cannot be read there (any more).

    Args:
        reason: why.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(
            f"a large value in shared memory cannot be read: {reason}. "
            "Fix: call again; if it stays so, HighThroughputExecutor(shared_memory=0) does without."
        )
        self.reason = reason


class NotMemoizable(SerializationError, TypeError):
    """An argument, or something that a cached function captures, has no digest of its content.

    Args:
        what: which object, in the user's words (``argument 'x' of fit``).
        type_name: its type.
        reason: why.
    """

    def __init__(self, what: str, type_name: str, reason: str = "") -> None:
        why = f": {reason}" if reason else ""
        super().__init__(
            f"{what} ({_a(type_name)}) cannot be part of a cache key{why}. Fix: tell how to digest its type with "
            "shoal.id_for_memo.register, leave the argument out with ignore_for_cache=[...], or do without cache=True."
        )
        self.what, self.type_name, self.reason = what, type_name, reason


# --------------------------------------------------------------------------- tasks


class TaskError(ShoalError):
    """A task ended without a value, for a reason outside its own code."""


class DependencyError(TaskError):
    """An input of the task failed, so the task never ran. ``__cause__`` is the root failure.

    Args:
        task: the description of the task that did not run.
        path: descriptions from the direct input to the task that failed first.
        reason: the root failure in one line.
    """

    def __init__(self, task: str, path: tuple[str, ...], reason: str) -> None:
        via = " <- ".join(path)
        super().__init__(f"{task} did not run: its input failed ({via}): {reason}")
        self.task, self.path, self.reason = task, path, reason


class JoinError(TaskError):
    """A task that a join app returned failed. ``__cause__`` is what it failed with.

    Args:
        task: the description of the join app's task.
        failed: descriptions of the tasks that failed, each with its reason.
    """

    def __init__(self, task: str, failed: tuple[str, ...]) -> None:
        rest = f" (and {len(failed) - 1} more)" if len(failed) > 1 else ""
        super().__init__(f"{task} joined a task that failed: {failed[0]}{rest}")
        self.task, self.failed = task, failed


class AppTimeout(TaskError, TimeoutError):
    """A task ran into its walltime and was ended.

    Args:
        task: the task's description.
        walltime: seconds that it was allowed.
        worker: where it ran.
    """

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        """Keep the arguments from OSError, which would take them for an error number and its text."""
        self = super().__new__(cls)
        self._given = (args, kwargs)
        return self

    def __init__(self, task: str, walltime: float, worker: str = "") -> None:
        where = f" on {worker}" if worker else ""
        super().__init__()
        self.args = (f"{task} ran longer than its walltime of {walltime:.3g} s{where} and was ended",)
        self.task, self.walltime, self.worker = task, walltime, worker


class MemoryLimitExceeded(TaskError, MemoryError):
    """A task took more memory than it may and was ended.

    Args:
        task: the task's description.
        used: bytes that it had when it was last looked at.
        limit: bytes that it may have.
        worker: where it ran.
        option: what says so: ``memory`` of the task, or ``memory_per_worker`` of the executor.
    """

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        """As for other errors of Shoal, past the way in which MemoryErrors are made, which this one cannot take."""
        self = Exception.__new__(cls, *args)
        self._given = (args, kwargs)
        return self

    def __init__(self, task: str, used: int, limit: int, worker: str = "", option: str = "memory") -> None:
        where = f" on {worker}" if worker else ""
        more = -(-used * 5 // (4 * 10**6))
        fix = f'give it more (memory="{more} MB" or above)' if option == "memory" else f"raise {option} of its executor"
        super().__init__(
            f"{task} took {used / 1e6:,.0f} MB of memory{where}, more than the {limit / 1e6:,.0f} MB of its {option}, and was "
            f"ended. Fix: {fix}, or let it take less."
        )
        self.task, self.used, self.limit, self.worker, self.option = task, used, limit, worker, option


class BashAppError(TaskError):
    """Something about a bash app's command."""


class BashExitFailure(BashAppError):
    """The command of a bash app ended with an exit code other than 0.

    Args:
        app_name: the app.
        exitcode: the code; ``-n`` if signal n ended it.
        stderr: the tail of what it wrote to stderr, where that was not led to a file.
    """

    def __init__(self, app_name: str, exitcode: int, stderr: str = "") -> None:
        how = f"exit code {exitcode}" if exitcode >= 0 else f"signal {-exitcode}"
        super().__init__(f"bash_app {app_name} failed with {how}" + _tail(stderr))
        self.app_name, self.exitcode, self.stderr = app_name, exitcode, stderr


class AppBadFormatting(BashAppError):
    """The function of a bash app returned no command.

    Args:
        app_name: the app.
        reason: what it returned, or why no command could be made.
    """

    def __init__(self, app_name: str, reason: str) -> None:
        super().__init__(f"bash_app {app_name} must return its command as a text, {reason}")
        self.app_name, self.reason = app_name, reason


class BadStdStreamFile(BashAppError):
    """The file for stdout or stderr cannot be opened.

    Args:
        stream: ``stdout`` or ``stderr``.
        path: the file asked for.
        reason: why not.
    """

    def __init__(self, stream: str, path: str, reason: str) -> None:
        super().__init__(f"{stream} cannot go to '{path}': {reason}")
        self.stream, self.path, self.reason = stream, path, reason


class MissingOutputs(TaskError):
    """A task did not make the files that it promised.

    Args:
        app_name: the app.
        outputs: the paths that are missing.
    """

    def __init__(self, app_name: str, outputs: tuple[str, ...]) -> None:
        super().__init__(f"{app_name} ended without making its output {', '.join(map(str, outputs))}")
        self.app_name, self.outputs = app_name, outputs


class HiddenMutation(TaskError):
    """A task cell changed variables of the notebook by code that it only calls: the changes would have been lost.

    Args:
        variables: what was changed.
        lines: the lines of the cell that hand them on; empty where that is not known.
        write: what to give to ``-o``, so that the changes come back.
        shared: variables of the notebook that hold the same objects, and would not have seen the change.
        classes: the part of ``variables`` that are classes of the notebook, which cannot come back.
    """

    def __init__(
        self,
        variables: tuple[str, ...],
        lines: tuple[int, ...] = (),
        write: tuple[str, ...] = (),
        shared: tuple[str, ...] = (),
        classes: tuple[str, ...] = (),
    ) -> None:
        names = _listed([repr(name) for name in variables])
        where, calls = "the cell", "calls"
        if lines:
            numbers = _listed([str(line) for line in lines])
            where, calls = (f"lines {numbers}", "call") if len(lines) > 1 else (f"line {numbers}", "calls")
        verb, change = ("were", "the changes") if len(variables) > 1 else ("was", "the change")
        others = f", also of {_listed([repr(name) for name in shared])}," if shared else ""
        fix = f"write %%task -o {','.join(write or variables)} to bring {change} back, or change a copy"
        if classes:
            which = "the class" if len(classes) == 1 else "the classes"
            kept = _listed([repr(name) for name in classes])
            fix = f"leave %%task away, for what {which} {kept} holds stays on the worker, or keep it in a variable"
        super().__init__(
            f"{names} {verb} changed by code that {where} {calls}, and {change}{others} would be lost. Fix: {fix}."
        )
        self.variables, self.lines, self.write, self.shared, self.classes = variables, lines, write, shared, classes


class RemoteError(TaskError):
    """Stands in for an exception of a task that could not travel (or be rebuilt) as itself.

    Args:
        type_name: the qualified name of the original exception type.
        message: ``str()`` of the original.
    """

    def __init__(self, type_name: str, message: str) -> None:
        super().__init__(f"{type_name}: {message}")
        self.type_name, self.message = type_name, message


class TaskUnreadable(TaskError):
    """The worker could not rebuild the function or its arguments.

    Args:
        task: the task's description.
        reason: what went wrong there, for example a module that is missing on the worker.
    """

    def __init__(self, task: str, reason: str) -> None:
        super().__init__(f"{task} could not be rebuilt on the worker: {reason}")
        self.task, self.reason = task, reason


_AGAIN = (
    "if it may run twice, call it again, or give it retries=1; if it is lost again, look for the reason in the task"
)


class WorkerLost(TaskError):
    """The process that ran the task ended before the task did.

    Args:
        task: the task's description.
        worker: which worker, with host and pid.
        reason: how it ended (signal, exit code).
        trace: the stack that Python wrote when it crashed.
    """

    def __init__(self, task: str, worker: str, reason: str, trace: str = "") -> None:
        super().__init__(f"{task} was running on {worker}, which ended: {reason}. Fix: {_AGAIN}." + _tail(trace))
        self.task, self.worker, self.reason, self.trace = task, worker, reason, trace


class ManagerLost(TaskError):
    """The manager (one node of a block) that held the task was lost.

    Args:
        task: the task's description.
        manager: which manager, with host and block.
        reason: how that was noticed.
    """

    def __init__(self, task: str, manager: str, reason: str) -> None:
        super().__init__(f"{task} was on {manager}, which was lost: {reason}. Fix: {_AGAIN}.")
        self.task, self.manager, self.reason = task, manager, reason


# --------------------------------------------------------------------------- pools


class PoolError(ShoalError):
    """Something about a pool of workers."""


class PoolStartFailed(PoolError):
    """The pool process did not come up.

    Args:
        name: the pool's name.
        reason: what is known.
        stderr: the tail of what the process wrote.
    """

    def __init__(self, name: str, reason: str, stderr: str = "") -> None:
        super().__init__(f"pool '{name}' did not start: {reason}" + _tail(stderr))
        self.name, self.reason, self.stderr = name, reason, stderr


class PoolUnreachable(PoolError):
    """A pool has a connection file but does not answer.

    Args:
        name: the pool's name.
        waited: seconds waited for an answer.
        fix: what to do.
    """

    def __init__(self, name: str, waited: float, fix: str = "") -> None:
        fix = fix or f"run 'shoal pool list' to see its state, or 'shoal pool stop {name}' to end it"
        super().__init__(f"pool '{name}' did not answer within {waited:.3g} s. Fix: {fix}.")
        self.name, self.waited, self.fix = name, waited, fix


class PoolNotFound(PoolError):
    """There is no pool of that name.

    Args:
        name: the name asked for.
        known: the names that exist.
    """

    def __init__(self, name: str, known: tuple[str, ...] = ()) -> None:
        have = ", ".join(known) if known else "none is running; start one with 'shoal pool start'"
        super().__init__(f"there is no pool named '{name}' (pools: {have})")
        self.name, self.known = name, known


class PoolExists(PoolError):
    """A pool of that name is running already.

    Args:
        name: the name asked for.
    """

    def __init__(self, name: str) -> None:
        super().__init__(f"a pool named '{name}' is running already. Fix: choose another name, or stop it first.")
        self.name = name


class PoolLost(PoolError):
    """The pool of a running session went away.

    Args:
        name: the pool's name.
        reason: how that was noticed.
        stderr: the tail of what the pool process wrote.
    """

    def __init__(self, name: str, reason: str, stderr: str = "") -> None:
        super().__init__(f"pool '{name}' was lost: {reason}" + _tail(stderr))
        self.name, self.reason, self.stderr = name, reason, stderr


class SessionInUse(PoolError):
    """A session of a pool is claimed while the client that it belongs to is connected.

    Args:
        name: the pool's name.
        owner: the client that has it, with its pid.
    """

    def __init__(self, name: str, owner: str) -> None:
        super().__init__(f"that session of pool '{name}' belongs to {owner}, which is connected. Fix: end that first.")
        self.name, self.owner = name, owner


class ResultDropped(PoolError):
    """A pool kept a result for a client that was away, and could not keep it any longer.

    Args:
        task: the task's description.
        reason: which bound it met.
    """

    def __init__(self, task: str, reason: str) -> None:
        super().__init__(f"the result of {task} was dropped by its pool: {reason}. Fix: run it again.")
        self.task, self.reason = task, reason


class VersionMismatch(PoolError):
    """Two parts speak different versions, or run different Pythons.

    Args:
        what: what differs (``protocol``, ``Python``).
        here: the version on this side.
        there: the version on the other side.
        fix: what to do.
    """

    def __init__(self, what: str, here: str, there: str, fix: str = "use one environment for both") -> None:
        super().__init__(f"{what} differs: {here} here, {there} there. Fix: {fix}.")
        self.what, self.here, self.there, self.fix = what, here, there, fix


class WorkerStartFailed(PoolError):
    """Workers of a pool do not come up.

    Args:
        name: the pool (and block) they belong to.
        reason: how they ended.
        stderr: the tail of what they wrote.
    """

    def __init__(self, name: str, reason: str, stderr: str = "") -> None:
        super().__init__(f"workers of '{name}' do not start: {reason}" + _tail(stderr))
        self.name, self.reason, self.stderr = name, reason, stderr


# --------------------------------------------------------------------------- inside


class ProtocolError(ShoalError):
    """A frame is no message of this protocol."""


class InvalidTransition(ShoalError):
    """A machine got an event that its transition table has no entry for.

    Args:
        machine: which machine.
        state: the state it was in.
        event: the event's name.
    """

    def __init__(self, machine: str, state: str, event: str) -> None:
        super().__init__(f"{machine}: no move from state '{state}' on '{event}'")
        self.machine, self.state, self.event = machine, state, event


class CellError(ShoalError):
    """A cell cannot become a task.

    Args:
        reason: why, in one sentence.
        fix: what to write instead.
    """

    def __init__(self, reason: str, fix: str) -> None:
        super().__init__(f"{reason}. Fix: {fix}.")
        self.reason, self.fix = reason, fix


def _listed(words: list[str]) -> str:
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def _a(noun: str) -> str:
    return f"{'an' if noun[:1].lower() in 'aeio' else 'a'} {noun}"


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."


class _Shown(str):
    """Stands for an object that may itself not pickle: its text, without quotes."""

    __slots__ = ()
    __repr__ = str.__str__


def _portable(value: object) -> object:
    if isinstance(value, tuple):
        return tuple(map(_portable, value))
    return value if isinstance(value, str | int | float | None) else _Shown(_short(value))


def _tail(stderr: str, lines: int = 20) -> str:
    kept = stderr.strip().splitlines()[-lines:]
    return "\nIt wrote:\n" + "\n".join("    " + line for line in kept) if kept else ""
