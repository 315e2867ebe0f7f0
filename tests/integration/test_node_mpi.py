"""MPI tasks: they hold a core for each rank, are told how many they are and where, and run a real mpiexec."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import shoal
from shoal.errors import ConfigurationError

pytestmark = pytest.mark.skipif(shutil.which("mpiexec") is None, reason="needs Open MPI (tools/system_packages.py)")

# The sum of all ranks, by MPI itself: its library is called without bindings, which would have to be compiled.
PROGRAM = """
import ctypes, sys
mpi = ctypes.CDLL("libmpi.so.40", ctypes.RTLD_GLOBAL)
def there(name):
    return ctypes.byref(ctypes.c_char.in_dll(mpi, name))
world, kind, add = there("ompi_mpi_comm_world"), there("ompi_mpi_int"), there("ompi_mpi_op_sum")
assert mpi.MPI_Init(None, None) == 0
rank, size, total = ctypes.c_int(), ctypes.c_int(), ctypes.c_int()
mpi.MPI_Comm_rank(world, ctypes.byref(rank))
mpi.MPI_Comm_size(world, ctypes.byref(size))
mpi.MPI_Allreduce(ctypes.byref(rank), ctypes.byref(total), 1, kind, add, world)
if rank.value == 0:
    print(f"ranks {size.value} sum {total.value}", flush=True)
mpi.MPI_Finalize()
"""


@pytest.fixture
def session(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[shoal.Session]:
    """A pool of four workers, whatever the machine has; Open MPI wants to be asked twice before it runs as root."""
    monkeypatch.setenv("OMPI_ALLOW_RUN_AS_ROOT", "1")
    monkeypatch.setenv("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1")
    shoal.clear()
    htex = shoal.HighThroughputExecutor(max_workers_per_node=4)
    yield shoal.load(shoal.Config(executors=(htex,), run_dir=str(tmp_path)))
    shoal.clear()


@pytest.mark.parametrize("ranks", [1, 3])
def test_a_bash_app_runs_mpiexec(session: shoal.Session, tmp_path: Path, ranks: int) -> None:
    """The ranks find each other: their sum is that of a real MPI program."""
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)

    @shoal.bash_app(ranks=ranks)
    def solve() -> str:
        return f"mpiexec -n $SHOAL_RANKS --host $SHOAL_HOSTS {sys.executable} {program}"

    task = solve()
    assert task.result(60) == 0
    assert f"ranks {ranks} sum {sum(range(ranks))}" in task.stdout


def test_a_python_app_runs_mpiexec(session: shoal.Session, tmp_path: Path) -> None:
    """The number of ranks may be said by the call."""
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)

    @shoal.python_app
    def solve() -> str:
        command = ["mpiexec", "-n", os.environ["SHOAL_RANKS"], "--host", os.environ["SHOAL_HOSTS"]]
        return subprocess.run(
            [*command, sys.executable, str(program)], capture_output=True, text=True, check=True
        ).stdout

    assert "ranks 2 sum 1" in solve(ranks=2).result(60)


def test_ranks_take_cores(session: shoal.Session) -> None:
    """Two tasks of three ranks do not run side by side on four cores, and one of no ranks is told nothing."""

    @shoal.python_app
    def span() -> tuple[float, float, str | None]:
        began = time.time()
        time.sleep(0.3)
        return began, time.time(), os.environ.get("SHOAL_RANKS")

    (a, b, ranks), (c, d, _) = (task.result(30) for task in [span(ranks=3), span(ranks=3)])
    assert b <= c or d <= a
    assert ranks == "3"
    assert span().result(30)[2] is None


def test_ranks_that_cannot_be_are_refused(session: shoal.Session) -> None:
    """With the reason: fewer cores than ranks, more ranks than a node has cores, an executor that knows no MPI."""
    with pytest.raises(ConfigurationError, match="3 ranks need as many cores"):
        shoal.Resources(ranks=3, cores=2)
    assert shoal.Resources(ranks=3).cores == 3
    assert shoal.Resources(ranks=2, cores=4).cores == 4
    with pytest.raises(ConfigurationError, match="ranks"):
        shoal.Resources(ranks=-1)
    with pytest.raises(ConfigurationError, match="cores"):
        shoal.python_app(ranks=5)(os.getpid)().result(30)
