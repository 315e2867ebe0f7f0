"""``--cache``, ``--after``, ``--env``, ``%%everywhere`` and ``%%join_task`` in a real kernel."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest

# the tests of this folder find their fixtures' types in conftest
Kernel = Any


def test_a_cached_cell_runs_once_for_the_same_inputs(kernel: Kernel) -> None:
    """Another number of the cell makes no difference; another input does."""
    code = "%%task --cache\nimport time\nstamp = (given, time.time_ns())"
    kernel.good("given = 1")
    kernel.good(code)
    first = kernel.value("stamp.result()")
    kernel.good(code)
    assert kernel.value("stamp.result()") == first
    kernel.good("given = 2")
    kernel.good(code)
    assert kernel.value("stamp.result()").startswith("(2, ")


def test_after_waits_without_reading(kernel: Kernel) -> None:
    """The task begins when the other has ended; if that failed, it does not run."""
    kernel.good("%%task\nimport time\ntime.sleep(0.6)\nended = time.monotonic()")
    kernel.good("%%task --after ended\nimport time\nbegan = time.monotonic()")
    assert kernel.value("began.result() >= ended.result()") == "True"
    kernel.good("%%task\nbad = 1 / 0")
    cell = kernel.good("%%task --after bad\nnever = 1")
    kernel.good("%wait")
    assert "did not run" in cell.errors[0]
    assert "--after nowhere: there is no variable" in kernel.run("%%task --after nowhere\n1").errors[0]


def test_environment_variables_are_the_cells_own(kernel: Kernel) -> None:
    """They are set while the cell runs, and no longer."""
    kernel.good(
        '%%task --env GREETING=hello --env "NAME_OF=a b"\nimport os\ntext = os.environ["GREETING"] + os.environ["NAME_OF"]'
    )
    assert kernel.value("text.result()") == "'helloa b'"
    for _ in range(3):  # whichever worker it is
        kernel.good("%%task\nimport os\nleft = 'GREETING' in os.environ")
        assert kernel.value("left.result()") == "False"
    assert "--env GREETING: that sets no environment variable" in kernel.run("%%task --env GREETING\n1").errors[0]


@pytest.fixture
def everywhere(kernel: Kernel) -> Iterator[Kernel]:
    """A kernel that forgets what workers were to run."""
    yield kernel
    kernel.good("%everywhere --clear")


def test_everywhere_runs_once_on_each_worker(everywhere: Kernel) -> None:
    """What cannot travel is there in task cells, made once a process; functions of the notebook see it; state may change."""
    cell = everywhere.good("%%everywhere\nimport os, threading\nguard, runs = threading.Lock(), [os.getpid()]")
    assert "it binds guard, os, runs, threading" in cell.text()
    everywhere.good("def look():\n    with guard:\n        return list(runs)")
    code = "%%task\nimport os, time\ntime.sleep(0.3)\nruns.append(0)\nseen_{0} = (look()[0] == os.getpid(), look().count(os.getpid()))"
    for number in range(4):
        everywhere.good(code.format(number))
    assert everywhere.value("{seen_0.result(), seen_1.result(), seen_2.result(), seen_3.result()}") == "{(True, 1)}"
    assert everywhere.value("('guard' in globals(), os.sep)") == "(False, '/')"
    everywhere.good("%%parallel for k in range(4) -> found --chunksize 2\n(k, look()[0] == os.getpid())")
    assert everywhere.value("found.result()") == "[(0, True), (1, True), (2, True), (3, True)]"


def test_a_name_of_the_notebook_comes_before(everywhere: Kernel) -> None:
    """A variable here is what a task cell gets."""
    everywhere.good("%%everywhere\nlevel = 1")
    everywhere.good("%%task\nseen = level")
    assert everywhere.value("seen.result()") == "1"
    everywhere.good("level = 2")
    everywhere.good("%%task\nseen = level")
    assert everywhere.value("seen.result()") == "2"


def test_everywhere_that_fails_is_told_with_its_line(everywhere: Kernel) -> None:
    """The task that needed it fails, with the line of that cell."""
    everywhere.good("%%everywhere\nzero = 0\nbroken = 1 / zero")
    cell = everywhere.good("%%task\nfine = 1")
    everywhere.good("%wait")
    assert "line 3" in cell.errors[0]
    assert "ZeroDivisionError" in cell.errors[0]


def test_everywhere_cannot_read_the_notebook(everywhere: Kernel) -> None:
    """Bad cells are one sentence each."""
    everywhere.good("local_one = 3")
    assert "'local_one', which line 2 reads, is a variable" in everywhere.run("%%everywhere\na = local_one").errors[0]
    assert "takes nothing, and got '--all'" in everywhere.run("%%everywhere --all\na = 1").errors[0]
    assert "line 2 is not Python" in everywhere.run("%%everywhere\na = = 1").errors[0]
    assert "no code" in everywhere.run("%%everywhere\n# nothing").errors[0]


def test_a_join_cell_ends_with_the_tasks_that_it_made(kernel: Kernel) -> None:
    """Its names are futures at once; the futures that they hold, in lists too, have become values in the end."""
    kernel.good("@python_app\ndef tenfold(v):\n    import time\n    time.sleep(0.2)\n    return 10 * v\nlow = 1")
    cell = kernel.good(
        "%%join_task\nfirst = tenfold(low)\nmany = [tenfold(v) for v in range(first.result() // 5)]\nlast = len(many)\n(last, many)"
    )
    assert kernel.value("(type(many).__name__, many.result(), first.result(), last.result())") == (
        "('OutputFuture', [0, 10], 10, 2)"
    )
    kernel.good("%wait")
    assert "(2, [0, 10])" in cell.values()


def test_a_join_cell_that_fails_shows_its_own_line(kernel: Kernel) -> None:
    """Whether its own text fails, or a task that it made."""
    own = kernel.good("%%join_task\nv = 1\nv / 0")
    made = kernel.good("%%join_task\nbad = python_app(int)('x')")
    kernel.good("%wait")
    assert "line 3" in own.errors[0]
    assert "ZeroDivisionError" in own.errors[0]
    assert "invalid literal" in made.errors[0]
    assert "%%join_task --memory: the threads" in kernel.run("%%join_task --memory '1 GB'\n1").errors[0]


def test_a_failed_cell_can_be_debugged_here_with_its_inputs(kernel: Kernel) -> None:
    """``%retry --here`` runs it in the kernel; the failing frame has the task's own inputs, whatever the names hold by now."""
    kernel.good("def invert(v):\n    inner = v - 3\n    return 1 / inner\nthree = 3")
    kernel.good("%%task --name inverting\ngiven_four = three + 1\nout = invert(three)")
    kernel.good("%wait")
    kernel.good("three = 'something else'")
    assert "read       three = 3" in kernel.good("%task out").text()
    cell = kernel.run("%retry out --here")
    trace = re.sub(r"\x1b\[[0-9;]*m", "", cell.errors[0])
    assert "return 1 / inner" in trace
    assert "shoal_kernel" not in trace, trace
    assert "%debug opens the failing line here" in cell.text("stderr")
    kernel.good(
        "import sys, traceback\nframe = [f for f, _ in traceback.walk_tb(sys.last_traceback)][-1]\nseen = frame.f_locals['v'], three"
    )
    assert kernel.value("seen") == "(3, 3)"
    kernel.good("def invert(v):\n    return 1 / v")
    again = kernel.good("%retry out --here")
    assert again.errors == []
    assert kernel.value("out * three") == "1.0"


