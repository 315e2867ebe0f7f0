"""``%%bash_task``, ``%%localtask``, and the magics around pools, in a real kernel."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

# the tests of this folder find their fixtures' types in conftest
Kernel = Any


def ended(kernel: Kernel) -> None:
    """Wait for all tasks; their output has arrived then."""
    kernel.good("%wait --timeout 50")


# --------------------------------------------------------------------------- scripts


def test_a_script_takes_variables_and_futures(kernel: Kernel) -> None:
    """Each value is one word for the shell, a list is several; what the script prints appears below its cell."""
    kernel.good("nasty, names = \"a  b'; $(false)\", ['p 1', 'q']")
    kernel.good("%%task\nimport time\ntime.sleep(0.3)\nlate = 'it is late'")
    cell = kernel.good("%%bash_task -o code\nprintf '<%s>' {nasty} {names} {late}\necho {{x}} ${SHELL:+yes} >&2")
    other = kernel.good("1 + 1")
    ended(kernel)
    assert cell.text() == "<a  b'; $(false)><p 1><q><it is late>"
    assert cell.text("stderr") == "{x} yes\n"
    assert other.text() == ""
    assert kernel.value("code.result()") == "0"


def test_a_script_that_fails_is_a_failed_task(kernel: Kernel) -> None:
    """The exit code, and the end of what it wrote to stderr."""
    cell = kernel.good("%%bash_task -o failing\necho going down >&2\nexit 3")
    ended(kernel)
    assert "failed with exit code 3" in cell.errors[0]
    assert "going down" in cell.errors[0]
    assert kernel.value("failing.exception().exitcode") == "3"


def test_files_lead_from_script_to_script(kernel: Kernel) -> None:
    """``--out`` promises files, in the notebook's folder; ``--in`` waits for who makes them; one that is missing is a failure."""
    kernel.good("%cd -q .\nimport os\nos.makedirs('sub', exist_ok=True)\nos.chdir('sub')")
    try:
        kernel.good("%%bash_task -o maker --out one.txt\nsleep 0.4\necho made > one.txt")
        reader = kernel.good("%%bash_task --in one.txt\ncat one.txt")
        named = kernel.good("%%bash_task --in maker\ncat one.txt")
        missing = kernel.good("%%bash_task --out never.txt\ntrue")
        ended(kernel)
        assert (reader.text(), named.text()) == ("made\n", "made\n")
        assert "without making its output" in missing.errors[0]
        assert kernel.value("maker.outputs[0].result().filename") == "'one.txt'"
    finally:
        kernel.good("os.chdir('..')")


def test_files_of_scripts_can_have_variables_in_their_names(kernel: Kernel, tmp_path: Path) -> None:
    """They are filled in as the cell is started; what is no part of a name is refused."""
    kernel.good(f"sample, folder = 'A7', {str(tmp_path)!r}")
    kernel.good("%%bash_task -o named --out {folder}/{sample}.txt\necho {sample} > {folder}/{sample}.txt")
    assert kernel.value("named.outputs[0].result().filename") == "'A7.txt'"
    kernel.good("%%bash_task -o reader --in {folder}/{sample}.txt\ncat {folder}/{sample}.txt")
    assert kernel.value("reader.result()") == "0"
    assert "'named' is no part of a file's name" in kernel.run("%%bash_task --out {named}.txt\necho 1").errors[0]


def test_a_script_ends_with_its_walltime(kernel: Kernel) -> None:
    """And with it all that it started."""
    cell = kernel.good("%%bash_task --walltime 0.3\nsleep 30")
    ended(kernel)
    assert "walltime of 0.3 s" in cell.errors[0]


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("\necho {nobody}", "there is no variable 'nobody' here"),
        ("\nawk '{print $1}' f", "line 2 has '{print $1}'"),
        ("\necho {a_dict}", "'{a_dict}' is of type dict"),
        (" --in no-such-file\ntrue", "there is no such file"),
        (" --outs x\ntrue", "write --out"),
        (" --executor gpu\ntrue", "%%bash_task --executor = 'gpu'"),
    ],
)
def test_bad_scripts_are_one_sentence(kernel: Kernel, code: str, said: str) -> None:
    """Before anything runs."""
    kernel.good("a_dict = {}")
    before = kernel.value("len(session.view())")
    cell = kernel.run(f"%%bash_task{code}")
    assert cell.reply["status"] == "error"
    assert said in cell.errors[0]
    assert "Traceback" not in cell.errors[0]
    assert kernel.value("len(session.view())") == before


# --------------------------------------------------------------------------- threads


def test_a_local_task_shares_the_notebooks_objects(kernel: Kernel) -> None:
    """What cannot travel is used as it is; results are the very objects; the cell returns at once, its output is its own."""
    kernel.good("import threading, time\nlock, shared = threading.Lock(), []")
    cell = kernel.good(
        "%%localtask -o mine,apps\ntime.sleep(0.3)\nwith lock:\n    shared.append(1)\nmine = lock\napps = [python_app(abs)(-3)]\n"
        "print('on a thread')\nlen(shared)"
    )
    assert kernel.value("mine.done()") == "False"
    assert kernel.value("(mine.result() is lock, apps.result(), shared)") == "(True, [3], [1])"
    ended(kernel)
    assert cell.text() == "on a thread\n"
    assert cell.values()[-1] == "1"


def test_a_local_task_that_fails_or_asks_too_much(kernel: Kernel) -> None:
    """The traceback names the line; needs of workers are refused in a sentence."""
    cell = kernel.good("%%localtask\nv = 1\nv / 0")
    ended(kernel)
    assert "line 3" in cell.errors[0]
    refused = kernel.run("%%localtask --memory '4 GB'\n1")
    assert "%%localtask --memory: the threads of the kernel" in refused.errors[0]


