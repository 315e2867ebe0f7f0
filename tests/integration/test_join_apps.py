"""Join apps: graphs that grow by what was computed."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

import shoal
from shoal.apps import bash_app, join_app, python_app
from shoal.errors import ConfigurationError, JoinError
from shoal.files import File


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[shoal.Session]:
    """One pool of one worker: a join that held it would wait for ever."""
    shoal.clear()
    htex = shoal.HighThroughputExecutor(max_workers_per_node=1)
    yield shoal.load(shoal.Config(executors=[htex], run_dir=str(tmp_path_factory.mktemp("runs"))))
    shoal.clear()


@python_app
def plus(a: int, b: int) -> int:
    if a < 0:
        raise ValueError(f"{a} is negative")
    return a + b


def test_a_join_app_ends_with_the_values_of_what_it_returned(session: shoal.Session):
    """A future, and structures with futures in them, plain values among these."""

    @join_app
    def one(a: int) -> Any:
        return plus(a, 1)

    @join_app
    def many(a: int) -> Any:
        return {"list": [plus(a, 1), 5, [plus(a, 2)]], "tuple": (plus(a, 3), {"x": plus(a, 4)}), "set": {plus(a, 5)}}

    @join_app
    def none(a: int) -> Any:
        return [a, "text"]

    assert one(1).result(30) == 2
    assert many(0).result(30) == {"list": [1, 5, [2]], "tuple": (3, {"x": 4}), "set": {5}}
    assert none(3).result(30) == [3, "text"]
    assert one(one(one(1))).result(30) == 4


def test_a_join_app_calls_itself(session: shoal.Session):
    """Fibonacci: no worker is held while anything waits."""

    @join_app
    def fibonacci(n: int) -> Any:
        return plus(n, 0) if n < 2 else plus(fibonacci(n - 1), fibonacci(n - 2))

    assert fibonacci(9).result(60) == 34


def test_the_body_runs_in_this_process(session: shoal.Session):
    """On a thread of the session: it sees what the program has, and what its arguments have become."""
    seen: list[tuple[int, bool]] = []

    @join_app
    def look(value: int) -> Any:
        seen.append((value, threading.current_thread() is threading.main_thread()))
        return [plus(value, i) for i in range(value)]

    assert look(plus(1, 2)).result(30) == [3, 4, 5]
    assert seen == [(3, False)]


def test_an_asynchronous_body_is_awaited(session: shoal.Session):
    """In its own thread; what it returns is joined."""

    @join_app
    async def later(a: int) -> Any:
        first = await plus(a, 1)
        return [first, plus(first, 1)]

    assert later(1).result(30) == [2, 3]


def test_a_failed_part_is_named(session: shoal.Session):
    """The error is a JoinError, with what the part failed with as its cause; one of the body is itself."""

    @join_app
    def fails() -> Any:
        return [plus(1, 1), plus(-1, 1)]

    @join_app
    def breaks() -> Any:
        raise KeyError("body")

    error = fails().exception(30)
    assert isinstance(error, JoinError)
    assert isinstance(error.__cause__, ValueError)
    assert "-1 is negative" in str(error)
    assert isinstance(breaks().exception(30), KeyError)


def test_a_join_app_inside_a_task_runs_there(session: shoal.Session):
    """Its apps run in place, and their values take their places."""

    @join_app
    def both(a: int) -> Any:
        return {"sum": [plus(a, 1), a], "next": (plus(plus(a, 1), 1),)}

    @python_app
    def outer() -> Any:
        return both(1).result()

    assert outer().result(30) == {"sum": [2, 1], "next": (3,)}


def test_special_keywords_of_a_join_app(session: shoal.Session):
    """It waits for its inputs, and has a name; it cannot have what a worker would give."""
    order: list[int] = []

    @join_app
    def note(number: int) -> Any:
        order.append(number)
        return plus(number, 0)

    last = note(2, inputs=[note(1)], label="last")
    assert (last.result(30), last.label, order) == (2, "last", [1, 2])
    with pytest.raises(ConfigurationError, match="apps that it calls"):
        note(1, walltime=3)


def test_a_join_app_maps(session: shoal.Session):
    """One task each."""

    @join_app
    def twice(n: int) -> Any:
        return [plus(n, 1)] * 2

    assert [f.result(30) for f in twice.map([1, 2])] == [[2, 2], [3, 3]]


def test_an_asynchronous_body_takes_special_keywords(session: shoal.Session):
    """It is awaited then, too."""

    @join_app
    async def later(a: int) -> Any:
        return [plus(a, 1)]

    assert later(1, inputs=[plus(1, 1)], label="named").result(30) == [2]


@pytest.mark.parametrize("make", [iter, lambda items: map(int, items), lambda items: (item for item in items)])
def test_a_body_that_returns_no_list_is_told_so(session: shoal.Session, make: Callable[[Any], Any]):
    """Futures that come one by one would never be waited for; nor would they inside a task."""
    careless = join_app(lambda n: make([plus(n, 1)]), label="careless")
    error = careless(1).exception(30)
    assert isinstance(error, TypeError)
    assert "return a list" in str(error)
    inside = python_app(lambda: type(careless(1).exception()).__name__)
    assert inside().result(30) == "TypeError"


def test_files_of_a_join_app_are_futures_of_files(session: shoal.Session, tmp_path: Path):
    """They are there when what it joined has ended."""

    @bash_app
    def write(outputs: Sequence[File] = ()) -> str:
        return f"sleep 0.2; echo made > {outputs[0]}"

    @join_app
    def delegate(outputs: Sequence[File] = ()) -> Any:
        return write(outputs=outputs)

    made = delegate(outputs=[tmp_path / "made"]).outputs[0]
    assert made.result(30) == File(tmp_path / "made")
    assert python_app(lambda file: Path(file).read_text())(made).result(30) == "made\n"
