"""``%%task`` in a real kernel: what comes back, where its output goes, and what bad input gets."""

from __future__ import annotations

from typing import Any

import pytest

# the tests of this folder find their fixtures' types in conftest
Kernel = Any


def ended(kernel: Kernel) -> None:
    """Wait for all tasks; their output has arrived then."""
    kernel.good("%wait --timeout 50")


# --------------------------------------------------------------------------- what comes back


def test_a_cell_returns_at_once_and_its_names_become_futures(kernel: Kernel) -> None:
    """The names that the cell writes are futures while it runs, and hold its values after."""
    kernel.good("%%task\nimport time\ntime.sleep(0.7)\na = 20\nb = {'k': a + 1}")
    assert kernel.value("(type(a).__name__, type(b).__name__, a.done())") == "('OutputFuture', 'OutputFuture', False)"
    assert kernel.value("(a.result(), b.result())") == "(20, {'k': 21})"


def test_futures_are_inputs_of_later_cells_apps_and_task_cells(kernel: Kernel) -> None:
    """A pending name goes into an app or another task cell as it is; there it is its value."""
    kernel.good("%%task\nimport time\ntime.sleep(0.4)\nbase = 10")
    kernel.good("@python_app\ndef double(v):\n    return 2 * v\ntwice = double(base)")
    kernel.good("many = [base, twice]")
    kernel.good("%%task\ntotal = base + twice + sum(many)")
    assert kernel.value("total.result()") == "60"


def test_names_without_a_future_travel_as_they_are_now(kernel: Kernel) -> None:
    """What is changed after the cell was started does not change what the task sees."""
    kernel.good("rows = [1, 2]")
    kernel.good("%%task\nimport time\ntime.sleep(0.3)\nseen = list(rows)")
    kernel.good("rows.append(3)")
    assert kernel.value("seen.result()") == "[1, 2]"


def test_objects_that_are_changed_come_back(kernel: Kernel) -> None:
    """Item assignment, known mutators and augmented assignment: the notebook gets the changed object as a future."""
    kernel.good("table, items, n = {'a': 1}, [1], 1")
    kernel.good("%%task\ntable['b'] = 2\nitems.append(2)\nn += 1")
    assert kernel.value("(table.result(), items.result(), n.result())") == "({'a': 1, 'b': 2}, [1, 2], 2)"


def test_what_is_only_read_stays(kernel: Kernel) -> None:
    """A name that the cell reads is no future after it."""
    kernel.good("plain = [3, 4]")
    kernel.good("%%task\nlongest = max(plain)")
    assert kernel.value("(plain, longest.result())") == "([3, 4], 4)"


def test_imports_and_definitions_are_there_at_once(kernel: Kernel) -> None:
    """A module, a function and a class of a task cell can be used by the next plain cell, without waiting."""
    kernel.good(
        "%%task\nimport math as m\nfrom fractions import Fraction\ndef half(v):\n    return v / 2\n"
        "class Point:\n    def __init__(self, x):\n        self.x = x\np = Point(half(m.sqrt(16)))"
    )
    assert kernel.value("(m.pi > 3, Fraction(1, 2) > 0, half(8))") == "(True, True, 4.0)"
    assert kernel.value("(p.result().x, isinstance(p.result(), Point))") == "(2.0, True)"


def test_a_decorated_definition_comes_back_as_a_future(kernel: Kernel) -> None:
    """What a decorator makes of a function is made on the worker."""
    kernel.good("%%task\nimport functools\nk = 3\n@functools.lru_cache\ndef times(v):\n    return k * v\n")
    assert kernel.value("times.result()(5)") == "15"


def test_functions_see_what_the_cell_writes(kernel: Kernel) -> None:
    """A function of the notebook that the cell calls reads the names that the cell has just set, and pending ones."""
    kernel.good("def area():\n    return width * height")
    kernel.good("%%task\nimport time\ntime.sleep(0.2)\nheight = 7")
    kernel.good("%%task\nwidth = 6\nresult = area()")
    assert kernel.value("result.result()") == "42"


