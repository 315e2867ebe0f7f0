"""The worker's half of bash apps: the function makes a command, bash runs it in a process group of its own.

When the task ends, its group ends: after a walltime, a cancel or any other interruption with SIGTERM, and SIGKILL for what
is left a second later; what a command has left in the background when it ended by itself is ended likewise. A process that
shall outlive its task leaves the group: ``setsid``. Should this process be killed, a watching process kills the groups.
"""

from __future__ import annotations

import codecs
import errno
import math
import os
import select
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from types import CoroutineType
from typing import IO, Any

from shoal.errors import AppBadFormatting, AppTimeout, BashAppError, BashExitFailure
from shoal.node.called import awaited, dressed
from shoal.node.led import TAIL, Opened, check_outputs, opened
from shoal.node.special import Plan, described, take_plan
from shoal.place import forks, task_number

__all__ = ["bash_function", "call_bash"]

_GRACE = 1.0
"""Seconds between SIGTERM and SIGKILL."""

_LOOK_EVERY = 86_400.0
"""Seconds; poll waits no longer than some weeks."""

_FOR_EVER = 1e9
"""Seconds; timers go no further than some centuries."""

_LONGEST = 100_000
"""Bytes of a command that are given as an argument; the kernel takes 128 kB."""


def bash_function(function: Callable[..., Any], binds: str = "", walltime: float = 0.0) -> Callable[..., int]:
    """A function that takes the arguments of a bash app, and runs the command that ``function`` returns.

    A closure, so that the capture rule follows it to ``function``.

    Args:
        function: the app's function.
        binds: see :func:`~shoal.node.called.dressed`.
        walltime: seconds for calls inside a task that do not say; 0.0 for none.
    """

    def run(*args: Any, **kwargs: Any) -> int:
        return call_bash(function, args, kwargs, walltime)

    return dressed(run, function, binds)


def call_bash(
    function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], walltime: float = 0.0
) -> int:
    """Run one bash app: 0, or an error.

    Args:
        function: the app's function.
        args: as given.
        kwargs: as given, with the plan of the call, if the client has made one.
        walltime: seconds, where neither a plan nor the call says; 0.0 for none.

    Raises:
        AppBadFormatting: the function returned no command.
        BadStdStreamFile: a file for stdout or stderr cannot be opened.
        BashExitFailure: the command ended with an exit code other than 0.
        AppTimeout: it took longer than the walltime.
        MissingOutputs: it did not make what it promised.
    """
    began = time.monotonic()
    args, kwargs, plan = take_plan(function, "bash", args, kwargs, walltime)
    with ExitStack() as stack:
        with _alarm(plan, began):
            command = function(*args, **kwargs)
            if type(command) is CoroutineType:
                command = awaited(command)
            if not isinstance(command, str):
                raise AppBadFormatting(plan.name, described(command))
            out, err = stack.enter_context(opened(plan))
        shell: list[_Shell] = []
        outlets = None
        try:
            _start(plan, command, _target(out, sys.stdout), subprocess.PIPE if err is None else err.file, shell)
            outlets = _Outlets(shell[0])
            code = _wait(plan, shell[0], outlets, began)
        finally:
            if shell:
                _end(shell[0])
            if outlets is not None:
                outlets.close()
    if code:
        raise BashExitFailure(plan.name, code, outlets.tail() if err is None else err.tail())
    check_outputs(plan)
    return 0


@contextmanager
def _alarm(plan: Plan, began: float) -> Iterator[None]:
    """Interrupt at the walltime what comes before the command. Only the main thread, where a pool's tasks run, can be."""
    if not plan.walltime or threading.current_thread() is not threading.main_thread():
        yield
        return

    def ring(*_: object) -> None:
        raise _too_long(plan)

    former = signal.signal(signal.SIGALRM, ring)
    left = max(began + plan.walltime - time.monotonic(), 1e-6)
    timer = signal.setitimer(signal.ITIMER_REAL, min(left, _FOR_EVER))
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, *timer)
        signal.signal(signal.SIGALRM, signal.SIG_DFL if former is None else former)


def _too_long(plan: Plan) -> AppTimeout:
    return AppTimeout(plan.name, plan.walltime, f"{os.uname().nodename}/{os.getpid()}")


