"""``%%parallel`` in a real kernel: values, isolation, failures, running again, and what bad input gets."""

from __future__ import annotations

from typing import Any

import pytest

# the tests of this folder find their fixtures' types in conftest
Kernel = Any


def ended(kernel: Kernel) -> None:
    """Wait for all tasks; their output has arrived then."""
    kernel.good("%wait --timeout 50")


# --------------------------------------------------------------------------- values


def test_the_results_are_one_future_of_a_list(kernel: Kernel) -> None:
    """The cell returns at once; the list has the last line's values in the order of the elements."""
    kernel.good("import time\nfactor = 10\ndef times(v):\n    return v * factor")
    cell = kernel.good("%%parallel for x in range(3) for y in 'ab' if x != 1 -> out\ntime.sleep(0.2)\n(times(x), y)")
    assert kernel.value("(type(out).__name__, out.done())") == "('TaskFuture', False)"
    assert kernel.value("out.result()") == "[(0, 'a'), (0, 'b'), (20, 'a'), (20, 'b')]"
    ended(kernel)
    assert "4 of 4 done" in cell.values()[-1]


def test_elements_run_side_by_side(kernel: Kernel) -> None:
    """Two workers take two elements at a time."""
    kernel.good(
        "%%parallel for x in range(4) -> spans\nimport time\nbegan = time.time()\ntime.sleep(0.3)\n(began, time.time())"
    )
    assert kernel.value("any(b[0] < a[1] for a, b in zip(spans.result(), spans.result()[1:]))") == "True"


def test_what_elements_write_stays_with_them(kernel: Kernel) -> None:
    """Names that the cell binds are not in the notebook; changes of its objects stay in each element, and that is said."""
    kernel.good("acc, total = [], 0")
    for chunks in ("1", "3"):
        cell = kernel.good(
            f"%%parallel for x in range(3) -> own --chunksize {chunks}\nacc.append(x)\ntotal += x\ntry:\n    left\nexcept NameError:\n"
            "    left = x\n(acc, total, left)"
        )
        assert kernel.value("own.result()") == "[([0], 0, 0), ([1], 1, 1), ([2], 2, 2)]"
        assert "the cell changes acc, total" in cell.text("stderr")
    assert kernel.value("(acc, total, 'left' in globals(), 'x' in globals())") == "([], 0, False, False)"


def test_shared_generators_are_said(kernel: Kernel) -> None:
    """All elements draw the same numbers from a captured generator."""
    kernel.good("import random\nrng = random.Random(1)\n0")
    cell = kernel.good("%%parallel for x in range(2) -> draws\nrng.random()")
    assert "a copy of rng as it is now" in cell.text("stderr")
    assert kernel.value("len(set(draws.result()))") == "1"


def test_futures_are_waited_for(kernel: Kernel) -> None:
    """Among the elements, and among what the cell reads; the results go into other cells as they are."""
    kernel.good("%%task\nimport time\ntime.sleep(0.3)\nbase, one = 100, 1")
    kernel.good("%%parallel for x in [one, 2] -> shifted\nbase + x")
    kernel.good("%%task\nsum_of_shifted = sum(shifted)")
    assert kernel.value("sum_of_shifted.result()") == "203"


def test_many_elements_share_tasks(kernel: Kernel) -> None:
    """An element that fails in such a task fails alone."""
    kernel.good("%%parallel for x in range(12_000) -> many\nif x == 7_001:\n    raise ValueError('seven')\nx")
    ended(kernel)
    assert kernel.value("(len(many.exception().flaws), many.exception().futures[7_000].result())") == "(1, 7000)"
    assert kernel.value("many.exception().flaws[0][1:4]") == "('x=7001', 'ValueError: seven', 3)"


def test_much_data_is_not_unpickled_for_each_element(kernel: Kernel) -> None:
    """Many elements that read much data share tasks, and yet each has its own copy of what it changes."""
    kernel.good("much, own, before = list(range(200_000)), [0], len(session.view())")
    kernel.good("%%parallel for x in range(400) -> heads\nown.append(x)\n(sum(much[:5]), len(own))")
    assert kernel.value("set(heads.result())") == "{(10, 2)}"
    assert kernel.value("len(session.view()) - before < 100") == "True"


def test_top_level_await_and_functions_as_values(kernel: Kernel) -> None:
    """An element may await; a function that it returns still has its names."""
    kernel.good(
        "%%parallel for x in range(3) -> fs\nimport asyncio\nawait asyncio.sleep(0.01)\ndef f():\n    return x\nf"
    )
    assert kernel.value("[f() for f in fs.result()]") == "[0, 1, 2]"


# --------------------------------------------------------------------------- failures, and running again

FRAGILE = (
    "%%parallel for x in range(6) -> frag\nprint('ran', x)\nif x in broken:\n    raise ValueError(f'bad {x}')\nx * x"
)


