"""Bash apps on a pool: commands, their files, and their end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import psutil
import pytest

import shoal
from shoal.apps import AUTO_LOGNAME, bash_app, python_app
from shoal.config import new_session
from shoal.errors import (
    AppBadFormatting,
    AppTimeout,
    BadStdStreamFile,
    BashAppError,
    BashExitFailure,
    MissingOutputs,
)
from shoal.files import File
from tests.integration.conftest import eventually


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[shoal.Session]:
    """One pool of two workers for all tests here."""
    shoal.clear()
    htex = shoal.HighThroughputExecutor(max_workers_per_node=2)
    yield shoal.load(shoal.Config(executors=[htex], run_dir=str(tmp_path_factory.mktemp("runs"))))
    shoal.clear()


@bash_app
def sh(command: str) -> str:
    return command


def pids_in(file: Path, count: int) -> list[int]:
    """The process ids that a command has written, once they are all there."""
    assert eventually(lambda: file.exists() and len(file.read_text().split()) == count)
    return [int(word) for word in file.read_text().split()]


def gone(pids: list[int]) -> bool:
    """Whether none of them lives after a while; who waits to be collected does not."""

    def lives(pid: int) -> bool:
        try:
            return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return False

    return eventually(lambda: not any(map(lives, pids)), 5.0)


def test_a_command_is_run_and_its_value_is_its_exit_code(session: shoal.Session):
    """What it prints is the future's text."""
    task = sh("echo out; echo err >&2; pwd")
    assert task.result(30) == 0
    assert task.stdout.startswith("out\n")
    assert task.stderr == "err\n"


@pytest.mark.parametrize(("command", "code"), [("exit 3", 3), ("kill -9 $$", -9), ("nosuchcommand", 127), ("false", 1)])
def test_another_exit_code_is_an_error(session: shoal.Session, command: str, code: int):
    """With the code, and the end of what was written to stderr."""
    error = sh(f"echo why >&2; {command}").exception(30)
    assert isinstance(error, BashExitFailure)
    assert (error.exitcode, error.app_name) == (code, "sh")
    assert error.stderr.startswith("why")
    assert "why" in str(error)


def test_the_end_of_a_stderr_file_is_in_the_error(session: shoal.Session, tmp_path: Path):
    """What this task wrote, not what was there before."""
    log = tmp_path / "err"
    log.write_text("of another task\n")
    error = sh("echo mine >&2; exit 1", stderr=log).exception(30)
    assert isinstance(error, BashExitFailure)
    assert error.stderr == "mine\n"


def test_what_is_no_command_is_an_error(session: shoal.Session):
    """The function must return a text that can be one."""
    for value, words in ((None, "not None"), (3, "not an int"), ("a\0b", "a character"), ("\ud800", "encoded")):
        error = sh(value).exception(30)
        assert isinstance(error, AppBadFormatting)
        assert words in str(error)


def test_nothing_is_filled_into_a_command(session: shoal.Session):
    """Braces are bash's own; f-strings do what Parsl's formatting did."""
    task = sh("echo {inputs[0]} {a,b}")
    task.result(30)
    assert task.stdout == "{inputs[0]} a b\n"


def test_a_command_has_no_stdin_and_the_directory_of_its_worker(session: shoal.Session):
    """It cannot wait for somebody to type."""
    task = sh("cat; echo $PWD")
    task.result(30)
    assert task.stdout.strip() == str(Path.cwd())


def test_a_command_knows_its_task(session: shoal.Session):
    """By a variable, beside the environment of its worker."""
    task = sh("echo $SHOAL_TASK $HOME")
    task.result(30)
    assert task.stdout.split() == [str(task.tid), os.environ["HOME"]]


def test_a_command_may_be_long(session: shoal.Session):
    """Longer than what the system takes as one argument."""
    task = sh("x=" + "a" * 300_000 + "; echo ${#x}; cat")
    assert task.result(30) == 0
    assert task.stdout == "300000\n"


def test_streams_go_to_files_in_modes(session: shoal.Session, tmp_path: Path):
    """They are added to by default, folders are made, and one path means one file."""
    log = tmp_path / "deep" / "er" / "log"
    for mode, text in (("", "1\n"), ("", "1\n1\n"), ("w", "1\n")):
        task = sh("echo 1", stdout=(str(log), mode) if mode else str(log))
        assert task.result(30) == 0
        assert (log.read_text(), task.stdout) == (text, text)
    task = sh("echo out; echo err >&2; echo out", stdout=(log, "w"), stderr=(log, "w"))
    task.result(30)
    assert log.read_text() == "out\nerr\nout\n"
    error = sh("true", stdout=(log, "x")).exception(30)
    assert isinstance(error, BadStdStreamFile)
    assert (error.stream, error.path) == ("stdout", str(log))


def test_a_stream_may_go_to_a_device(session: shoal.Session):
    """Which has no end that could be read."""
    task = sh("echo x; exit 3", stdout="/dev/full", stderr="/dev/zero")
    error = task.exception(30)
    assert isinstance(error, BashExitFailure)
    assert len(error.stderr) <= 4096
    assert task.stdout == task.stderr == ""


