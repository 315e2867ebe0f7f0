"""Many calls at once."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import shoal
from shoal.apps import bash_app, python_app
from shoal.errors import DependencyError


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[shoal.Session]:
    """One pool of two workers for all tests here."""
    shoal.clear()
    htex = shoal.HighThroughputExecutor(max_workers_per_node=2)
    yield shoal.load(shoal.Config(executors=[htex], run_dir=str(tmp_path_factory.mktemp("runs"))))
    shoal.clear()


@python_app
def divide(a: float, b: float = 2.0) -> float:
    return a / b


@pytest.mark.parametrize("chunksize", ["auto", 1, 3, 100])
def test_values_come_in_order(session: shoal.Session, chunksize: int):
    """However many calls make a task."""
    futures = divide.map(range(10), chunksize=chunksize, b=2)
    assert [future.result(30) for future in futures] == [n / 2 for n in range(10)]


def test_a_call_that_fails_fails_alone(session: shoal.Session):
    """The others of its chunk have their values."""
    futures = divide.map([1, 2, 3, 4], [1, 0, 3, 0], chunksize=4)
    assert [type(future.exception(30)).__name__ for future in futures] == [
        "NoneType",
        "ZeroDivisionError",
        "NoneType",
        "ZeroDivisionError",
    ]
    assert (futures[0].result(30), futures[2].result(30)) == (1.0, 1.0)


def test_elements_and_fixed_arguments_may_be_futures(session: shoal.Session):
    """Each chunk waits for its own."""
    inputs = [divide(n) for n in (2, 4)]
    futures = divide.map([*inputs, 8.0, 16.0], chunksize=2, b=divide(4))
    assert [future.result(30) for future in futures] == [0.5, 1.0, 4.0, 8.0]
    broken = divide.map([1.0, divide("x"), 1.0, 1.0], chunksize=2)
    assert isinstance(broken[0].exception(30), DependencyError)
    assert broken[3].result(30) == 0.5


def test_twenty_thousand_calls_make_ten_thousand_tasks(session: shoal.Session):
    """Where nobody says otherwise; the element futures are inputs of others like any."""
    futures = divide.map(range(20_000))
    assert len({future.tid for future in futures}) == 10_000
    assert divide(futures[-1]).result(60) == 19_999 / 4
    assert sum(future.result(60) for future in futures) == sum(range(20_000)) / 2


def test_an_asynchronous_function_maps(session: shoal.Session):
    """Each call of a chunk is awaited."""

    @python_app
    async def later(n: int) -> int:
        return n + 1

    assert [future.result(30) for future in later.map([1, 2, 3], chunksize=2)] == [2, 3, 4]


def test_a_bash_app_maps(session: shoal.Session):
    """One task each, with a text of its own."""

    @bash_app
    def speak(word: str, times: int = 1) -> str:
        return f"for i in $(seq {times}); do echo {word}; done"

    futures = speak.map(["a", "b"], times=2)
    assert [future.result(30) for future in futures] == [0, 0]
    assert [future.stdout for future in futures] == ["a\na\n", "b\nb\n"]  # type: ignore[attr-defined]