def test_failures_are_collected_and_only_they_run_again(kernel: Kernel) -> None:
    """The others go on; the error counts and names; a second run runs what failed, a third nothing, ``--fresh`` all."""
    kernel.good(
        "class Broken:\n    def __contains__(self, x):\n        import os\n        return os.path.exists(f'broken-{x}')"
    )
    kernel.good("broken = Broken()\nfrom pathlib import Path\n[Path(f'broken-{x}').touch() for x in (1, 4)]")
    cell = kernel.good(FRAGILE)
    ended(kernel)
    assert "2 of 6 elements failed" in cell.errors[0]
    assert "x=1: ValueError: bad 1 (line 4)" in cell.errors[0]
    assert "Cell In[" in cell.errors[0]
    assert "4 of 6 done, 2 failed" in cell.values()[-1]
    kernel.good("[Path(f'broken-{x}').unlink() for x in (1, 4)]")
    again = kernel.good(FRAGILE)
    ended(kernel)
    assert sorted(again.text().splitlines()) == ["[x=1] ran 1", "[x=4] ran 4"]
    assert "(4 kept from the last run)" in again.values()[-1]
    assert kernel.value("frag.result()") == "[0, 1, 4, 9, 16, 25]"
    third = kernel.good(FRAGILE)
    fresh = kernel.good(FRAGILE.replace("frag", "frag --fresh"))
    ended(kernel)
    assert (third.text(), len(fresh.text().splitlines())) == ("", 6)


def test_changed_elements_and_changed_data_run_again(kernel: Kernel) -> None:
    """A new element runs alone; changed data, in place too, runs all; a comment runs nothing."""
    code = "%%parallel for x in xs -> grown\n{}print('ran', x)\nx + data[0]"
    kernel.good("xs, data = [1, 2], [10]")
    printed = []
    for change, comment in [("0", ""), ("xs.append(3)", ""), ("0", "# why\n"), ("data[0] = 20", "")]:
        kernel.good(change)
        cell = kernel.good(code.format(comment))
        ended(kernel)
        printed.append(len(cell.text().splitlines()))
    assert printed == [2, 1, 0, 3]
    assert kernel.value("grown.result()") == "[21, 22, 23]"


def test_cancelling_the_results_cancels_the_elements(kernel: Kernel) -> None:
    """By name; what waits and what runs."""
    cell = kernel.good("%%parallel for x in range(5) -> gone\nimport time\ntime.sleep(30)")
    kernel.good("%cancel gone")
    ended(kernel)
    assert kernel.value("(gone.cancelled(), session.pending())") == "(True, 0)"
    assert "cancelled" in cell.values()[-1]


def test_a_program_that_runs_the_notebook_gets_it_all(kernel: Kernel) -> None:
    """A client that takes output only while a cell runs has the lines and the error, in the cell's own displays."""
    cell = kernel.run("%%parallel for x in range(2) -> late\nprint('line', x)\n1 / x", cell_id=None)
    kernel.run("%wait", cell_id=None)
    shown = "\n".join(cell.values())
    assert "[x=1] line 1" in shown
    assert "1 of 2 elements failed" in shown


# --------------------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("for x in range(3)\nx", "no '-> NAME'"),
        ("for x in range(3) -> r --chunks 2\nx", "write --chunksize"),
        ("for x in 5 -> r\nx", "'5' is an int, which has no elements"),
        ("for x in a_future -> r\nx", "write a_future.result()"),
        ("for x in nowhere -> r\nx", "'nowhere' in the line of the cell is not defined"),
        ("for x in [1, a_lock, 3] -> r\nx", "element 1 (a lock) cannot be sent"),
        ("for i, x in enumerate([1, a_lock]) -> r --chunksize 2\nx", "element 1 (a lock) cannot be sent"),
        ("for x in [1] -> r\na_lock", "variable 'a_lock' (a lock) cannot be sent"),
        ("for x in [1] -> r\nx +", "line 2 is not Python"),
        ("for x in [1] -> r\n%time x", "line 2 has a magic"),
        ("for x in [1] -> r\nreturn x", "the value of the last line is that of the element"),
        ("for x in [1] -> r\nunknown_name", "'unknown_name', which line 2 reads, is not defined here"),
        ("for x in [1] -> r --executor gpu\nx", "%%parallel --executor = 'gpu'"),
        ("for x in [1] -> r --cores 99\nx", "has them"),
    ],
)
def test_bad_input_is_one_sentence(kernel: Kernel, code: str, said: str) -> None:
    """What is wrong and what to write; nothing is bound, nothing is left running, the kernel goes on."""
    kernel.good("import threading\na_lock = threading.Lock()\na_future = python_app(int)()")
    cell = kernel.run(f"%%parallel {code}")
    assert cell.reply["status"] == "error"
    assert said in cell.errors[0]
    assert "Traceback" not in cell.errors[0]
    ended(kernel)
    assert kernel.value("('r' in globals(), session.pending())") == "(False, 0)"


def test_no_elements_and_no_value_are_said(kernel: Kernel) -> None:
    """An empty list for none; None for each where the last line is no value."""
    cell = kernel.good("%%parallel for x in [] -> nothing\nx")
    assert "there are no elements" in cell.text("stderr")
    assert kernel.value("nothing.result()") == "[]"
    cell = kernel.good("%%parallel for x in [1, 2] -> nones\ny = x")
    assert "holds None for each element" in cell.text("stderr")
    assert kernel.value("nones.result()") == "[None, None]"