def _target(file: Opened | None, stream: Any) -> IO[bytes] | int | None:
    """What a command's stdout is: a file, this process's own, or a pipe to where Python prints here."""
    if file is not None:
        return file.file
    return None if _is_own(stream, 1) else subprocess.PIPE


# --------------------------------------------------------------------------- the process


class _Shell(subprocess.Popen[bytes]):
    """A shell that is known to ``started`` before it is there: an interruption may come at any line."""

    def __init__(self, started: list[_Shell], *args: Any, **options: Any) -> None:
        self.pid = 0
        started.append(self)
        super().__init__(*args, **options)


def _start(plan: Plan, command: str, out: Any, err: Any, started: list[_Shell]) -> None:
    bash = _bash(plan.name)
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    script = -1
    try:
        text = os.fsencode(command)
        if b"\0" in text:
            raise AppBadFormatting(plan.name, "and this one has a character in it that no command can have: \\0")
        words: list[Any] = [bash, "-c", text]
        if len(text) > _LONGEST:
            script = _as_file(text)
            words = [bash, f"/dev/fd/{script}"]
        _guard.prepare()  # first, so that no command runs unwatched for long
        _Shell(
            started, words, stdin=subprocess.DEVNULL, stdout=out, stderr=err, process_group=0,
            pass_fds=(script,) if script >= 0 else (), env=_environment(),
        )  # fmt: skip
        _guard.watch(started[0].pid)
    except UnicodeEncodeError as error:
        raise AppBadFormatting(plan.name, f"and this one cannot be encoded: {error}") from error
    except OSError as error:
        what = "its arguments or its environment are too long" if error.errno == errno.E2BIG else str(error)
        raise BashAppError(f"bash_app {plan.name} could not be started on {os.uname().nodename}: {what}") from error
    finally:
        if script >= 0:
            os.close(script)


def _environment() -> dict[str, str] | None:
    number = task_number()
    return {**os.environ, "SHOAL_TASK": str(number)} if number >= 0 else None


def _bash(name: str) -> str:
    found = "/bin/bash" if os.access("/bin/bash", os.X_OK) else shutil.which("bash")
    if found is None:
        raise BashAppError(f"bash_app {name} cannot run: there is no bash on {os.uname().nodename}; install it there")
    return found


def _as_file(text: bytes) -> int:
    """A file without a name that holds a long command."""
    script = os.memfd_create("shoal-command")
    with open(script, "wb", closefd=False) as file:
        file.write(text)
    os.lseek(script, 0, os.SEEK_SET)
    return script


def _wait(plan: Plan, shell: _Shell, outlets: _Outlets, began: float) -> int:
    """The exit code; what the command prints is passed on meanwhile."""
    ended = os.pidfd_open(shell.pid)
    try:
        poll = select.poll()
        for fd in (ended, *outlets.fds()):
            poll.register(fd, select.POLLIN)
        while True:
            left = began + plan.walltime - time.monotonic() if plan.walltime else None
            found = poll.poll(None if left is None else math.ceil(1000 * min(max(left, 0.0), _LOOK_EVERY)))
            for fd, _ in found:
                if fd != ended and not outlets.read(fd):
                    poll.unregister(fd)
            if any(fd == ended for fd, _ in found):
                return shell.wait()
            if left is not None and left <= 0:
                raise _too_long(plan)
    finally:
        os.close(ended)


def _end(shell: _Shell) -> None:
    """End what is left of a command's group."""
    if not shell.pid:
        return  # it never began
    try:
        if _signal(shell.pid, signal.SIGTERM):
            deadline = time.monotonic() + _GRACE
            pause = 0.001
            while (shell.poll() is None or _lives(shell.pid)) and time.monotonic() < deadline:
                time.sleep(pause)
                pause = min(2 * pause, 0.02)
    finally:
        _signal(shell.pid, signal.SIGKILL)
        shell.wait()
        _guard.release(shell.pid)


def _signal(group: int, number: int) -> bool:
    """Send a signal to a group; False if there is nobody in it who could get it."""
    try:
        os.killpg(group, number)
    except (ProcessLookupError, PermissionError):
        return False
    return True


