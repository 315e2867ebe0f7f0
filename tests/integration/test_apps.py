"""Apps through their decorator, on a pool."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

import shoal
from shoal.apps import bash_app, python_app
from shoal.config import new_session
from shoal.errors import AppTimeout, BadStdStreamFile, ConfigurationError, DependencyError, MissingOutputs
from shoal.files import File

SCRIPTS = {
    "lib.py": "import shoal\n@shoal.python_app\ndef inner(x): return x + 1\n",
    "main.py": (
        "import shoal, lib\n"
        "@shoal.python_app\n"
        "def outer(x): return lib.inner(x).result() * 10\n"
        "@shoal.python_app\n"
        "def factorial(n): return 1 if n < 2 else n * factorial(n - 1).result()\n"
        "@shoal.python_app\n"
        "async def double(x): return 2 * x\n"
        "print(outer(4).result(), factorial(5).result(), double(21).result())\n"
    ),
}


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[shoal.Session]:
    """One pool of two workers for all tests here."""
    shoal.clear()
    htex = shoal.HighThroughputExecutor(max_workers_per_node=2)
    yield shoal.load(shoal.Config(executors=[htex], run_dir=str(tmp_path_factory.mktemp("runs"))))
    shoal.clear()


def test_a_script_without_main_guard_uses_apps_of_a_module_beside_it(tmp_path: Path):
    """Apps called inside tasks run in place, be they of the script or of its modules; coroutines are awaited."""
    for name, text in SCRIPTS.items():
        (tmp_path / name).write_text(text)
    done = subprocess.run(
        [sys.executable, "main.py"], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stdout.split() == ["50", "120", "42"], done.stderr
    assert "no session was loaded" in done.stderr


def test_an_app_keeps_its_function_and_its_name(session: shoal.Session):
    """The plain function stays callable, and the task carries its name."""

    @python_app
    def cube(x: int) -> int:
        """Cube it."""
        return x**3

    assert cube.__wrapped__(2) == 8
    assert (cube.__name__, cube.__doc__) == ("cube", "Cube it.")
    future = cube(3)
    assert (future.result(30), future.label) == (27, "cube")


def test_a_method_can_be_an_app(session: shoal.Session):
    """The instance travels as the first argument."""

    class Scale:
        def __init__(self, by: int) -> None:
            self.by = by

        @python_app
        def apply(self, x: int) -> int:
            return self.by * x

    assert Scale(3).apply(5).result(30) == 15


def test_what_a_function_uses_travels_as_it_is_at_each_call(session: shoal.Session):
    """A rebound variable and a mutated list are seen by the next task, not by those submitted before."""
    factor, seen = 2, [1]

    @python_app
    def work() -> tuple[int, list[int]]:
        return factor, seen

    first = work()
    factor = 3
    seen.append(2)
    second = work()
    assert first.result(30) == (2, [1])
    assert second.result(30) == (3, [1, 2])


class Model:
    """An object with work in it."""

    def __init__(self, by: int) -> None:
        self.by = by

    def __call__(self, x: int) -> int:
        return self.by * x

    def plus(self, x: int) -> int:
        return self.by + x

    @staticmethod
    @python_app
    def twice(x: int) -> int:
        return 2 * x

    @classmethod
    @python_app
    def name(cls, x: int) -> str:
        return f"{cls.__name__} {x}"


def test_any_callable_can_be_an_app(session: shoal.Session):
    """Functions of libraries and of C, partials, objects, bound methods, methods of every kind, asynchronous functions."""
    import functools
    import math
    import operator

    import numpy as np

    async def later(x: int) -> int:
        import asyncio

        await asyncio.sleep(0)
        return x + 100

    model = Model(3)
    assert python_app(math.hypot)(3, 4).result(30) == 5.0
    assert python_app(operator.add)(3, 4).result(30) == 7
    assert python_app(np.linalg.svd)(np.eye(2), compute_uv=False).result(30).tolist() == [1.0, 1.0]
    assert python_app(functools.partial(pow, exp=3))(2).result(30) == 8
    assert python_app(model)(5).result(30) == 15
    assert python_app(model.plus)(5).result(30) == 8
    assert python_app(later)(1).result(30) == 101
    assert (Model.twice(4).result(30), model.twice(5).result(30)) == (8, 10)
    assert (Model.name(1).result(30), model.name(2).result(30)) == ("Model 1", "Model 2")


def test_streams_of_a_python_app_go_to_files(session: shoal.Session, tmp_path: Path):
    """All that the process prints meanwhile: Python's text, bytes on the descriptors, subprocesses. Then it is captured again."""

    @python_app
    def speak(word: str) -> str:
        print(word)
        os.system(f"echo {word} from a shell")
        os.write(2, b"on descriptor 2\n")
        print("to stderr", file=sys.stderr)
        return word

    out, err = tmp_path / "new" / "folder" / "out.txt", tmp_path / "err.txt"
    err.write_text("before\n")
    led = speak("one", stdout=out, stderr=(str(err), "w"))
    assert led.result(30) == "one"
    assert out.read_text() == led.stdout == "one\none from a shell\n"
    assert err.read_text() == led.stderr == "on descriptor 2\nto stderr\n"
    both = speak("two", stdout=out, stderr=out)
    both.result(30)
    assert out.read_text() == "one\none from a shell\ntwo\ntwo from a shell\non descriptor 2\nto stderr\n"
    for captured in [speak("three") for _ in range(4)]:
        assert captured.result(30) == "three"
        assert captured.stdout == "three\nthree from a shell\n"


