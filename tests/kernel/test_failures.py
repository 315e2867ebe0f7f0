"""Failed tasks, as people meet them: what stands below the cell, and ``%retry --here`` with ``%debug`` for each kind of cell."""

from __future__ import annotations

import re
from typing import Any

# the tests of this folder find their fixtures' types in conftest
Kernel = Any


def plain(cell: Any) -> str:
    """The error of a cell, without colours."""
    return re.sub(r"\x1b\[[0-9;]*m", "", cell.errors[0])


def debug(kernel: Kernel, *commands: str) -> str:
    """What ``%debug`` prints to someone who types these commands, and then leaves."""
    cell = kernel.start("%debug")
    words = iter(commands)

    def over() -> bool:
        if kernel.client.stdin_channel.msg_ready():
            kernel.client.get_stdin_msg(timeout=0)
            kernel.client.input(next(words, "q"))
        return bool(cell.idle and cell.reply)

    kernel.until(over)
    return re.sub(r"\x1b\[[0-9;]*m", "", cell.text())


def test_what_a_failed_cell_read_stands_below_it(kernel: Kernel) -> None:
    """Short forms of its values, where it ran, and what to do; several attempts are told one by one."""
    kernel.good("low, many = 0, ['a long text'] * 1000")
    cell = kernel.good("%%task --retries 1\nquotient = len(many) // low")
    kernel.good("%wait")
    _, _, advice = plain(cell).partition("\n\n")
    assert "It read low = 0, many = ['a long text', " in advice
    assert len(advice) < 600
    assert "It failed 2 times:\n  attempt 1 on " in advice
    assert re.search(r"%retry \d+ --here runs it in the kernel, for %debug", advice)


def test_debug_lands_in_the_failing_line_with_its_values(kernel: Kernel) -> None:
    """The values are the task's, those of the function's frame and, one up, those of the cell."""
    kernel.good("def part_of(whole):\n    share = whole - 3\n    return 1 / share\npieces = [1, 2, 3]")
    kernel.good("%%task\nparts = [part_of(piece) for piece in pieces]")
    kernel.good("%wait")
    kernel.good("pieces = None")
    kernel.run("%retry parts --here")
    told = debug(kernel, "p ('frame', share, whole)", "u", "p ('up', pieces)")
    assert "return 1 / share" in told
    assert "('frame', 0, 3)" in told
    assert "('up', [1, 2, 3])" in told
    kernel.good("def part_of(whole):\n    return whole")
    assert kernel.good("%retry parts --here").errors == []
    assert kernel.value("parts") == "[1, 2, 3]"


def test_a_cell_that_awaits_runs_here_too(kernel: Kernel) -> None:
    """Its coroutine runs to its end; the failing frame is that of the notebook, with its values; what it prints is shown."""
    kernel.good("given_5 = 0")
    cell = kernel.good(
        "%%task\nimport asyncio\nasync def invert(v):\n    await asyncio.sleep(0)\n    print('inverts', v)\n    return 1 / v\n"
        "turned = await invert(given_5)"
    )
    kernel.good("%wait")
    assert "asyncio" not in plain(cell)
    again = kernel.run("%retry turned --here")
    assert "return 1 / v" in plain(again)
    assert "asyncio/" not in plain(again)
    assert again.text() == "inverts 0\n"
    assert "('frame', 0)" in debug(kernel, "p ('frame', v)")


def test_an_element_runs_here_too(kernel: Kernel) -> None:
    """By its own number, or the name of the results: then it is the first that failed."""
    kernel.good("offset = 2")
    cell = kernel.good("%%parallel for n in range(5) for m in (1,) -> inverse\nbase = n - offset\n6 / (base * m)")
    kernel.good("%wait")
    assert "It read offset = 2, n = 2, m = 1." in plain(cell)
    kernel.good("%%parallel for n in range(5) -> inverse --chunksize 5\nbase = n - offset\n6 / base")
    kernel.good("%wait")
    assert "6 / base" in plain(kernel.run("%retry inverse --here"))
    assert kernel.value("(n, base)") == "(2, 0)"
    assert kernel.good("%task inverse").text().rstrip().endswith("read       offset = 2, n = 2")