def test_functions_that_write_globals_bring_them_back(kernel: Kernel) -> None:
    """A function of the cell that binds a name by ``global`` writes it."""
    kernel.good("hits = 1")
    kernel.good("%%task\ndef hit():\n    global hits\n    hits += 1\nhit()\nhit()")
    assert kernel.value("hits.result()") == "3"


def test_deleted_names_are_gone(kernel: Kernel) -> None:
    """``del`` takes effect in the notebook, and the value does not travel for it."""
    kernel.good("import threading\nbig = threading.Lock()")
    kernel.good("%%task\ndel big")
    assert kernel.value("'big' in globals()") == "False"


def test_a_name_that_is_deleted_in_a_branch_is_gone_if_the_branch_runs(kernel: Kernel) -> None:
    """What the cell deletes in a branch travels; it is gone, or is what it was. A name that is deleted and bound anew is there."""
    kernel.good("kept, dropped, anew = [1], [2], [3]")
    kernel.good("%%task\nif kept[0] > 5: del kept\nif dropped: del dropped\ndel anew\nanew = 4")
    ended(kernel)
    assert kernel.value("('dropped' in globals(), kept.result(), anew.result())") == "(False, [1], 4)"


def test_a_function_that_is_defined_anew_was_the_old_one_before(kernel: Kernel) -> None:
    """The text before the definition calls the old one, also where the new one has defaults; so with classes and modules."""
    kernel.good("def shift(v): return v + 1\nclass Unit: size = 1\nclass mm: pi = 3")
    kernel.good(
        "%%task\nbefore = shift(1), Unit.size, mm.pi\ndef shift(v, by=10): return v + by\nclass Unit: size = 2\n"
        "import cmath as mm\nafter = shift(1), Unit.size, mm.pi > 3"
    )
    assert kernel.value("(before.result(), after.result())") == "((2, 1, 3), (11, 2, True))"
    kernel.good("now = shift(2), Unit.size, mm.pi > 3")
    assert kernel.value("now") == "(12, 2, True)"


def test_a_module_beside_the_notebook_is_seen_as_it_is_loaded_now(kernel: Kernel) -> None:
    """Also where the task cell imports it itself, and a worker has imported it before."""
    write = "from pathlib import Path\nPath('edited_beside.py').write_text(\"value = {}\")"
    kernel.good(write.format("'first'"))
    kernel.good("%%task\nimport edited_beside\nseen = edited_beside.value")
    assert kernel.value("seen.result()") == "'first'"
    kernel.good(write.format("'the second'") + "\nimport importlib\nimportlib.reload(edited_beside)")
    kernel.good("%%task\nimport edited_beside\nseen = edited_beside.value")
    assert kernel.value("seen.result()") == "'the second'"


def test_an_open_file_stays_on_the_worker(kernel: Kernel) -> None:
    """It could be pickled, but would arrive as something else."""
    cell = kernel.good("%%task\nopened, rest = open('/dev/null'), 1")
    ended(kernel)
    assert "'opened' (a TextIOWrapper) stayed on the worker" in cell.text("stderr")
    assert kernel.value("('opened' in globals(), rest.result())") == "(False, 1)"


def test_a_name_that_was_not_set_is_taken_away_and_said(kernel: Kernel) -> None:
    """A branch that did not run: the name is no future any more, and the cell says so; a value from before stays."""
    kernel.good("kept = 'old'")
    cell = kernel.good("%%task\nif 1 > 2:\n    never = 1\n    kept = 'new'")
    ended(kernel)
    assert "'never' was not set" in cell.text("stderr")
    assert kernel.value("'never' in globals()") == "False"
    assert kernel.value("kept.result()") == "'old'"


