"""Interrupts, wherever a cell waits: the first stops the waiting, a second within two seconds cancels what was awaited."""

from __future__ import annotations

import os
import signal
import time
from typing import Any

import pytest

# the tests of this folder find their fixtures' types in conftest
Kernel = Any

LONG = 600
APP = f"@python_app\ndef nap(n={LONG}):\n    import time\n    time.sleep(n)\n    return n"


def interrupt(kernel: Kernel) -> None:
    """What the front end's button does."""
    os.kill(kernel.manager.provisioner.pid, signal.SIGINT)


def over(kernel: Kernel, *cells: Any) -> None:
    kernel.until(lambda: all(cell.reply is not None and cell.idle for cell in cells))


WATCH = """
def watch():
    import sys, threading, time
    main = threading.main_thread().ident
    def look():
        places = {("waking.py", "wait"), ("crowd.py", "until"), ("selectors.py", "select")}
        code = sys._current_frames()[main].f_code
        while (code.co_filename.rpartition("/")[2], code.co_name) not in places:
            time.sleep(0.01)
            code = sys._current_frames()[main].f_code
        print("begun", flush=True)
    threading.Thread(target=look, daemon=True).start()
"""


def begun(kernel: Kernel, code: str) -> Any:
    """A cell that waits by now."""
    kernel.good(WATCH)
    cell = kernel.start(f"watch()\n{code}")
    kernel.until(lambda: "begun" in cell.text())
    return cell


WAITS = {
    "result": "late.result()",
    "exception": "late.exception()",
    "gather": "shoal.gather([late, 1])",
    "wait": "shoal.wait([late])",
    "as_completed": "list(shoal.as_completed([late]))",
    "await": "await late",
    "asyncio": "import asyncio\nawait asyncio.gather(late, asyncio.sleep(600))",
    "session": "session.wait()",
    "current": "shoal.wait_for_current_tasks()",
}


@pytest.mark.parametrize("code", WAITS.values(), ids=WAITS)
def test_an_interrupt_stops_the_waiting_and_a_second_cancels(kernel: Kernel, code: str) -> None:
    """One sentence, without internals; the task goes on until the second comes, also if no cell runs by then."""
    kernel.good(APP)
    kernel.good("late = nap()")
    cell = begun(kernel, code)
    interrupt(kernel)
    over(kernel, cell)
    assert "stopped waiting for" in cell.errors[0]
    assert "the tasks go on" in cell.errors[0]
    assert "Traceback" not in cell.errors[0]
    assert "cancelled" not in cell.text("stderr")
    interrupt(kernel)
    kernel.until(lambda: "interrupted twice: cancelled 1 task" in cell.text("stderr"))
    assert kernel.value("late.cancelled()") == "True"
    assert kernel.good("print('well')").text() == "well\n"


def test_one_interrupt_leaves_what_was_awaited_alone(kernel: Kernel) -> None:
    """The task is running afterwards, and can be awaited again; a limit of time for an await is no interrupt, and cancels it."""
    kernel.good("late, soon = nap(), nap(1)")
    cell = begun(kernel, "await late")
    interrupt(kernel)
    over(kernel, cell)
    assert kernel.value("late.done()") == "False"
    assert kernel.good("print(await soon)").text() == "1\n"
    cell = kernel.good(
        "import asyncio\ntry:\n    await asyncio.wait_for(late, 0.2)\nexcept asyncio.TimeoutError:\n    print('no', late.cancelled())"
    )
    assert cell.text() == "no True\n"


def test_an_interrupted_wait_aborts_the_queue_and_a_failed_task_does_not(kernel: Kernel) -> None:
    """As for any cell: those behind an interrupted one do not run; a task that fails meanwhile, and its skipped heirs, stop nothing."""
    failing = kernel.start("%%task\nbad = 1 / 0")
    heir = kernel.start("%%task\nworse = bad + 1")
    after = kernel.start("%wait\nprint('went on')")
    over(kernel, failing, heir, after)
    kernel.until(lambda: failing.errors and heir.errors)
    assert [cell.reply["status"] for cell in (failing, heir, after)] == ["ok"] * 3
    assert after.text() == "went on\n"
    kernel.good("late = nap()")
    waiting = kernel.start("%wait")
    behind = kernel.start("print('behind')")
    kernel.until(lambda: any("waiting" in text for text in waiting.values()))
    interrupt(kernel)
    over(kernel, waiting, behind)
    assert behind.reply["status"] in ("aborted", "error")
    assert behind.text() == ""
    kernel.good("%cancel late")


SLOW_TO_PICKLE = """
import time
class Slow:
    def __reduce__(self):
        print('pickling', flush=True)
        time.sleep(0.5)
        return Slow, ()
slow, before = Slow(), 7
"""


@pytest.mark.parametrize(
    "code",
    [
        "%%task\nbefore = slow",
        "%%task --name whole\nbefore = time.sleep(600)",
        "%%parallel for n in range(5000) -> before\n(n, slow)",
        "%%parallel for one in [slow] * 5 -> before\none",
    ],
)
def test_an_interrupted_submission_leaves_nothing(kernel: Kernel, code: str) -> None:
    """While inputs are pickled, and when all is made but for the last step: no task is left, the names hold what they held, and the kernel works on."""
    kernel.good(SLOW_TO_PICKLE)
    if "whole" in code:
        kernel.good(
            "from shoal_kernel.magics import taskmagics as magics\n_remember = magics.remember\n"
            "def remember(*args):\n    print('pickling', flush=True); time.sleep(600)\nmagics.remember = remember"
        )
    cell = kernel.start(code)
    kernel.until(lambda: "pickling" in cell.text())
    interrupt(kernel)
    over(kernel, cell)
    assert "its names are as they were" in cell.errors[0]
    assert kernel.value("before") == "7"
    kernel.until(lambda: kernel.value("session.pending()") == "0")
    if "whole" in code:
        kernel.good("magics.remember = _remember")
    kernel.good("%%task\nfine = before + 1")
    assert kernel.value("fine.result()") == "8"


def test_many_elements_are_all_taken_back(kernel: Kernel) -> None:
    """An interrupt when 2,500 of 5,000 elements are tasks, and a second while they are taken back."""
    kernel.good("before = 7\nsession.wait()")
    kernel.good(SLOW_TO_PICKLE.replace("        print", "        if session.pending() >= 2500:\n         print"))
    elements = "[*range(2500), slow, *range(2500)]"
    cell = kernel.start(f"%%parallel for n in {elements} -> before --chunksize 1\nimport time\ntime.sleep({LONG})")
    kernel.until(lambda: "pickling" in cell.text())
    interrupt(kernel)
    time.sleep(0.05)
    interrupt(kernel)
    over(kernel, cell)
    assert cell.reply["status"] == "error"
    assert kernel.value("before") == "7"
    kernel.until(lambda: kernel.value("session.pending()") == "0")
    assert kernel.value("shoal.python_app(len)([1]).result()") == "1"