def test_a_cell_that_failed_can_run_again(kernel: Kernel) -> None:
    """What it makes itself it does not wait for, also if it changes it, or makes it in a branch: the failure before is no input."""
    kernel.good("worth = 'no'")
    code = "%%task\ngrown = []\ngrown.append(1)\nif worth:\n    extra = 1\nparsed = int(worth)"
    kernel.good(code)
    kernel.good("%wait")
    kernel.good("worth = '5'")
    kernel.good(code)
    assert kernel.value("(grown.result(), extra.result(), parsed.result())") == "([1], 1, 5)"


def test_what_no_executor_has_is_said(kernel: Kernel) -> None:
    """In one sentence, for each kind of cell."""
    for line in ("%%task --gpus 1", "%%parallel for x in [1] -> y --gpus 1", "%%bash_task --gpus 1"):
        (text,) = kernel.run(f"{line}\n1").errors
        assert "asks for more than there is: no executor of this session has them ('pool': gpus = 1" in text
        assert "Resources(" not in text
    assert "%%task --walltime 1h: that is not a number of seconds" in kernel.run("%%task --walltime 1h\n1").errors[0]


def test_retry_takes_more_options(kernel: Kernel) -> None:
    """They are added to those of the cell; what cannot be is said."""
    kernel.good("%%task --memory '1 MB'\nlarge = int('no')")
    kernel.good("%wait")
    refused = kernel.run("%retry large --memory '900 TB'")
    assert "900" in refused.errors[0]
    assert "needs to know which task" in kernel.run("%retry --here").errors[0]
    assert "has no option '--memroy'" in kernel.run("%retry large --memroy 4").errors[0]
    kernel.good("%retry large --memory '2 MB' --walltime 30")
    kernel.good("%%task\nfine = 1")
    kernel.value("fine.result()")
    assert "nothing to try again" in kernel.run("%retry fine --here").errors[0]


def test_words_that_can_follow_are_offered(kernel: Kernel) -> None:
    """Completion of the new magics, and of the options of cells."""
    complete = "get_ipython().complete({!r}, {!r})[1]"
    assert "--walltime" in kernel.value(complete.format("--wa", "%%task --wa"))
    assert "--chunksize" in kernel.value(complete.format("--c", "%%parallel for x in xs -> y --c"))
    assert "--memory" not in kernel.value(complete.format("--", "%%localtask --"))
    assert "'pool'" in kernel.value("get_ipython().complete('po', '%%bash_task --executor po', 25)[1]")
    kernel.good("whole_1 = 1")
    assert "whole_1" in kernel.value("get_ipython().complete('whole', '%rerun whole')[1]")
    assert "ordered" in kernel.value("get_ipython().complete('ord', '%autotask ord')[1]")
    assert "stale" in kernel.value("get_ipython().complete('sta', '%tasks sta')[1]")
    kernel.good(
        "from IPython.core.completer import provisionalcompleter\n"
        "def offered(text):\n"
        "    with provisionalcompleter():\n"
        "        return [one.text for one in get_ipython().Completer.completions(text, len(text))]"
    )
    assert kernel.value("offered('%cancel --')") == "['--all', '--cell']", "and none of Python's names"
    assert "AbstractSet" not in kernel.value("offered('%%parallel --')")
    assert kernel.value("offered('%autotask ')") == "['on', 'off', 'ordered']"
    assert "whole_1" in kernel.value("offered('%%parallel for x in whole')")