def test_a_loop_variable_makes_no_cell_wait(kernel: Kernel) -> None:
    """Two task cells that loop with one variable run side by side; the variable keeps its value if a loop is empty."""
    code = "%%task\nimport time\nfor step in range({0}):\n    time.sleep({1})\n{2} = 1"
    kernel.good(code.format(1, 3, "slow_loop"))
    kernel.good(code.format(2, 0, "fast_loop"))
    assert kernel.value("(fast_loop.result(), slow_loop.done())") == "(1, False)"
    kernel.good(code.format(0, 0, "no_loop"))
    ended(kernel)
    assert kernel.value("step.result()") == "1"


def test_a_value_that_cannot_travel_is_said_and_all_else_comes(kernel: Kernel) -> None:
    """One unpicklable name harms no other."""
    cell = kernel.good("%%task\nimport threading\nguard = threading.Lock()\nfine = 5")
    ended(kernel)
    assert "'guard' (a lock) stayed on the worker" in cell.text("stderr")
    assert kernel.value("('guard' in globals(), fine.result())") == "(False, 5)"


def test_options_override_what_is_found(kernel: Kernel) -> None:
    """``-i`` and ``-o`` say what travels; ``--name`` is the task's name."""
    kernel.good("u, v = 1, 2")
    kernel.good("%%task -i u,v -o s --name adding\nt = u\ns = t + v")
    assert kernel.value("(s.result(), s.label, 't' in globals())") == "(3, 'adding', False)"


def test_top_level_await_runs_on_the_worker(kernel: Kernel) -> None:
    """A cell may await."""
    kernel.good("%%task\nimport asyncio\nslept = await asyncio.sleep(0.05, 'well')")
    assert kernel.value("slept.result()") == "'well'"


def test_running_a_cell_again_works(kernel: Kernel) -> None:
    """Names that are futures of an earlier run of the same cell are written anew."""
    for _ in range(2):
        kernel.good("%%task\nq = 0\nfor i in range(4):\n    q += i")
    assert kernel.value("q.result()") == "6"


def test_threads_run_task_cells_too(kernel: Kernel, tmp_path: Any) -> None:
    """On an executor of threads the cell does not write the notebook's variables behind its back."""
    kernel.good(
        "from shoal import ThreadPoolExecutor\n"
        f"other = shoal.load(Config(run_dir={str(tmp_path)!r}, executors=[ThreadPoolExecutor()]))\nw = 1"
    )
    try:
        cell = kernel.good("%%task\nw = w + 1\nprint('in a thread')\nw")
        assert kernel.value("w.result()") == "2"
        ended(kernel)
        assert "in a thread" in cell.text()
        kernel.good("seen, also = [], []\nalso = seen\ndef note(v):\n    seen.append(v)\n    return v")
        kernel.good("%%task\nn = note(5)")
        assert kernel.value("(n.result(), seen, also)") == "(5, [5], [5])"
    finally:
        run_dir = kernel.value("str(session.run_dir.parent)")
        kernel.good(
            f"session = shoal.load(Config(run_dir={run_dir}, executors=[HighThroughputExecutor(label='pool', "
            "max_workers_per_node=2, provider=LocalProvider(init_blocks=1, max_blocks=1))]))"
        )


# --------------------------------------------------------------------------- where output goes


def test_output_appears_under_its_own_cell(kernel: Kernel) -> None:
    """What tasks print, show and warn names their own cells, though others ran meanwhile, and comes in order."""
    code = "%%task\nimport time, sys\nfor i in range(3):\n    print('{0}', i)\n    time.sleep(0.2)\nprint('{0}-err', file=sys.stderr)\n'{0}-value'"
    first, second = kernel.good(code.format("one")), kernel.good(code.format("two"))
    third = kernel.good("print('plain')\ntime.sleep(0.3)\nprint('plain again')")
    ended(kernel)
    for cell, name in [(first, "one"), (second, "two")]:
        assert cell.text() == f"{name} 0\n{name} 1\n{name} 2\n"
        assert cell.text("stderr") == f"{name}-err\n"
        assert f"'{name}-value'" in cell.values()
    assert third.text() == "plain\nplain again\n"
    assert kernel.stray == []


