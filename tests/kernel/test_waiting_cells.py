"""Plain cells that use names which tasks are still making, and what interrupting them does."""

from __future__ import annotations

import os
import signal
from typing import Any

import pytest

# the tests of this folder find their fixtures' types in conftest
Kernel = Any

SLOW = "%%task\nimport time\ntime.sleep({0})\n{1} = {2}"
LONG = 600


def interrupt(kernel: Kernel) -> None:
    """What the front end's button does."""
    os.kill(kernel.manager.provisioner.pid, signal.SIGINT)


def waiting(kernel: Kernel, cell: Any) -> None:
    """Until a cell says that it waits."""
    kernel.until(lambda: any("waiting for" in text for text in cell.values()))


def over(kernel: Kernel, cell: Any) -> None:
    kernel.until(lambda: cell.reply is not None and cell.idle)


def test_a_plain_cell_waits_for_just_the_names_that_it_uses(kernel: Kernel) -> None:
    """It says what it waits for; another task, and another name, keep nobody waiting; afterwards the name is its future again."""
    kernel.good(SLOW.format(LONG, "endless", 1))
    kernel.good(SLOW.format(1.2, "soon", 20))
    cell = kernel.good("print(soon + 1, sorted([soon, 3]))")
    assert cell.text() == "21 [3, 20]\n"
    assert "waited" in cell.values()[0]
    assert "'soon' (cell" in cell.values()[0]
    assert kernel.value("(type(soon).__name__, soon.result())") == "('OutputFuture', 20)"
    assert kernel.value("endless.done()") == "False"
    kernel.good("%cancel endless")


def test_functions_of_the_notebook_get_values_too(kernel: Kernel) -> None:
    """As arguments, and as the names that they read; functions that call apps get the future."""
    kernel.good(
        "@python_app\ndef more(v):\n    return v + 1\ndef half(v):\n    return v // 2\ndef area():\n    return side * 2\n"
    )
    kernel.good("def chain(v):\n    return more(v)")
    kernel.good(SLOW.format(0.5, "side", 8))
    assert kernel.good("print(area())").text() == "16\n"
    kernel.good(SLOW.format(0.5, "side", 6))
    assert kernel.good("print(half(side))").text() == "3\n"
    kernel.good(SLOW.format(LONG, "side", 8))
    assert kernel.good("made = chain(side)\nprint(type(made).__name__, made.done())").text() == "TaskFuture False\n"
    kernel.good("%cancel side")


def test_what_a_cell_makes_of_a_value_stays(kernel: Kernel) -> None:
    """Augmented assignment and changes in place act on the value, which the name holds then; task cells get the changed one."""
    kernel.good("%%task\ncount, items = 4, [1]")
    kernel.good("count += 1\nitems.append(2)\nitems[0] = 9")
    assert kernel.value("count") == "5"
    assert kernel.good("print(len(items))").text() == "2\n"
    assert kernel.value("items") == "[9, 2]"
    kernel.good("%%task\nseen = list(items)")
    assert kernel.value("seen.result()") == "[9, 2]"


def test_code_in_magics_gets_values_too(kernel: Kernel) -> None:
    """``%time``, ``%%capture`` and shell commands use names of the notebook."""
    kernel.good(SLOW.format(0.3, "soon", 4))
    assert kernel.good("%time soon + 1").values()[-1] == "5"
    kernel.good(SLOW.format(0.3, "soon", 5))
    assert kernel.good("%%time\nprint(soon + 1)").text().startswith("6\n")
    kernel.good(SLOW.format(0.3, "soon", 6))
    assert kernel.good("words = !echo {soon}\nprint(words)").text() == "['6']\n"


def test_a_value_that_failed_is_one_sentence(kernel: Kernel) -> None:
    """The plain cell says which line needs what, and why it is not there; it does not show internals."""
    kernel.good("%%task\nbroken = 1 // 0")
    cell = kernel.run("a = 1\nprint(broken + a)")
    assert "line 2 needs 'broken', but cell" in cell.errors[0]
    assert "ZeroDivisionError" in cell.errors[0]
    assert "settle" not in cell.errors[0]


def test_an_interrupt_stops_the_waiting_and_the_task_goes_on(kernel: Kernel) -> None:
    """The cell ends with one line; the name is still its future."""
    kernel.good(SLOW.format(LONG, "late", 1))
    cell = kernel.start("print(late + 1)")
    waiting(kernel, cell)
    interrupt(kernel)
    over(kernel, cell)
    assert "stopped waiting for 'late'" in cell.errors[0]
    assert "the tasks go on" in cell.errors[0]
    assert "Traceback" not in cell.errors[0]
    assert kernel.value("late.done()") == "False"
    kernel.good("%cancel late")


@pytest.mark.parametrize("code", ["print(late + 1)", "%wait late", "%wait"])
def test_a_second_interrupt_cancels_what_was_waited_for(kernel: Kernel, code: str) -> None:
    """It may come when no cell runs any more; the cell that waited says what it did, and no other task ends."""
    kernel.good(SLOW.format(LONG, "late", 1))
    cell = kernel.start(code)
    kernel.until(lambda: any("waiting" in text for text in cell.values()))
    interrupt(kernel)
    over(kernel, cell)
    interrupt(kernel)
    kernel.until(lambda: "interrupted twice: cancelled 1 task" in cell.text("stderr"))
    assert kernel.value("late.cancelled()") == "True"
    assert kernel.good("print('well')").text() == "well\n"


def test_the_tasks_of_a_cell_are_cancelled_together(kernel: Kernel) -> None:
    """By the cell's number; those of other cells go on."""
    kernel.good(SLOW.format(LONG, "other", 1))
    cell = kernel.good(f"%%parallel for k in (1, 2) -> both\nimport time\ntime.sleep({LONG})")
    count = cell.reply["execution_count"]
    assert "cancelled 3 tasks" in kernel.good(f"%cancel --cell {count}").text()
    assert kernel.value("(both.cancelled() or bool(both.exception()), other.done())") == "(True, False)"
    kernel.good("%cancel other")
    assert "cell [99999] made no tasks" in kernel.run("%cancel --cell 99999").errors[0]
    assert "needs the number of a cell" in kernel.run("%cancel --cell x").errors[0]


def test_an_idle_kernel_ignores_interrupts_as_ever(kernel: Kernel) -> None:
    """Long after a first interrupt, and after cells that ran meanwhile, one changes nothing."""
    interrupt(kernel)
    assert kernel.good("print('well')").text() == "well\n"
