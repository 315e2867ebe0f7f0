"""``python -m benchmarks.scale``: one interchange with 8 to 8,192 managers."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import msgspec

from benchmarks.machine import describe_machine
from benchmarks.scale.client import SPARE, Client
from benchmarks.scale.pool import HOME, Setup
from shoal.pool.connection import Connection, read_file

IDLE = 5.0
"""Seconds for which the pool is watched while it has nothing to do."""

START_LIMIT = 120.0
"""Seconds that all stand-ins together may take to be welcome."""


class Measured(msgspec.Struct, frozen=True):
    """What was measured with one number of managers.

    Args:
        managers, slots: how many, and slots of each.
        idle: CPU seconds a second of the pool's process while there was nothing to do but to hear heartbeats.
        up: seconds from the exec of the pool until the last manager was welcome.
        rate: tasks a second.
        cpu, main: CPU of the pool's process, and of its main thread alone, microseconds a task.
        resident: of the pool's process, megabytes.
        tasks: how many ended while that was measured.
    """

    managers: int
    slots: int
    up: float
    idle: float
    rate: float
    cpu: float
    main: float
    resident: float
    tasks: int


def measure(managers: int, slots: int, processes: int, tasks: int, idle: float = IDLE) -> Measured:
    """Start a pool with so many stand-ins, and put tasks through it.

    Args:
        managers, slots: how many stand-ins, and slots of each.
        processes: over which the stand-ins are spread.
        tasks: how many are measured, at least; each slot gets one at least.
        idle: seconds for which the pool is watched while it has nothing to do.
    """
    with tempfile.TemporaryDirectory(prefix="scale-") as name:
        folder = Path(name)
        setup = Setup(name, managers, slots, min(processes, managers), os.getpid())
        (folder / "setup.json").write_bytes(msgspec.json.encode(setup))
        began = time.monotonic()
        with (folder / "pool.err").open("wb") as file:
            command = [sys.executable, "-m", "benchmarks.scale.pool", str(folder / "setup.json")]
            pool = subprocess.Popen(command, stderr=file, stdout=file, cwd=HOME)
        try:
            up = _wait_for_all(folder, setup, pool) - began
            return _run(_connection(folder), pool.pid, setup, up, tasks, idle)
        except (AssertionError, OSError):
            sys.stderr.write((folder / "pool.err").read_text())
            raise
        finally:
            try:
                pool.wait(10)
            except subprocess.TimeoutExpired:
                pool.kill()
                pool.wait()


def _run(connection: Connection, pid: int, setup: Setup, up: float, tasks: int, idle: float) -> Measured:
    client = Client(connection.clients)
    try:
        status = client.status()
        assert len(status.managers) == setup.managers, f"{len(status.managers)} managers are registered"
        before = _cpu(pid)[0]
        time.sleep(idle)
        rest = (_cpu(pid)[0] - before) / idle
        slots = setup.managers * setup.slots
        client.submit(slots + SPARE)
        client.turn(max(tasks // 4, slots))
        cpu, main, done, start = *_cpu(pid), client.done, time.monotonic()
        client.turn(max(tasks, slots))
        seconds, count = time.monotonic() - start, client.done - done
        cpu, main = (after - before for after, before in zip(_cpu(pid), (cpu, main), strict=True))
        resident = _resident(pid)
        client.drain()
        assert (status := client.status()).done == client.submitted, f"{status.done} of {client.submitted}"
    finally:
        client.close()
    figures = (rest, count / seconds, cpu / count * 1e6, main / count * 1e6, resident)
    return Measured(setup.managers, setup.slots, up, *figures, count)


def _connection(folder: Path) -> Connection:
    found = read_file(folder / "connection.json")
    assert found is not None
    return found


def _wait_for_all(folder: Path, setup: Setup, pool: subprocess.Popen[bytes]) -> float:
    """When the last stand-in was welcome."""
    deadline = time.monotonic() + START_LIMIT
    files = [folder / f"ready-{index}" for index in range(setup.processes)]
    while not all(file.exists() and file.stat().st_size for file in files):
        if time.monotonic() > deadline or pool.poll() is not None:
            errors = "".join(file.read_text() for file in sorted(folder.glob("*.err")))
            raise TimeoutError(f"not all stand-ins are up after {START_LIMIT:.0f} s\n{errors}")
        time.sleep(0.02)
    return max(float(file.read_text()) for file in files)


def _cpu(pid: int) -> tuple[float, float]:
    """CPU seconds of a process, and of its main thread."""
    spent = {
        path.name: int((path / "schedstat").read_text().split()[0]) / 1e9
        for path in Path(f"/proc/{pid}/task").iterdir()
    }
    return sum(spent.values()), spent[str(pid)]


def _resident(pid: int) -> float:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--managers", default="8,64,512,4096,8192", metavar="N,N", help="numbers of managers, one after the other"
    )
    parser.add_argument("--slots", type=int, default=32, metavar="N")
    parser.add_argument("--processes", type=int, default=2, metavar="N", help="over which the stand-ins are spread")
    parser.add_argument("--tasks", type=int, default=200_000, metavar="N", help="measured with each number of managers")
    parser.add_argument("--rounds", type=int, default=1, metavar="N")
    options = parser.parse_args()
    for line in describe_machine(options.rounds, options.slots)[:1]:
        print(line)
    print(
        "| managers | workers | all up, s | idle, % of a core | tasks/s | CPU of the pool, µs a task | of it the main thread | its memory, MB |"
    )
    print("| ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
    for _ in range(options.rounds):
        for count in map(int, options.managers.split(",")):
            m = measure(count, options.slots, options.processes, options.tasks)
            print(
                f"| {m.managers:,} | {m.managers * m.slots:,} | {m.up:.1f} | {100 * m.idle:.1f} | {m.rate:,.0f} | {m.cpu:.2f} | {m.main:.2f} "
                f"| {m.resident:.0f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