def test_output_is_live(kernel: Kernel) -> None:
    """A line is there while its task still runs."""
    cell = kernel.good("%%task\nimport time\nprint('begun')\ntime.sleep(1.5)\nlive = 1")
    kernel.until(lambda: "begun" in cell.text())
    assert kernel.value("live.done()") == "False"


def test_the_line_under_the_cell_says_how_the_task_is(kernel: Kernel) -> None:
    """Its state is shown in one place and changes there; ``--quiet`` shows none."""
    cell = kernel.good("%%task\nimport time\ntime.sleep(0.8)\nz1 = 1")
    kernel.until(lambda: "running" in cell.values()[0])
    ended(kernel)
    (line,) = cell.values()
    assert "done after" in line
    assert line.endswith("z1")
    quiet = kernel.good("%%task --quiet\nz2 = 1")
    ended(kernel)
    assert quiet.values() == []


def test_rich_values_are_shown_richly(kernel: Kernel) -> None:
    """A value with an HTML form is shown as HTML, made on the worker; a semicolon at the end shows nothing."""
    cell = kernel.good("%%task\nclass Red:\n    def _repr_html_(self):\n        return '<b>red</b>'\nRed()")
    silent = kernel.good("%%task\n'quiet';")
    ended(kernel)
    assert "<b>red</b>" in cell.values("text/html")
    assert not any("quiet" in text for text in silent.values())


def test_a_failure_is_shown_under_its_cell_and_stops_nothing(kernel: Kernel) -> None:
    """The traceback names the notebook's cells and lines, its own and those of functions from plain cells."""
    kernel.good("def divide(n):\n    return 1 / n")
    cell = kernel.good("%%task\nimport time\ntime.sleep(0.2)\n\nbad = divide(0)")
    after = kernel.good("print('goes on')")
    ended(kernel)
    (text,) = cell.errors
    number = cell.reply["execution_count"]
    assert f"Cell In[{number}], line 5, in <module>\n    bad = divide(0)" in text
    assert f"Cell In[{number - 1}], line 2, in divide\n    return 1 / n" in text
    trace, _, advice = text.partition("\n\n")
    assert "ZeroDivisionError" in trace.splitlines()[-1]
    assert "It ran on " in advice
    assert "--here runs it in the kernel, for %debug." in advice
    assert "shoal_kernel" not in text
    assert after.text() == "goes on\n"
    assert after.errors == []


def test_what_depends_on_a_failure_says_what_failed(kernel: Kernel) -> None:
    """A task cell whose input failed is skipped, with one line that names the root."""
    kernel.good("%%task\nbroken = int('seven')")
    cell = kernel.good("%%task\nmore = broken + 1")
    ended(kernel)
    assert len(cell.errors) == 1
    assert "did not run" in cell.errors[0]
    assert "invalid literal" in cell.errors[0]


def test_errors_of_values_name_the_cell(kernel: Kernel) -> None:
    """``result()`` of a failed task cell raises its exception, with the cell's line and nothing of Shoal's inside."""
    kernel.good("%%task\nlost = [][3]")
    cell = kernel.run("lost.result()")
    assert "IndexError" in cell.errors[0]
    assert "lost = [][3]" in cell.errors[0]
    assert "cellrun.py" not in cell.errors[0]


# --------------------------------------------------------------------------- bad input