def _lives(group: int) -> bool:
    """Whether anybody in a group has not ended; who has ended may still wait to be collected by its new parent."""
    if not _signal(group, 0):
        return False
    for name in filter(str.isdigit, os.listdir("/proc")):
        with suppress(OSError), open(f"/proc/{name}/stat", "rb") as file:
            # the name in parentheses may hold anything
            state, _, its_group = file.read().rpartition(b")")[2].split(None, 3)[:3]
            if int(its_group) == group and state not in (b"Z", b"X"):
                return True
    return False


# --------------------------------------------------------------------------- what it prints


class _Outlets:
    """Passes on what a command prints to pipes, in the thread that waits for it.

    Its stderr always comes this way, since an error shows the end of it; stdout where Python's own is not the process's.

    Args:
        shell: the command.
    """

    def __init__(self, shell: _Shell) -> None:
        self._pipes = {pipe.fileno(): pipe for pipe in (shell.stdout, shell.stderr) if pipe is not None}
        self._names = {fd: "stdout" if pipe is shell.stdout else "stderr" for fd, pipe in self._pipes.items()}
        self._decoders = {fd: codecs.getincrementaldecoder("utf-8")("replace") for fd in self._pipes}
        self._tail = b""

    def fds(self) -> list[int]:
        """The pipes."""
        return list(self._pipes)

    def read(self, fd: int) -> bool:
        """Pass on what is in a pipe now; False if nothing will come any more."""
        data = os.read(fd, 65536)
        name = self._names[fd]
        stream = getattr(sys, name)
        if name == "stderr":
            self._tail = (self._tail + data)[-TAIL:]
        if _is_own(stream, 2):
            left = memoryview(data)
            while left:
                left = left[os.write(2, left) :]
        elif text := self._decoders[fd].decode(data, final=not data):
            stream.write(text)
        return bool(data)

    def close(self) -> None:
        """Pass on what is left; who has left the command's group may still hold a pipe, and is not waited for."""
        for fd, pipe in self._pipes.items():
            os.set_blocking(fd, False)
            with pipe, suppress(BlockingIOError):
                while self.read(fd):
                    pass

    def tail(self) -> str:
        """The end of what it wrote to stderr."""
        return self._tail.decode(errors="replace")


def _is_own(stream: Any, fd: int) -> bool:
    """Whether a stream of Python writes to this descriptor."""
    try:
        return bool(stream.fileno() == fd)
    except (AttributeError, OSError, ValueError):  # one in memory, or a notebook's
        return False


# --------------------------------------------------------------------------- should this process be killed

_WATCH = """
groups=' '
while read -r what group; do
  if [ "$what" = + ]; then groups="$groups$group "; else groups="${groups/ $group / }"; fi
done
for group in $groups; do kill -KILL -- "-$group"; done
"""


class _Guard:
    """A process that waits for the end of this one, and then kills the groups that are left."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._watcher: subprocess.Popen[bytes] | None = None
        self._birth = -1

    def prepare(self) -> None:
        """A group is about to begin."""
        with self._lock:
            if self._birth != forks() or self._watcher is None or self._watcher.poll() is not None:
                self._begin()

    def watch(self, group: int) -> None:
        """A group has begun."""
        with self._lock:
            self._tell(f"+ {group}\n")

    def release(self, group: int) -> None:
        """A group has ended."""
        with self._lock:
            self._tell(f"- {group}\n")

    def _begin(self) -> None:
        former = self._watcher
        if former is not None and former.stdin is not None:
            former.stdin.close()
        bash = _bash("")
        self._watcher = subprocess.Popen(
            [bash, "-c", _WATCH], bufsize=0, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL, cwd="/", start_new_session=True,
        )  # fmt: skip
        self._birth = forks()

    def _tell(self, line: str) -> None:
        watcher = self._watcher
        if watcher is not None and watcher.stdin is not None:
            with suppress(OSError):  # it was killed: then nobody watches until the next command
                watcher.stdin.write(line.encode())

    def leave(self) -> None:
        """This is a forked child: the watcher is its parent's, and must see it end."""
        watcher, self._watcher = self._watcher, None
        self._lock = threading.Lock()
        if watcher is not None and watcher.stdin is not None:
            watcher.stdin.close()
            watcher.returncode = 0  # not a child of this process


_guard = _Guard()
os.register_at_fork(after_in_child=_guard.leave)
