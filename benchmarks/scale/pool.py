"""A pool whose one block consists of stand-ins: ``python -m benchmarks.scale.pool SETUP``.

It is the pool as it runs elsewhere: the same server, interchange, doors and gate, over TCP with keys. Only its provider is
another one: for the managers that it is asked for it starts stand-ins.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import msgspec

from shoal.blocks.provider import Job, JobState, JobStatus
from shoal.blocks.providers.local import LocalProvider
from shoal.pool.__main__ import raise_file_limit
from shoal.pool.server import PoolServer
from shoal.pool.spec import PoolSpec
from shoal.record.log import LogWriter

HOME = Path(__file__).resolve().parents[2]
"""Where ``benchmarks`` can be imported."""


class Setup(msgspec.Struct, frozen=True):
    """What is to be started.

    Args:
        folder: for all files.
        managers, slots: how many stand-ins, and slots of each.
        processes: over which the stand-ins are spread.
        owner: the process with which the pool ends.
    """

    folder: str
    managers: int
    slots: int
    processes: int
    owner: int


class StandInProvider(LocalProvider, frozen=True, kw_only=True, tag="stand-ins"):
    """The provider's spec: one block with all stand-ins."""

    setup: Setup

    def open(self) -> StandInJobs:
        """The provider."""
        return StandInJobs(self.setup)


class StandInJobs:
    """Starts stand-ins.

    Args:
        setup: how many.
    """

    def __init__(self, setup: Setup) -> None:
        self._setup = setup
        self._processes: list[subprocess.Popen[bytes]] = []

    def submit(self, job: Job) -> str:
        """Start the processes of the stand-ins with what their managers would be told."""
        setup = self._setup
        for index in range(setup.processes):
            count = len(range(index, setup.managers, setup.processes))
            ready = Path(setup.folder) / f"ready-{index}"
            command = [sys.executable, "-m", "benchmarks.scale.standins", job.command[-1], str(count)]
            command += [str(setup.slots), str(ready)]
            with (Path(setup.folder) / f"standins-{index}.err").open("wb") as file:
                self._processes.append(subprocess.Popen(command, stderr=file, cwd=HOME))
        return "stand-ins"

    def status(self, ids: list[str]) -> dict[str, JobStatus]:
        """They run."""
        return dict.fromkeys(ids, JobStatus(JobState.RUNNING))

    def cancel(self, ids: list[str]) -> None:
        """End them."""
        for process in self._processes:
            process.terminate()
        for process in self._processes:
            process.wait()

    def watch(self, job: str) -> int | None:
        """Nobody watches them."""
        return None


def main() -> None:
    """Run the pool."""
    setup = msgspec.json.decode(Path(sys.argv[1]).read_bytes(), type=Setup)
    raise_file_limit()
    folder = Path(setup.folder)
    spec = PoolSpec(
        name="scale",
        provider=StandInProvider(setup=setup),
        folder=str(folder),
        sockets="",
        cwd=str(Path.cwd()),
        connection=str(folder / "connection.json"),
        clients=None,
        managers=None,
        max_workers_per_node=setup.slots,
        owner_pid=setup.owner,
    )
    journal = LogWriter(folder / "pool.log")
    try:
        PoolServer(spec, journal).run()
    finally:
        journal.close()


if __name__ == "__main__":
    main()