BAD = {
    "an unknown option": ("%%task --nam x\na = 1", "has no option '--nam'"),
    "an option without a value": ("%%task --name\na = 1", "--name"),
    "an open quotation": ("%%task --name 'x\na = 1", "close the quotation"),
    "no names after -o": ("%%task -o a-b\na = 1", "not a variable's name"),
    "a name that is not there": ("%%task\na = nowhere + 1", "'nowhere', which line 2 reads, is not defined"),
    "a misspelt name": ("%%task\na = spelled + 1", "write 'spelledd'"),
    "-i of nothing": ("%%task -i nowhere\na = 1", "no variable 'nowhere'"),
    "-o of nothing": ("%%task -o nowhere\na = 1", "does not write 'nowhere'"),
    "a syntax error": ("%%task\na = 1\nb = = 2", "line 3 is not Python"),
    "only magics": ("%%task\n%matplotlib inline", "a magic or a shell command"),
    "a shell command": ("%%task\na = 1\n!ls", "line 3 has a magic"),
    "a star import": ("%%task\nfrom math import *", "imports * from math"),
    "exec": ("%%task\nexec('a = 1')", "has exec()"),
    "only a comment": ("%%task\n# nothing", "has no code"),
    "a break outside of a loop": ("%%task\na = 1\nbreak", "line 3 is not Python ('break' outside loop)"),
    "a very deep nest": ("%%task\na = " + "-" * 3000 + "1", "nested too deep"),
    "a name of IPython's": ("%%task\na = In[0]", "line 2 reads 'In', which is IPython's own"),
    "an unpicklable input": ("%%task\na = locked.locked()", "variable 'locked' (a lock)"),
    "an unpicklable input of a function": ("%%task\na = uses_lock()", "lock"),
    "an unknown executor": ("%%task --executor gpu\na = 1", "this session has: pool"),
    "a class's attribute": ("%%task\nPlain.n = 2", "class 'Plain'"),
    "%wait of nothing": ("%wait nowhere", "no variable 'nowhere'"),
    "%wait of a value": ("%wait spelledd", "holds no future"),
    "%wait of no number": ("%wait --timeout soon", "no number of seconds"),
    "%wait of an option": ("%wait --all", "no option '--all'"),
    "%blocks of something": ("%blocks 3", "takes nothing"),
    "%graph of something": ("%graph 3", "takes nothing"),
}


@pytest.mark.parametrize("what", BAD)
def test_bad_input_gets_a_sentence(kernel: Kernel, what: str) -> None:
    """One sentence in the cell, no stack of internals; no task was made, and the kernel is as it was."""
    code, said = BAD[what]
    kernel.good(
        "import threading\nlocked, spelledd = threading.Lock(), 1\ndef uses_lock():\n    return locked.locked()\n"
        "class Plain:\n    n = 1"
    )
    before = kernel.value("len(session.view())")
    cell = kernel.run(code)
    assert cell.reply["status"] == "error"
    (text,) = cell.errors
    assert said in text
    assert len(text.splitlines()) == 1
    assert len(text) < 400
    assert kernel.value("len(session.view())") == before
    assert kernel.value("spelledd") == "1"


def test_a_definition_that_fails_here_shows_its_own_lines(kernel: Kernel) -> None:
    """No task was made, and no frame of Shoal's is shown."""
    for cell in ("class Bad:\n    a = 1 / 0", "def bad(a=1 / 0): pass"):
        (text,) = kernel.run(f"%%task\n{cell}").errors
        assert "1 / 0" in text
        assert "ZeroDivisionError" in text
        assert "shoal" not in text


def test_an_object_that_answers_nothing_is_no_harm_to_other_cells(kernel: Kernel) -> None:
    """One whose ``__class__`` raises, as that of a lazy proxy may: its own cell is refused, others run, and plain cells still wait."""
    kernel.good("class Odd:\n    @property\n    def __class__(self): raise RuntimeError('ask later')\nodd = Odd()")
    assert "variable 'odd' (an Odd) cannot be sent" in kernel.run("%%task\na = odd").errors[0]
    kernel.good("%%task\nimport time\ntime.sleep(0.2)\nfine = 3")
    assert kernel.value("fine + 1") == "4"
    kernel.good("del odd")


def test_definitions_of_a_refused_cell_do_not_count(kernel: Kernel) -> None:
    """A cell that cannot become a task leaves no name behind."""
    kernel.run("%%task\ndef left_behind(): pass\nz = nowhere")
    assert kernel.value("'left_behind' in globals()") == "False"


# --------------------------------------------------------------------------- the other magics


