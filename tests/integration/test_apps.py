"""Apps through their decorator, on a pool."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import shoal
from shoal import python_app
from shoal.errors import ConfigurationError, UnknownOption

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


def test_an_unknown_option_is_refused_where_it_is_written():
    """The decorator names it, and those that exist."""
    with pytest.raises(UnknownOption, match=r"python_app\.executor"):
        python_app(executor="x")
    with pytest.raises(ConfigurationError, match="decorate a function"):
        python_app(3)


def test_a_library_function_can_be_an_app(session: shoal.Session):
    """It travels by name."""
    import math

    assert python_app(math.hypot)(3, 4).result(30) == 5.0
