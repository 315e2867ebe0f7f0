"""``%autotask`` in a real kernel: plain cells become tasks, or say why not; plain cells wait for what they need."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

# the tests of this folder find their fixtures' types in conftest
Kernel = Any

SPAN = "from time import sleep, monotonic\nbegan{0} = monotonic()\nsleep({1})\nended{0} = monotonic()"


@pytest.fixture
def auto(kernel: Kernel) -> Iterator[Kernel]:
    """A kernel where plain cells become tasks."""
    kernel.good("%autotask on")
    yield kernel
    kernel.good("%autotask off")


def here(kernel: Kernel, expression: str) -> str:
    """What an expression is in the kernel."""
    return kernel.good(f"# shoal: plain\nprint(repr({expression}))").text().strip()


def kind(kernel: Kernel, name: str) -> str:
    """Of what type a variable is."""
    return here(kernel, f"type(globals()[{name!r}]).__name__").strip("'")


def test_plain_cells_become_tasks_that_run_side_by_side(auto: Kernel) -> None:
    """Two cells that know nothing of tasks overlap in time; a third that uses both waits for them."""
    cells = [auto.good(SPAN.format(number, 0.8)) for number in (1, 2)]
    assert kind(auto, "ended1") == "OutputFuture"
    last = auto.good("print(max(began1, began2) < min(ended1, ended2))")
    auto.good("%wait")
    assert last.text().strip() == "True"
    assert all("done after" in "\n".join(cell.values()) for cell in cells)


def test_a_value_is_shown_under_its_own_cell(auto: Kernel) -> None:
    """The last line's value and what is printed come from the worker."""
    cell = auto.good("import os\nprint('by', os.getpid())\n6 * 7")
    auto.good("%wait")
    assert "42" in cell.values()
    assert cell.text().split()[1] != here(auto, "__import__('os').getpid()")


def test_imports_definitions_and_constants_are_no_tasks(auto: Kernel) -> None:
    """Where there is nothing to do for a worker, nothing is made, and nothing is said."""
    cell = auto.good("import math\ndef twice(v):\n    return 2 * v\nlimit = 10")
    assert (cell.text("stderr"), cell.values()) == ("", [])
    assert kind(auto, "limit") == "int"


@pytest.mark.parametrize(
    ("code", "why"),
    [
        ("x_1 = 1 + len('a')\n%time x_1", "magic"),
        ("open('made.txt', 'w').close()", "line 1 opens a file to write"),
        ("import random\nnumber = random.random()", "random numbers of the module random"),
        ("import os\nos.environ['A_B'] = '1'", "changes the module os"),
        ("@python_app\ndef slow(v):\n    return v\nmade = slow(1)", "makes tasks itself"),
        ("exec('hidden = 1')", "exec"),
        ("import threading\nlock = threading.Lock()\nstate = [lock]\nprint(len(state))", ""),
    ],
)
def test_a_cell_that_cannot_be_a_task_says_why_and_runs(auto: Kernel, code: str, why: str) -> None:
    """One quiet line; the cell runs in the kernel."""
    cell = auto.good(code)
    auto.good("%wait")
    told = cell.text("stderr")
    assert ("runs in the kernel" in told and why in told) if why else "cannot travel" in told


def test_a_cell_that_turned_out_to_be_no_task_runs_here_next_time(auto: Kernel) -> None:
    """What cannot travel back is said with what to do: the same cell, run again, runs in the kernel."""
    code = "import threading\nguard = threading.Lock()\nkeeps = len([guard])"
    first = auto.good(code)
    auto.good("%wait")
    assert "run this cell again, and it runs in the kernel" in first.text("stderr")
    second = auto.good(code)
    assert "'guard' cannot travel" in second.text("stderr")
    assert kind(auto, "guard") == "lock"