def test_a_script_runs_here_too(kernel: Kernel) -> None:
    """With the values that it had; its exit code is told."""
    kernel.good('word = "it\'s"')
    kernel.good("%%bash_task -o told\necho {word}\nexit 3")
    kernel.good("%wait")
    kernel.good("word = 'new'")
    cell = kernel.good("%retry told --here")
    assert cell.text() == "it's\n"
    assert "exit code 3" in cell.text("stderr")


def test_the_call_of_an_app_does_not_run_here(kernel: Kernel) -> None:
    """Its arguments are not kept, which is said with what to do."""
    kernel.good("@python_app\ndef third(v):\n    return 3 / v\nmissed = third(0)")
    kernel.good("%wait")
    assert "call third.__wrapped__(...) here" in plain(kernel.run("%retry missed --here"))


def test_a_cell_that_was_skipped_does_not_run_here(kernel: Kernel) -> None:
    """It had no inputs; one sentence says so."""
    kernel.good("%%task --name early\nneeded = int('no')")
    kernel.good("%%task\nlater = needed + 1")
    kernel.good("%wait")
    refused = plain(kernel.run("%retry later --here"))
    assert "of cells that failed themselves" in refused
    assert refused.count("\n") == 0


def test_tasks_of_a_session_that_was_replaced_are_not_taken_for_others(kernel: Kernel, tmp_path: Any) -> None:
    """Their numbers are those of other tasks by now: each magic says so in a sentence; what waited for them ends."""
    kernel.good("%%task\nimport time\ntime.sleep(60)\nold_1 = 1")
    kernel.good("%%task\nold_2 = old_1 + 1")
    kernel.good(
        f"was, session = session, shoal.load(Config(run_dir={str(tmp_path)!r}, executors=[HighThroughputExecutor("
        "label='pool', max_workers_per_node=2, provider=LocalProvider(init_blocks=1, max_blocks=1))]))"
    )
    kernel.good("%%task\nyoung = 1")
    assert kernel.value("type(old_2.exception(timeout=30)).__name__") == "'SessionReplaced'"
    for magic in ("%task", "%whence", "%output", "%cancel", "%retry"):
        (text,) = kernel.run(f"{magic} old_1").errors
        assert re.search(r"'old_1' is of old_1 of cell \d+ \(task \d+\) of another session", text), text
        assert "Traceback" not in text
    assert kernel.value("young.result()") == "1"
    plain_cell = kernel.run("old_1 + 1")
    assert "another shoal.load() ended the session" in plain(plain_cell)


def test_asking_for_a_result_shows_the_users_own_lines_only(kernel: Kernel) -> None:
    """Those of the task that failed first, those that asked, and the sentence; nothing of Shoal's inside."""
    kernel.good("%%task\nroot_1 = 1 / 0")
    kernel.good("%%task\nleaf_1 = root_1 + 1")
    cell = kernel.run("def asks():\n    return leaf_1.result()\nasks()")
    text = plain(cell)
    assert "    root_1 = 1 / 0" in text
    assert "ZeroDivisionError: division by zero" in text
    assert (
        f"Cell In[{cell.reply['execution_count']}], line 2\n    return leaf_1.result()\nDependencyError: leaf_1 of cell"
        in text
    )
    assert "/shoal/" not in text
    kernel.good("try:\n    leaf_1.result()\nexcept shoal.errors.DependencyError as error:\n    caught = error")
    assert kernel.value("type(caught.__cause__).__name__") == "'ZeroDivisionError'"


def test_what_was_cancelled_says_so_in_two_lines(kernel: Kernel) -> None:
    """``x.result()`` of a cancelled task shows the line that asked, and none of Shoal's own."""
    kernel.good("%%task\nwhile True: time.sleep(0.05)\nnot_made = 1")
    kernel.good("%cancel not_made")
    cell = kernel.run("not_made.result()")
    assert "not_made.result()" in cell.errors[0]
    assert "it was cancelled" in cell.errors[0]
    assert "value.py" not in cell.errors[0]


def test_nobody_is_told_to_run_in_the_kernel_what_ended_its_process(kernel: Kernel) -> None:
    """It would end the kernel, with all variables; the cell's line offers no debugging either."""
    cell = kernel.good("%%task\nimport os\nos._exit(3)")
    kernel.until(lambda: cell.errors)
    assert "WorkerLost" in plain(cell)
    assert "--here" not in plain(cell)
    lines = [message["content"]["data"] for message in cell.messages if "data" in message["content"]]
    assert not any(line.get("application/vnd.shoal.task+json", {}).get("flaw", {}).get("here") for line in lines)