def test_a_file_that_cannot_be_opened_is_an_error_of_the_task(session: shoal.Session, tmp_path: Path):
    """It says which stream, which file and why."""
    (tmp_path / "file").write_text("")
    error = python_app(len)("abc", stdout=tmp_path / "file" / "below").exception(30)
    assert isinstance(error, BadStdStreamFile)
    assert (error.stream, error.path) == ("stdout", str(tmp_path / "file" / "below"))
    error = python_app(len)("abc", stderr=(tmp_path / "file", "x")).exception(30)
    assert isinstance(error, BadStdStreamFile)
    assert "exists" in str(error)


def test_promised_files_are_looked_for(session: shoal.Session, tmp_path: Path):
    """They are inputs of other tasks; one that was not made is an error."""

    @python_app
    def write(text: str, outputs: Sequence[File] = ()) -> None:
        for file in outputs:
            Path(file).write_text(text)

    @python_app
    def read(file: File) -> str:
        return Path(file).read_text()

    made = write("hello", outputs=[tmp_path / "a", str(tmp_path / "b")])
    assert [read(file).result(30) for file in made.outputs] == ["hello", "hello"]
    assert made.outputs[1].result(30) == File(tmp_path / "b")
    missing = python_app(len)("abc", outputs=[tmp_path / "never"])
    error = missing.exception(30)
    assert isinstance(error, MissingOutputs)
    assert str(tmp_path / "never") in str(error)
    assert isinstance(missing.outputs[0].exception(30), Exception)


def test_inputs_that_a_function_does_not_take_are_waited_for(session: shoal.Session, tmp_path: Path):
    """The task starts when they are there, and fails with them."""

    @python_app
    def make(seconds: float) -> None:
        time.sleep(seconds)
        (tmp_path / "made").write_text("x")

    @python_app
    def look() -> bool:
        return (tmp_path / "made").exists()

    assert look(inputs=[make(0.2)]).result(30) is True
    assert isinstance(look(inputs=[make("no number")]).exception(30), DependencyError)


def test_a_call_has_resources_and_a_name_of_its_own(session: shoal.Session):
    """They are asked for; what no executor has is refused at once."""

    @python_app(label="usual")
    def work() -> int:
        return 1

    assert (work().label, work(label="special", cores=2, priority=3).label) == ("usual", "special")
    assert work(cores=2, memory="1 MB").result(30) == 1
    with pytest.raises(ConfigurationError, match="gpus"):
        work(gpus=4096)


def test_a_walltime_ends_a_python_task(session: shoal.Session):
    """Also in a C call."""

    @python_app(walltime=0.3)
    def wait() -> None:
        time.sleep(60)

    began = time.monotonic()
    assert isinstance(wait().exception(30), AppTimeout)
    assert time.monotonic() - began < 20


def test_an_edited_function_is_seen_behind_special_keywords(session: shoal.Session, tmp_path: Path):
    """The worker's half is followed to the user's function, and to what that captures."""
    factor = 2

    def helper(x: int) -> int:
        return factor * x

    @python_app
    def work(x: int) -> int:
        print("called")
        return helper(x)

    log = tmp_path / "log"
    assert work(3, stdout=log).result(30) == 6
    factor = 5
    assert work(3, stdout=log).result(30) == 15
    image = work._worker_image
    assert image.snapshot() is image.snapshot()