def test_shoal_chooses_names_of_logs(session: shoal.Session):
    """In the folder of the run; the path is known at once, and is in the record of nobody else."""

    @bash_app
    def speak(word: str, stdout: Any = AUTO_LOGNAME, stderr: Any = AUTO_LOGNAME) -> str:
        return f"echo {word} {stdout}; echo err {word} >&2"

    tasks = [speak(word, label="loud one") for word in ("a", "b")]
    for task, word in zip(tasks, ("a", "b"), strict=True):
        assert task.result(30) == 0
        said, path = task.stdout.split()
        assert (said, task.stderr) == (word, f"err {word}\n")
        assert Path(path).is_relative_to(session.run_dir / "tasks")
        assert "loud_one" in Path(path).name
        assert Path(path).with_suffix(".stderr").read_text() == f"err {word}\n"


def test_promised_files_are_looked_for(session: shoal.Session, tmp_path: Path):
    """Those that the command did not make are named."""
    error = sh(f"touch {tmp_path}/a", outputs=[tmp_path / "a", tmp_path / "b"]).exception(30)
    assert isinstance(error, MissingOutputs)
    assert str(tmp_path / "b") in str(error)
    assert str(tmp_path / "a") not in str(error)


def test_files_go_from_command_to_command(session: shoal.Session, tmp_path: Path):
    """A pipeline with sort and uniq: each takes what the one before has made, when it is there."""

    @bash_app
    def generate(outputs: Sequence[File] = ()) -> str:
        return f"sleep 0.2; printf '%s\\n' pear apple pear fig apple pear > {outputs[0]}"

    @bash_app
    def sort(inputs: Sequence[File] = (), outputs: Sequence[File] = ()) -> str:
        return f"sort {inputs[0]} > {outputs[0]}"

    @bash_app
    def count(inputs: Sequence[File] = (), outputs: Sequence[File] = ()) -> str:
        return f"uniq -c {inputs[0]} | sort -rn > {outputs[0]}"

    raw = generate(outputs=[tmp_path / "raw"])
    ordered = sort(inputs=[raw.outputs[0]], outputs=[tmp_path / "sorted"])
    counted = count(inputs=ordered.outputs, outputs=[tmp_path / "counted"])
    table = Path(counted.outputs[0].result(30)).read_text().split()
    assert table == ["3", "pear", "2", "apple", "1", "fig"]


def test_an_asynchronous_function_may_make_the_command(session: shoal.Session):
    """It is awaited on the worker."""

    @bash_app
    async def later() -> str:
        return "echo later"

    task = later()
    assert task.result(30) == 0
    assert task.stdout == "later\n"


def test_a_walltime_ends_the_whole_group(session: shoal.Session, tmp_path: Path):
    """First politely; whoever stays is killed a second later."""
    pids = tmp_path / "pids"
    command = (
        f"sleep 1000 & echo $! >> {pids}; (trap '' TERM; sleep 1000) & echo $! >> {pids}; "
        f"trap 'echo asked; exit' TERM; echo $$ >> {pids}; while true; do sleep 0.05; done"
    )
    task = sh(command, walltime=0.5)
    began = time.monotonic()
    error = task.exception(30)
    assert isinstance(error, AppTimeout)
    assert error.walltime == 0.5
    assert time.monotonic() - began < 10
    assert gone(pids_in(pids, 3))
    assert task.stdout == "asked\n"


def test_a_decorator_may_say_the_walltime(session: shoal.Session):
    """A call may say another; inside a task the same holds."""
    slow = bash_app(lambda seconds: f"sleep {seconds}", walltime=0.2, label="slow")
    assert isinstance(slow(30).exception(30), AppTimeout)
    assert slow(0.3, walltime=20).result(30) == 0

    @python_app
    def outer() -> tuple[str, int]:
        return type(slow(30).exception()).__name__, slow(0.3, walltime=20).result()

    assert outer().result(20) == ("AppTimeout", 0)


@pytest.mark.parametrize("walltime", [3e6, 1e300])
def test_a_walltime_may_be_long(session: shoal.Session, walltime: float):
    """Longer than the system's timers go."""
    assert sh("true", walltime=walltime).result(30) == 0


def test_a_walltime_includes_the_making_of_the_command(session: shoal.Session, tmp_path: Path):
    """The function that makes it, and the opening of files; a timer of the task's own goes on afterwards."""

    @bash_app
    def ponder() -> str:
        time.sleep(60)
        return "true"

    os.mkfifo(tmp_path / "pipe")
    began = time.monotonic()
    assert isinstance(ponder(walltime=0.3).exception(30), AppTimeout)
    assert isinstance(sh("true", stdout=tmp_path / "pipe", walltime=0.3).exception(30), AppTimeout)
    assert time.monotonic() - began < 10

    @python_app
    def timed() -> tuple[int, float]:
        former = signal.signal(signal.SIGALRM, signal.SIG_IGN)
        signal.setitimer(signal.ITIMER_REAL, 100)
        code = sh("true", walltime=5).result()
        left, _ = signal.setitimer(signal.ITIMER_REAL, 0)
        ignored = signal.signal(signal.SIGALRM, former) is signal.SIG_IGN
        return code, left * ignored

    code, left = timed().result(30)
    assert code == 0
    assert 90 < left <= 100


