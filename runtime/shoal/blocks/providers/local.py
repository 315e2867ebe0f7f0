"""Blocks on this host: each is a process group."""

from __future__ import annotations

import os
import resource
import select
import shutil
import signal
import uuid
from contextlib import suppress
from pathlib import Path

from shoal.blocks.provider import Job, JobState, JobStatus, Provider
from shoal.spec import Spec

__all__ = ["BLOCK_MARK", "LocalJobs", "LocalProvider"]

_FILES = resource.getrlimit(resource.RLIMIT_NOFILE)

GRACE = 0.5
"""Seconds between asking a process group to end and ending it."""

TAIL = 4096
"""Bytes of stderr that are shown when a block fails."""


BLOCK_MARK = "SHOAL_BLOCK"
"""Names the job in the environment of its processes: what leaves its group, too, is found by it."""

_ROUNDS = 10


class LocalProvider(Spec, frozen=True, kw_only=True, tag="local"):
    """Blocks on this host.

    Args:
        init_blocks: blocks to start with.
        min_blocks: fewest blocks.
        max_blocks: most blocks.
        worker_init: lines of bash to run before the manager starts, such as ``module load`` or ``export`` lines.
        walltime: seconds after which a block ends and another takes its place; by default it does not end.
    """

    init_blocks: int = 1
    min_blocks: int = 0
    max_blocks: int = 1
    worker_init: str = ""
    walltime: float | None = None

    def check(self) -> None:
        """Refuse numbers of blocks that cannot be.

        Raises:
            ConfigurationError: naming the field, its value and the fix.
        """
        self.require(self.min_blocks >= 0, "min_blocks", "it must be 0 or more")
        self.require(self.max_blocks >= 1, "max_blocks", "it must be 1 or more")
        self.require(
            self.min_blocks <= self.max_blocks, "min_blocks", f"it must be at most max_blocks ({self.max_blocks})"
        )
        self.require(
            self.min_blocks <= self.init_blocks <= self.max_blocks,
            "init_blocks",
            f"it must lie between min_blocks ({self.min_blocks}) and max_blocks ({self.max_blocks})",
        )
        self.require(self.walltime is None or self.walltime > 0, "walltime", "use a number of seconds above 0, or None")
        self.require(
            not self.worker_init.strip() or shutil.which("bash") is not None,
            "worker_init",
            "it needs bash, which this host does not have",
        )

    def open(self) -> Provider:
        """A provider of this spec."""
        return LocalJobs(self.worker_init)


class LocalJobs:
    """Runs each job as a session of its own, so that all of its processes can be ended together.

    Args:
        worker_init: lines of bash to run first.
    """

    def __init__(self, worker_init: str = "") -> None:
        self._init = worker_init.strip()
        self._pidfds: dict[str, int] = {}
        self._jobs: dict[str, Job] = {}
        self._marks: dict[str, bytes] = {}
        self._ended: dict[str, JobStatus] = {}

    def submit(self, job: Job) -> str:
        """Start the job's processes. Its id is the pid of the first, which leads the group."""
        command = list(job.command)
        mark = f"{BLOCK_MARK}={uuid.uuid4().hex}"
        if self._init:  # what that leaves running belongs to its user, and is not marked
            words = f'{self._init}\nexport {mark}\nexec "$@"'
            command = [shutil.which("bash") or "/bin/bash", "-c", words, "bash", *command]
        out, err = (str(Path(job.folder) / f"{job.name}.{kind}") for kind in ("out", "err"))
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
        actions = [
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, out, flags, 0o600),
            (os.POSIX_SPAWN_OPEN, 2, err, flags, 0o600),
        ]
        environment = dict(os.environ)
        if not self._init:
            environment[BLOCK_MARK] = mark.partition("=")[2]
        pid = os.posix_spawn(command[0], command, environment, file_actions=actions, setsid=True)
        # Blocks get the limit that their environment has: the pool may have raised its own.
        resource.prlimit(pid, resource.RLIMIT_NOFILE, _FILES)
        name = str(pid)
        self._marks[name] = mark.encode()
        self._pidfds[name] = os.pidfd_open(pid)
        self._jobs[name] = job
        return name

    def watch(self, job: str) -> int | None:
        """Readable once the job's first process has ended."""
        return self._pidfds.get(job)

    def status(self, ids: list[str]) -> dict[str, JobStatus]:
        """Running or ended, the latter with its exit and the tail of its stderr."""
        return {name: self._look(name) for name in ids}

    def cancel(self, ids: list[str]) -> None:
        """Ask each group to end, wait a moment for their first processes, then end whatever is left."""
        known = [name for name in ids if name in self._jobs]
        live = [name for name in known if name not in self._ended]
        for name in live:
            _signal_group(name, signal.SIGTERM)
        poll = select.poll()
        waiting = {self._pidfds[name] for name in live}
        for fd in waiting:
            poll.register(fd, select.POLLIN)
        while waiting:
            fired = poll.poll(GRACE * 1000)
            if not fired:
                break
            for fd, _ in fired:
                poll.unregister(fd)
                waiting.discard(fd)
        for name in known:
            # The leader has not been waited for, so its group id cannot belong to others yet.
            if name not in self._ended:
                _signal_group(name, signal.SIGKILL)
                self._reap(name, block=True)
            del self._jobs[name]

    def _look(self, name: str) -> JobStatus:
        if name in self._ended:
            return self._ended[name]
        if name not in self._jobs:
            return JobStatus(JobState.UNKNOWN)
        poll = select.poll()
        poll.register(self._pidfds[name], select.POLLIN)
        if not poll.poll(0):
            return JobStatus(JobState.RUNNING)
        # Whatever the leader left behind goes with it, while its group id is still its own.
        _signal_group(name, signal.SIGKILL)
        return self._reap(name, block=False)

    def _reap(self, name: str, block: bool) -> JobStatus:
        _, status = os.waitpid(int(name), 0 if block else os.WNOHANG)
        os.close(self._pidfds.pop(name))
        code = os.waitstatus_to_exitcode(status)
        how = f"exit code {code}" if code >= 0 else f"signal {-code} ({signal.Signals(-code).name})"
        tail = _tail(Path(self._jobs[name].folder) / f"{self._jobs[name].name}.err")
        found = JobStatus(JobState.FAILED if code else JobState.ENDED, how + (f"\n{tail}" if tail else ""))
        self._ended[name] = found
        _end_marked(self._marks.pop(name))
        return found


def _signal_group(name: str, number: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(int(name), number)


def _end_marked(mark: bytes) -> None:
    """End what has left a job's group, also what is being started at the moment: a manager that was killed could not."""
    for _ in range(_ROUNDS):
        left = [int(name) for name in os.listdir("/proc") if name.isdigit() and mark in _environment(name)]
        if not left:
            return
        for pid in left:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)


def _environment(pid: str) -> list[bytes]:
    """The environment that a process began with; empty for one that has ended, or is another user's."""
    with suppress(OSError), open(f"/proc/{pid}/environ", "rb") as file:
        return file.read().split(b"\0")
    return []


def _tail(path: Path) -> str:
    try:
        with path.open("rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - TAIL))
            return file.read().decode(errors="replace").strip()
    except OSError:
        return ""