# --------------------------------------------------------------------------- line magics


def test_pools_and_status_are_text(kernel: Kernel) -> None:
    """The session's own pool is in the list; the status has version, session, folder, executors, settings."""
    pools = kernel.good("%pools").text()
    assert "embedded" in pools
    assert "up for" in pools
    status = kernel.good("%shoal").text()
    for part in (
        "session",
        "run folder",
        "executor pool",
        "2 slots",
        "kept results",
        "setting retries",
        "shoal.Config(",
    ):
        assert part in status
    assert kernel.value("session.run_id").strip("'") in status


def test_scale_says_what_is_aimed_at(kernel: Kernel) -> None:
    """The only executor with blocks is meant; its provider's limits are named."""
    assert kernel.good("%scale 1").text() == "'pool' aims at 1 block\n"
    assert "limits" in kernel.good("%scale 3 pool").text()


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("%pools all", "%pools takes nothing"),
        ("%shoal x", "%shoal takes nothing"),
        ("%use", "takes the name of one pool"),
        ("%use nowhere", "there is no pool named 'nowhere'"),
        ("%scale", "takes a number of blocks"),
        ("%scale -1", "takes a number of blocks"),
        ("%scale 1 nowhere", "there is no pool named 'nowhere'"),
        ("%retry", "needs to know which task"),
        ("%retry 999999", "there is no task 999999"),
        ("%retry nobody", "there is no variable 'nobody'"),
        ("%retry app_future", "was made by a call"),
        ("%retry fine", "is done"),
    ],
)
def test_bad_lines_are_one_sentence(kernel: Kernel, line: str, said: str) -> None:
    """And the session stays as it is."""
    kernel.good(
        "app_future, fine = python_app(int)('x'), python_app(int)('1')\n_ = app_future.exception(), fine.result()"
    )
    cell = kernel.run(line)
    assert said in cell.errors[0]
    assert "Traceback" not in cell.errors[0]
    assert kernel.value("shoal.current() is session") == "True"


def test_retry_runs_the_cell_of_a_failed_task_again(kernel: Kernel) -> None:
    """With the variables as they are now; its names are bound anew; of many elements only those that failed run."""
    kernel.good("divisor = 0")
    kernel.good("%%task\nquotient = 1 / divisor")
    kernel.good("%%parallel for x in range(3) -> quotients\nprint('ran', x)\n1 / (divisor + x)")
    ended(kernel)
    kernel.good("divisor = 4")
    kernel.good("%retry quotient")
    assert kernel.value("quotient.result()") == "0.25"
    again = kernel.good("%retry quotients")
    ended(kernel)
    assert len(again.text().splitlines()) == 3
    assert kernel.value("quotients.result()[0]") == "0.25"


def test_use_moves_the_notebook_to_a_pool_that_lasts(kernel: Kernel) -> None:
    """A session on the pool takes the place of the current one; the names of such pools are completed."""
    kernel.good(
        "from shoal.pool.control import start_pool, stop_pool\nstart_pool('lasting-one', LocalProvider(), 1)\nbefore = session"
    )
    try:
        said = kernel.good("%use lasting-one").text()
        assert "using pool 'lasting-one'" in said
        assert kernel.value("(list(shoal.current().executors), before.closed)") == "(['lasting-one'], True)"
        kernel.good("%%parallel for x in [1, 2] -> there\nx + 1")
        assert kernel.value("there.result()") == "[2, 3]"
        assert "%use lasting-one" in kernel.good("%pools").text()
        assert kernel.value("get_ipython().complete('', '%use las', 8)[1]") == "['lasting-one']"
    finally:
        kernel.good(
            "session = shoal.load(Config(run_dir='runs', executors=[HighThroughputExecutor(label='pool', max_workers_per_node=2, "
            "provider=LocalProvider(init_blocks=1, max_blocks=1))]))\nstop_pool('lasting-one')"
        )


def test_every_magic_has_help(kernel: Kernel) -> None:
    """What ``?`` shows begins with a sentence, and has the form to write."""
    names = "['parallel', 'bash_task', 'localtask', 'pools', 'use', 'scale', 'retry', 'shoal']"
    lacking = f"[n for n in {names} if '::' not in ((get_ipython().find_magic(n) or get_ipython().find_cell_magic(n)).__doc__ or '')]"
    assert kernel.value(lacking) == "[]"


def test_no_value_is_run_by_the_shell(kernel: Kernel) -> None:
    """Within quotes of both kinds, in a here-document, bare: what a variable holds is printed, and nothing of it is run."""
    kernel.good(
        "import os\nevil = ['$(touch ran)', '`touch ran`', \"'; touch ran; '\", '\"; touch ran; \"', 'A\\ntouch ran', '-n', '*', '']"
    )
    kernel.good("one = evil[0] + evil[1] + evil[2] + evil[3]")
    kernel.good(
        "%%bash_task -o wrote\nprintf '%s|' {evil} > bare.txt\nprintf '%s' \"{one}\" '{one}' > quoted.txt\n"
        "cat > here.txt <<A\n{one}\nA\nprintf '%s' \"$(printf '%s' {one})\" > inside.txt"
    )
    assert kernel.value("wrote.result()") == "0"
    assert kernel.value("open('bare.txt').read() == '|'.join([*evil, ''])") == "True"
    assert kernel.value("open('quoted.txt').read() == one + one") == "True"
    assert kernel.value("open('here.txt').read() == one + chr(10)") == "True"
    assert kernel.value("open('inside.txt').read() == one") == "True"
    assert kernel.value("os.path.exists('ran')") == "False"