def test_a_cancel_ends_the_whole_group(session: shoal.Session, tmp_path: Path):
    """The worker is replaced, and others go on."""
    pids = tmp_path / "pids"
    task = sh(f"sleep 1000 & echo $! >> {pids}; echo $$ >> {pids}; sleep 1000")
    found = pids_in(pids, 2)
    assert task.cancel()
    assert gone(found)
    assert sh("true").result(30) == 0


def test_what_is_left_in_the_background_ends_with_the_command(session: shoal.Session, tmp_path: Path):
    """But for what has left the group, which somebody meant to stay."""
    pids = tmp_path / "pids"
    command = f"sleep 1000 & echo $! >> {pids}; setsid sleep 1001 < /dev/null > /dev/null 2>&1 & echo $! >> {pids}"
    task = sh(command + "; sleep 0.3")  # until setsid has done its part
    assert task.result(30) == 0
    left, stayed = pids_in(pids, 2)
    try:
        assert gone([left])
        assert psutil.Process(stayed).status() != psutil.STATUS_ZOMBIE
    finally:
        os.kill(stayed, signal.SIGKILL)


def test_the_group_ends_when_its_worker_is_killed(session: shoal.Session, tmp_path: Path):
    """Nobody is left to wait for it."""
    pids = tmp_path / "pids"

    @bash_app(retries=0)
    def doomed() -> str:
        return f"sleep 1000 & echo $! >> {pids}; echo $$ >> {pids}; echo {os.getpid()} >> {pids}; sleep 1000"

    task = doomed()
    *group, worker = pids_in(pids, 3)
    os.kill(worker, signal.SIGKILL)
    assert gone(group)
    assert type(task.exception(30)).__name__ == "WorkerLost"


SCRIPT = """
import shoal
from shoal.apps import bash_app
with shoal.new_session(shoal.Config(executors=[shoal.ThreadPoolExecutor()])):
    bash_app(lambda: "(trap '' TERM; sleep 1000) & echo $! >> pids; echo $$ >> pids; sleep 1000", label="left")()
"""


def test_groups_end_when_the_process_that_runs_them_is_killed(tmp_path: Path):
    """A watching process sees to it, wherever commands run; it ends with its work."""
    script = subprocess.Popen([sys.executable, "-c", SCRIPT], cwd=tmp_path)
    try:
        group = pids_in(tmp_path / "pids", 2)
        family = [child.pid for child in psutil.Process(script.pid).children(recursive=True)]
    finally:
        script.kill()
        script.wait(10)
    assert set(group) < set(family)
    assert gone(family)


def test_an_edited_function_is_seen(session: shoal.Session):
    """So is what it captures; nothing is sent twice while it is as it was."""
    word = "one"

    @bash_app
    def speak() -> str:
        return f"echo {word}"

    first = speak()
    first.result(30)
    word = "two"
    second = speak()
    second.result(30)
    assert (first.stdout, second.stdout) == ("one\n", "two\n")
    image = speak._worker_image
    assert image.snapshot() is image.snapshot()


def test_a_command_inside_a_task_runs_there(session: shoal.Session):
    """Its text is the task's, its walltime is kept, its error is where result() is called."""

    @python_app
    def outer() -> list[Any]:
        began = time.monotonic()
        late = sh("echo started; sleep 1000", walltime=0.3)
        failed = sh("echo why >&2; exit 4").exception()
        return [type(late.exception()).__name__, failed.exitcode, failed.stderr, time.monotonic() - began < 10]

    task = outer()
    assert task.result(30) == ["AppTimeout", 4, "why\n", True]
    assert task.stdout == "started\n"


def test_commands_on_threads_keep_their_walltime(tmp_path: Path, capfd: pytest.CaptureFixture[str]):
    """There, too, the group ends; what is printed goes where the process prints."""
    pids = tmp_path / "pids"
    config = shoal.Config(executors=[shoal.ThreadPoolExecutor()], run_dir=str(tmp_path / "runs"))
    with new_session(config):
        error = sh(f"sleep 1000 & echo $! >> {pids}; sleep 1000", walltime=0.3).exception(30)
        assert isinstance(error, AppTimeout)
        assert gone(pids_in(pids, 1))
        failed = sh("echo loud; echo why >&2; exit 1").exception(30)
    assert isinstance(failed, BashExitFailure)
    assert failed.stderr == "why\n"
    assert "loud" in capfd.readouterr().out


def test_a_missing_bash_is_named(session: shoal.Session, monkeypatch: pytest.MonkeyPatch):
    """The error says where, and what to do."""
    from shoal.node import bash

    monkeypatch.setattr(bash.os, "access", lambda path, mode: False)
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(BashAppError, match="no bash on"):
        bash.call_bash(lambda: "true", (), {})
