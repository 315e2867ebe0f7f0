"""What a restart of the kernel leaves: tasks at a pool that lasts go on, and ``%attach`` brings them back."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kernel.conftest import Cell, Kernel, start_kernel, stop

POOL = "keeps"
SETUP = """
import os, time
from shoal import python_app
size = 3
def gate(name):
    while not os.path.exists(name): time.sleep(0.02)
    return name
@python_app
def opened(name, value):
    gate(name)
    return value
"""


def shoal(home: Path, *words: str) -> None:
    """Run the command line with the pools of a home."""
    code = "import sys; from shoal.cli import main; sys.exit(main(sys.argv[1:]))"
    env = {**os.environ, "SHOAL_HOME": str(home / "shoal")}
    done = subprocess.run([sys.executable, "-c", code, *words], env=env, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


class Desk:
    """A folder with a pool that lasts, and one kernel after the other."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.kernel = start_kernel(home)
        self.kernel.good(f"%use {POOL}")
        self.set_up()

    def set_up(self) -> None:
        """What the first cells of a notebook do."""
        gates = [f"gate_{letter} = {str(self.home / f'gate-{letter}')!r}\n" for letter in "abcd"]
        self.kernel.good("".join(gates) + SETUP)

    def restart(self, kill: bool) -> Kernel:
        """End the kernel, by a signal or in good order, and start another one."""
        self.kernel.client.stop_channels()
        self.kernel.manager.shutdown_kernel(now=kill)
        self.kernel = start_kernel(self.home)
        return self.kernel

    def open(self, name: str) -> None:
        """Let those go on that wait at a gate."""
        (self.home / name).touch()


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with a pool of two workers that lasts."""
    folder = tmp_path_factory.mktemp("attach")
    shoal(folder, "pool", "start", POOL, "--workers", "2")
    yield folder
    shoal(folder, "pool", "stop", POOL)


@pytest.fixture
def desk(home: Path) -> Iterator[Desk]:
    """A kernel that uses the pool."""
    for old in home.glob("gate*"):
        old.unlink()
    made = Desk(home)
    yield made
    made.kernel.run("%cancel --all")
    stop(made.kernel)


def texts(cell: Cell) -> str:
    """All that is shown below a cell."""
    return "\n".join([cell.text(), cell.text("stderr"), *cell.values(), *cell.errors])


@pytest.mark.parametrize("kill", [True, False], ids=["killed", "in-good-order"])
def test_a_new_kernel_gets_what_the_pool_went_on_with(desk: Desk, kill: bool) -> None:
    """Task cells, those that wait for them in the pool, elements and calls are there by name, with their output and values."""
    old = desk.kernel
    first = old.run(
        "%%task\nprint('begins', flush=True)\ngate(gate_a)\nprint('ends')\nmodel = list(range(size))\nlen(model)", "a"
    )
    old.run("%%task\ntotal = sum(model)\nprint('adds')", "b")
    old.run("%%parallel for i in range(4) -> squares\ngate(gate_a)\ni * i", "p")
    old.run(
        "calls = [opened(gate_a, i) for i in range(3)]\nby_name = {'x': opened(gate_a, 7)}\nopened(gate_a, 8)",
        "c",
    )
    old.until(lambda: "begins" in first.text())
    old.good("pass  # what was heard of a task is written down by the end of a cell, if not before")
    new = desk.restart(kill)
    attached = new.good(f"%attach {POOL}")
    for name, number in (("model", 1), ("total", 1), ("squares", 4), ("calls, by_name", 5)):
        assert any(name in line and ("running" in line or "queued" in line) for line in attached.text().splitlines()), (
            number
        )
    desk.open("gate-a")
    new.until(lambda: "adds" in texts(attached))
    new.good("%wait")
    assert new.value("(model.result(), total.result(), squares.result())") == "([0, 1, 2], 3, [0, 1, 4, 9])"
    assert new.value("([c.result() for c in calls], by_name['x'].result(), [a.result() for a in attached])") == (
        "([0, 1, 2], 7, [8])"
    )
    shown = texts(attached)
    assert shown.index("begins") < shown.index("ends") < shown.index("adds")
    assert "3" in attached.values(), "the value of the last line"
    assert "4 of 4 done" in shown
    assert new.good("%tasks stale").text().strip() == "no cell is stale"


def test_what_waited_for_the_kernel_is_lost_and_runs_again(desk: Desk) -> None:
    """SessionLost names what a task waited for; %rerun runs that cell, and what it needs, and nothing else."""
    old = desk.kernel
    old.run("%%task\ngate(gate_b)\nkept = size * 10\nprint('kept is made')", "k")
    old.run("%%localtask\nlocal = gate(gate_b) and 5", "l")
    old.run("%%task\nlate = local + kept", "m")
    new = desk.restart(kill=True)
    attached = new.good("%attach")
    assert "3 cells have to run again" in attached.text() or "2 cells have to run again" in attached.text()
    new.until(lambda: len(attached.errors) == 2)
    lost = next(error for error in attached.errors if "it waited for" in error)
    assert "SessionLost" in lost
    assert "'local' of cell 4" in lost
    failed = new.run("late.result()")
    assert "SessionLost" in failed.errors[0]
    dependent = new.run("%%task\nmore = late + 1", "n")
    new.until(lambda: dependent.errors)
    assert "SessionLost" in dependent.errors[0]
    desk.open("gate-b")
    rerun = new.good("%rerun")
    new.good("%wait")
    assert new.value("(local.result(), late.result(), more.result(), kept.result())") == "(5, 35, 36, 30)"
    assert "kept is made" not in texts(rerun), "it went on, and did not run twice"
    assert "kept is made" in texts(attached)


def test_what_takes_a_list_of_elements_waits_in_the_pool(desk: Desk) -> None:
    """A task cell that reads the results of %%parallel goes on after a restart; so does what reads that one."""
    old = desk.kernel
    old.run("%%parallel for i in range(5) -> parts\ngate(gate_a)\ni * size", "p")
    old.run("%%task\ntotal = sum(parts)\nprint('parts', parts)", "q")
    old.run("%%task\ntwice = 2 * total", "r")
    new = desk.restart(kill=True)
    attached = new.good("%attach")
    assert "lost" not in attached.text()
    desk.open("gate-a")
    assert new.value("(parts.result(), total.result(), twice.result())") == "([0, 3, 6, 9, 12], 30, 60)"
    new.until(lambda: "parts [0, 3, 6, 9, 12]" in texts(attached))


def test_scripts_go_on_with_what_waits_for_their_files(desk: Desk) -> None:
    """A script that waits for a file of another one waits in the pool; its text appears after the restart."""
    old = desk.kernel
    old.good(f"made = {str(desk.home / 'made.txt')!r}")
    old.run("%%bash_task -o first --out {made}\nwhile [ ! -e {gate_a} ]; do sleep 0.05; done\necho hello > {made}", "s")
    old.run("%%bash_task -o second --in {made}\ncat {made}", "t")
    new = desk.restart(kill=True)
    attached = new.good("%attach")
    assert "lost" not in attached.text()
    desk.open("gate-a")
    assert new.value("(first.result(), second.result())") == "(0, 0)"
    new.until(lambda: "hello" in texts(attached))


def test_a_restart_after_a_restart_loses_nothing(desk: Desk) -> None:
    """Tasks that were taken over are taken over again."""
    desk.kernel.run("%%task\ngate(gate_c)\nfar = 1", "f")
    middle = desk.restart(kill=True)
    assert "far" in middle.good("%attach").text()
    desk.set_up()
    middle.good("near = opened(gate_c, 2)")
    new = desk.restart(kill=True)
    assert f"{POOL} has 2 tasks of an earlier kernel of this notebook: %attach {POOL}" in new.good("%pools").text()
    assert "2 tasks of an earlier kernel" in new.good(f"%use {POOL}").text()
    told = new.good("%attach").text()
    assert "2 tasks of the kernel" in told
    first, second = sorted((line for line in told.splitlines() if line.startswith("[")), key=lambda row: "near" in row)
    assert "gate(gate_c)" in first
    assert "far" in first
    assert "near = opened" in second
    assert "far" not in second
    assert "lost" not in told
    desk.open("gate-c")
    assert new.value("(far.result(), near.result())") == "(1, 2)"
    new.good("import shoal")
    assert new.value("len(shoal.current().view())") == "2"


def test_what_ended_before_is_named_and_what_is_here_is_left(desk: Desk) -> None:
    """A value that had arrived is gone with its kernel, which is said; a variable of the new kernel is not replaced."""
    old = desk.kernel
    old.run("%%task\narrived = size", "x")
    old.good("arrived.result()")
    old.run("%%task\ngate(gate_d)\nmine = 1", "y")
    new = desk.restart(kill=True)
    new.good("mine = 'given here'")
    told = new.good("%attach").text()
    assert "arrived: had values in the kernel that ended" in told
    assert "mine: kept as given here" in told
    assert new.value("mine") == "'given here'"
    desk.open("gate-d")
    new.good("%rerun arrived")
    assert new.value("arrived.result()") == "3"


def test_retry_runs_no_other_cell_in_place_of_an_earlier_kernels(desk: Desk) -> None:
    """The numbers of cells begin anew: %retry of a task that was taken over says what to do instead."""
    old = desk.kernel
    old.run("%%task\ngate(gate_a)\nraise ValueError('then')", "r")
    new = desk.restart(kill=True)
    new.good("pass")
    attached = new.good("%attach")
    assert "1 task of the kernel" in attached.text(), "a cell that writes no name is in the log when it has returned"
    new.good("%%task\nother = 1")  # has the number that the failed cell had
    new.good("%%task\nother = 2")
    desk.open("gate-a")
    new.until(lambda: any("then" in error for error in attached.errors))
    for line in ("%retry 0", "%retry 0 --here"):
        assert "is of a cell that an earlier kernel ran" in new.run(line).errors[0]


def test_attach_says_what_it_lacks(desk: Desk) -> None:
    """Nothing kept, a name that is no pool's, too many words: a sentence each, and the session stays."""
    kernel = desk.kernel
    assert f"pool '{POOL}' keeps nothing of this notebook" in kernel.good("%attach").text()
    assert "nothing of this notebook" in kernel.good("%attach --from 'another name.ipynb'").text()
    for line, word in (
        ("%attach nobody", "nobody"),
        ("%attach a b", "one pool"),
        ("%attach --from", "needs the name"),
        ("%attach --off", "one pool"),
        ("%attach 'x", "quot"),
    ):
        failed = kernel.run(line)
        assert word in failed.errors[0]
        assert "Traceback" not in failed.errors[0]
    assert kernel.value("shoal.current().closed if 'shoal' in globals() else None") in ("False", "None")