def test_tasks_lists_and_filters(kernel: Kernel) -> None:
    """``%tasks`` shows tasks by state, number, name and error."""
    kernel.good("%%task --name listed\nk1 = 1")
    kernel.good("%%task --name failing\nk2 = int('x')")
    ended(kernel)
    assert "listed" in kernel.good("%tasks").text()
    failed = kernel.good("%tasks failed").text()
    assert "failing" in failed
    assert "listed" not in failed
    assert "invalid literal" in kernel.good("%tasks failing").text()
    assert "1 of them matches 'listed'" in kernel.good("%tasks listed").text()
    assert "0 of them match" in kernel.good("%tasks 999999").text()


def test_every_task_knows_its_cell(kernel: Kernel) -> None:
    """The record of an app's call, and of a task cell, names the cell, its number, and the line."""
    kernel.good("@python_app\ndef located():\n    return 1\ndef call():\n    return located()")
    plain = kernel.run("x1 = 0\n\nfrom_app = call()\nlocated()", cell_id="cell-of-app")
    task = kernel.run("%%task\nfrom_cell = 1", cell_id="cell-of-task")
    cells = (
        "[tuple(getattr(session.view().cell[f.tid], k) for k in ('cell_id', 'execution_count', 'line')) for f in {}]"
    )
    count = plain.reply["execution_count"]
    assert kernel.value(cells.format("[from_app]")) == f"[('cell-of-app', {count}, 3)]"
    assert kernel.value(cells.format("[from_cell]")) == f"[('cell-of-task', {task.reply['execution_count']}, 1)]"
    assert f"[{count}]" in kernel.good("%tasks located").text()


def test_blocks_shows_workers(kernel: Kernel) -> None:
    """``%blocks`` shows the pool's block and its two workers."""
    text = kernel.good("%blocks").text()
    assert "2 workers" in text
    assert "LocalProvider" in text


def test_wait_waits_for_names_and_gives_up_in_time(kernel: Kernel) -> None:
    """``%wait`` of a name returns when that one is over; ``--timeout`` says how many are left."""
    kernel.good("%%task\nimport time\ntime.sleep(1.2)\nslow = 1")
    kernel.good("%%task\nquick = 1")
    assert "all finished" in kernel.good("%wait quick").values()[0]
    assert kernel.value("slow.done()") == "False"
    assert "still waiting" in kernel.good("%wait slow --timeout 0.1").values()[0]
    kernel.good("%wait slow, quick")
    assert kernel.value("slow.done()") == "True"


def test_wait_says_what_failed(kernel: Kernel) -> None:
    """Waiting for a task that fails is no error, and is said."""
    kernel.good("%%task\nno = int('x')")
    assert "1 of 1 have no value" in kernel.good("%wait no").text("stderr")


def test_an_interrupt_stops_the_waiting_only(kernel: Kernel) -> None:
    """The task goes on when ``%wait`` is interrupted."""
    kernel.good("%%task\nimport time\ntime.sleep(2)\npatient = 1")
    cell = kernel.start("%wait patient")
    kernel.until(lambda: cell.values())
    kernel.manager.interrupt_kernel()
    kernel.until(lambda: cell.reply is not None and cell.idle)
    assert "stopped waiting" in cell.errors[0]
    assert kernel.value("patient.result()") == "1"


def test_one_task_is_told_in_full(kernel: Kernel) -> None:
    """``%task`` has its attempts and prints, ``%whence`` its inputs, ``%output`` its text; by number or by name."""
    kernel.good("%%task --name base_of_told\nbase_told = 3\nprint('from the base')")
    kernel.good("%%task --name told --retries 1 --walltime 60\ntold = base_told + 1")
    ended(kernel)
    told = kernel.good("%task told").text()
    assert "told (task" in told
    assert "inputs     base_of_told (task" in told
    assert "attempt 1 on" in told
    assert "from the base" in kernel.good("%task base_told").text()
    assert kernel.good("%output base_told").text() == "from the base\n"
    first, second = kernel.good("%whence told").text().splitlines()
    assert first.startswith("told (task")
    assert second.startswith("  base_of_told (task")
    number = kernel.value("told.tid")
    assert kernel.good(f"%task {number}").text() == told
    assert "there is no variable 'nobody'" in kernel.run("%task nobody").errors[0]
    assert "there is no task 999999" in kernel.run("%whence 999999").errors[0]