def test_a_failed_cell_stops_no_other_and_who_needs_it_says_so(auto: Kernel) -> None:
    """The queue goes on; a task that needs the value is skipped, a plain cell says what failed."""
    cells = [auto.start(code) for code in ("bad_1 = 1 // int('0')", "fine_1 = 2 + len('a')", "after_1 = bad_1 + 1")]
    auto.until(lambda: all(cell.reply and cell.idle for cell in cells))
    assert [cell.reply["status"] for cell in cells] == ["ok"] * 3
    auto.good("%wait")
    assert "ZeroDivisionError" in cells[0].errors[0]
    assert "did not run" in cells[2].errors[0]
    plain = auto.run("# shoal: plain\nprint(fine_1)\nprint(bad_1)")
    assert "line 3 needs 'bad_1', but cell" in plain.errors[0]
    assert "Traceback" not in plain.errors[0]


def test_cells_that_only_read_an_object_share_it(auto: Kernel) -> None:
    """A table that two cells hand to functions of their own keeps neither waiting, whichever is first."""
    auto.good("# shoal: plain\nrows = {'a': [1, 2, 3]}\ndef total(table):\n    return sum(table['a'])")
    first = "from time import sleep, monotonic\nb_1 = monotonic()\nt_1 = total(rows)\nsleep(0.8)\ne_1 = monotonic()"
    auto.good(first)
    auto.good(first.replace("_1", "_2"))
    cell = auto.good("print(max(b_1, b_2) < min(e_1, e_2), t_1, t_2)")
    auto.good("%wait")
    assert cell.text().strip() == "True 6 6"


def test_two_cells_that_may_change_one_object_are_refused_with_both_lines(auto: Kernel) -> None:
    """A change of what a cell in flight may change is refused; in their order if that is set."""
    auto.good("# shoal: plain\nimport time\nstock = [1]\ndef look(items):\n    time.sleep(1.5)\n    return len(items)")
    auto.good("n_1 = look(stock)")
    cell = auto.run("stock.append(2)")
    assert "line 1 changes 'stock' (stock.append(2))" in cell.errors[0]
    assert "line 1: n_1 = look(stock)" in cell.errors[0]
    auto.good("%autotask ordered")
    auto.good("stock.append(2)")
    auto.good("%autotask on")
    ordered = auto.good("print(len(stock), n_1)")
    auto.good("%wait")
    assert ordered.text().strip() == "2 1"


def test_a_cell_that_writes_files_comes_after_all_before_it(auto: Kernel) -> None:
    """Files are seen by nobody: who writes one waits for the cells in flight."""
    auto.good("from time import sleep\nsleep(0.7)\nslow_1 = len('abc')")
    cell = auto.good("was_over = slow_1.done()\nopen('written.txt', 'w').close()")
    assert "opens a file to write" in cell.text("stderr")
    assert here(auto, "was_over") == "True"


def test_what_sets_up_modules_is_done_on_each_worker_too(auto: Kernel) -> None:
    """An environment variable, a setting of a module: task cells find it; where that cannot be done, it is said."""
    auto.good("import os, decimal")
    cell = auto.good(
        "os.environ['SET_UP'] = 'yes'\ndecimal.getcontext().prec = 7\ndecimal.setcontext(decimal.Context(prec=5))"
    )
    assert "in the kernel, and once on each worker: line 1 changes the module os" in cell.text("stderr")
    auto.good("found_1 = os.environ.get('SET_UP'), str(decimal.Decimal(1) / 3)")
    assert here(auto, "found_1.result()") == "('yes', '0.33333')"
    auto.good("# shoal: plain\nlevel_1 = str(3)")
    cell = auto.good("os.environ['SET_UP'] = level_1")
    assert "workers do not know of it (see %%everywhere)" in cell.text("stderr")
    auto.good("%everywhere --clear")