def test_apps_inside_a_task_take_special_keywords(session: shoal.Session, tmp_path: Path):
    """They run in place, with files for their streams, promised files and futures of these."""

    @bash_app
    def echo(word: str, outputs: Sequence[File] = ()) -> str:
        return f"echo {word} > {outputs[0]}; echo done {word}"

    @python_app
    def count(file: File) -> int:
        print("counting")
        return len(Path(file).read_text())

    @python_app
    def outer() -> tuple[int, list[int], str]:
        made = echo("hello", outputs=[tmp_path / "inner"], stdout=tmp_path / "log", label="here", cores=2)
        counted = count(made.outputs[0], stdout=tmp_path / "log")
        failed = echo("x", outputs=[tmp_path / "no" / "folder"])
        return (
            counted.result(),
            [f.result() for f in count.map([tmp_path / "inner"] * 2)],
            type(failed.exception()).__name__,
        )

    task = outer()
    assert task.result(30) == (6, [6, 6], "MissingOutputs")
    assert (tmp_path / "log").read_text() == "done hello\ncounting\n"
    assert task.stdout == "done x\ncounting\ncounting\n"


def test_the_plain_function_of_an_app_is_there_inside_a_task(session: shoal.Session):
    """`app.__wrapped__` means the same everywhere."""

    @python_app
    def inner(x: int) -> int:
        return x + 1

    @bash_app
    def command(x: int) -> str:
        return f"exit {x}"

    @python_app
    def outer() -> tuple[int, str]:
        return inner.__wrapped__(1), command.__wrapped__(2)

    assert outer().result(30) == (2, "exit 2")


def test_an_app_can_be_bound_to_a_session(session: shoal.Session, tmp_path: Path):
    """Its tasks go there, whichever is the current one."""
    other = new_session(shoal.Config(executors=[shoal.ThreadPoolExecutor()], run_dir=str(tmp_path)))
    try:
        here = python_app(os.getpid, session=other)
        there = python_app(os.getpid, data_flow_kernel=session)
        assert (here().result(30), there().result(30) != os.getpid()) == (os.getpid(), True)
    finally:
        other.close()


def test_a_python_app_on_threads_cannot_lead_its_streams_away(tmp_path: Path):
    """They are those of the whole process; the error says what to do."""
    config = shoal.Config(executors=[shoal.ThreadPoolExecutor()], run_dir=str(tmp_path))
    with new_session(config) as other:
        error = python_app(len, session=other)("abc", stdout=tmp_path / "log").exception(30)
    assert isinstance(error, BadStdStreamFile)
    assert "HighThroughputExecutor" in str(error)


@pytest.mark.parametrize("threads", [False, True])
def test_futures_inside_a_task_are_futures(session: shoal.Session, tmp_path: Path, threads: bool):
    """They are lifted as elsewhere, and what the task returns has values in their places, wherever it runs."""

    @python_app
    def table(x: int) -> dict[str, complex]:
        return {"x": complex(x)}

    @python_app
    def outer() -> list[object]:
        future = table(3)
        item = future["x"]
        missing = future["y"]
        assert (future.task_status(), missing.task_status()) == ("done", "failed")
        with pytest.raises(TypeError, match="not a sequence"):
            list(future)
        return [item, shoal.attr(item, "real"), {"all": future}, type(missing.exception()).__name__]

    expected = [3 + 0j, 3.0, {"all": {"x": 3 + 0j}}, "KeyError"]
    if threads:
        config = shoal.Config(executors=[shoal.ThreadPoolExecutor()], run_dir=str(tmp_path))
        with new_session(config):
            assert outer().result(30) == expected
    else:
        assert outer().result(30) == expected


def test_asynchronous_apps_inside_each_other_need_one_thread(tmp_path: Path):
    """What they call runs in place, too, and does not wait for a thread that they hold."""

    @python_app
    def leaf(x: int) -> int:
        return x + 1

    @python_app
    async def middle(x: int) -> int:
        return leaf(x).result()

    @python_app
    async def outer(x: int) -> list[int]:
        return [middle(x).result(), middle(x, inputs=[1]).result()]

    config = shoal.Config(executors=[shoal.ThreadPoolExecutor(max_threads=1)], run_dir=str(tmp_path))
    with new_session(config) as other:
        assert outer(1).result(20) == [2, 2]
        assert len(other.view()) == 1