def test_a_running_cell_is_cancelled(kernel: Kernel) -> None:
    """It is interrupted, and what waits for it is skipped."""
    kernel.good("%%task\nimport time\ntime.sleep(60)\nnever = 1")
    kernel.good("%%task\nafter_never = never + 1")
    kernel.until(lambda: kernel.value("never.running()") == "True")
    assert "cancelled 1 task" in kernel.good("%cancel never").text()
    ended(kernel)
    assert kernel.value("(never.cancelled(), after_never.task_status())") == "(True, 'skipped')"
    assert "1 had ended" in kernel.good("%cancel never").text()


def test_completion_of_wait_knows_the_futures(kernel: Kernel) -> None:
    """After ``%wait`` the names of futures are offered."""
    kernel.good("%%task\nfuture_of_wait = 1")
    offered = kernel.value("get_ipython().complete('fut', '%wait fut')[1]")
    assert "future_of_wait" in offered


def test_futures_look_like_something(kernel: Kernel) -> None:
    """A future as the value of a cell says what it is and how it is."""
    kernel.good("%%task --name looks\nlook = 1")
    ended(kernel)
    cell = kernel.good("look")
    assert "look of looks (task" in cell.values()[0]
    assert "done" in cell.values("text/html")[0]


def test_help_tells_the_options(kernel: Kernel) -> None:
    """``%%task?`` shows the options."""
    reply = kernel.run("%%task?").reply
    shown = reply["payload"][0]["data"]["text/plain"]
    assert "--executor LABEL" in shown


def test_the_extension_can_be_loaded_again(kernel: Kernel) -> None:
    """``%reload_ext`` leaves everything as it was, once."""
    kernel.good("%reload_ext shoal_kernel")
    cell = kernel.good("%%task\nprint('still here')")
    ended(kernel)
    assert cell.text() == "still here\n"


def test_apps_in_a_task_cell_give_their_values(kernel: Kernel) -> None:
    """Futures of apps that are called inside a task cell come back as values; a failed one fails the cell."""
    kernel.good("@python_app\ndef score(c):\n    return 10 // c")
    kernel.good("%%task\nscores = {c: score(c) for c in (1, 2)}")
    assert kernel.value("scores.result()") == "{1: 10, 2: 5}"
    cell = kernel.good("%%task\nnothing = [score(0)]")
    ended(kernel)
    assert "ZeroDivisionError" in cell.errors[0]


def test_an_unknown_executor_names_the_option(kernel: Kernel) -> None:
    """What the line of the cell says wrong is named as it stands there."""
    cell = kernel.run("%%task --executor nowhere\nx = 1")
    assert "--executor = 'nowhere': this session has: pool" in cell.errors[0]


def test_files_of_with_stay_silently(kernel: Kernel) -> None:
    """A file that ``with`` opens does not travel, which is no news; the name is gone."""
    cell = kernel.good("%%task\nimport os\nwith open(os.devnull) as fh: empty = fh.read()")
    ended(kernel)
    assert cell.text("stderr") == ""
    assert kernel.value("(empty.result(), 'fh' in globals())") == "('', False)"


def test_a_generator_moves_on(kernel: Kernel) -> None:
    """Two task cells that draw from one generator draw other numbers."""
    kernel.good("import random\nrng = random.Random(3)\nwanted = random.Random(3)")
    kernel.good("%%task\none = rng.random()")
    kernel.good("%%task\ntwo = rng.random()")
    assert kernel.value("[one.result(), two.result()] == [wanted.random(), wanted.random()]") == "True"


@pytest.mark.parametrize("given", ["-1", "nan"])
def test_wait_refuses_times_that_are_none(kernel: Kernel, given: str) -> None:
    """A time below zero, and one that is no number, cannot be waited."""
    assert "that is no number of seconds" in kernel.run(f"%wait --timeout {given}").errors[0]