def test_tasks_of_plain_cells_can_be_retried_and_run_again(auto: Kernel) -> None:
    """``%retry`` and ``%rerun`` make tasks of them once more."""
    auto.run("# shoal: plain\ndivisor = 0", "cell-of-divisor")
    auto.run("quotient = 12 // divisor", "cell-of-quotient")
    auto.good("%wait")
    auto.run("# shoal: plain\ndivisor = 4", "cell-of-divisor")
    auto.good("%retry quotient")
    assert here(auto, "(type(quotient).__name__, quotient.result())") == "('OutputFuture', 3)"
    auto.run("# shoal: plain\ndivisor = 6", "cell-of-divisor")
    assert "1 cell ran again" in auto.good("%rerun quotient").text()
    assert here(auto, "(type(quotient).__name__, quotient.result())") == "('OutputFuture', 2)"


def test_a_mode_that_is_not_there_is_refused(kernel: Kernel) -> None:
    """The words are said."""
    assert "%autotask sometimes: there is no such mode" in kernel.run("%autotask sometimes").errors[0]
    assert "%autotask off" in kernel.good("%autotask").text()


def test_cells_do_not_share_objects_on_threads(kernel: Kernel, tmp_path: Any) -> None:
    """On threads only, cells stay plain; beside a pool they go to the pool."""
    config = f"other = shoal.load(Config(run_dir={str(tmp_path)!r}, executors=[ThreadPoolExecutor(){{0}}]))"
    pool = ", HighThroughputExecutor(label='far', max_workers_per_node=1)"
    kernel.good("from shoal import ThreadPoolExecutor\n" + config.format(""))
    try:
        kernel.good("%autotask on")
        assert "the session has threads only" in kernel.good("y_1 = len('ab')").text("stderr")
        kernel.good(config.format(pool))
        kernel.good("import os\nwhere_1 = [os.getpid() for _ in range(3)]")
        assert here(kernel, "where_1[0] != __import__('os').getpid()") == "True"
    finally:
        kernel.good("%autotask off")
        kernel.good("shoal.clear()")
        kernel.good(
            "session = shoal.load(Config(executors=[HighThroughputExecutor(label='pool', max_workers_per_node=2)]))"
        )


ALIKE = [
    "import random, re, sys\nfrom random import choice\nrandom.seed(4)",
    "rows = [[1], [2]]\ntop = rows[0]",
    "top.append(9)",
    "print(rows)",
    "both = rows",
    "both += [[3]]",
    "print(rows, both is rows)",
    "def roll(n):\n    return [random.randint(1, 6) for _ in range(n)]",
    "rolled = roll(4)",
    "one = choice(rolled)\nprint(rolled, one)",
    "own = random.Random(3)\nfirst = own.random()",
    "second = own.random()\nprint(first, second)",
    "def count():\n    n = 0\n    def tick():\n        nonlocal n\n        n += 1\n        return n\n    return tick\ntick = count()",
    "tick(), tick()",
    "print(tick())",
    "def stream():\n    yield from range(4)\nitems = stream()",
    "head = next(items)",
    "print(head, list(items))",
    "seen = iter([1, 2, 3])\nnext(seen)",
    "next(seen)",
    "print(list(seen))",
    "found = re.match('(a)b', 'abc')\nprint(found.groups())",
    "print(found)",
    "def push(v, to=[]):\n    to.append(v)\n    return len(to)",
    "print(push(1))",
    "print(push(2))",
    "sys.stdout.write('direct\\n')\ntotal = sum(len(row) for row in rows)",
    "print(total)",
]
"""Cells whose meaning hangs on objects with two names, on state, on what cannot travel."""


@pytest.mark.parametrize("mode", ["on", "ordered"])
def test_a_notebook_that_knows_nothing_of_tasks_means_the_same(kernel: Kernel, mode: str) -> None:
    """It prints what it prints as a plain notebook, cell by cell."""
    printed = {}
    for each in ("off", mode):
        kernel.good(f"%autotask {each}")
        cells = [kernel.start(code) for code in ALIKE]
        kernel.until(lambda cells=cells: all(cell.reply and cell.idle for cell in cells))
        kernel.good("%wait --timeout 60")
        assert [cell.errors for cell in cells if cell.errors] == []
        printed[each] = [cell.text() for cell in cells]
    kernel.good("%autotask off")
    kernel.good("%everywhere --clear")
    assert printed[mode] == printed["off"]
