"""Apps inside tasks: they run in place, and their futures are finished."""

from __future__ import annotations

import asyncio
from collections import namedtuple
from concurrent.futures import Future
from typing import Any

import pytest

from shoal.serialize import FunctionImage, InlineApp, InlineFuture, pack, unpack


class App:
    """Looks to the capture rule as the decorated apps do, and cannot travel itself."""

    def __init__(self, function: Any) -> None:
        self.function = function

    @property
    def __shoal_function__(self) -> Any:
        return self.function

    def __reduce__(self) -> Any:
        raise TypeError("an app must not be pickled as itself")


@pytest.fixture
def apps(nb):
    nb["app"] = App
    nb.run(
        "n = 2\n@app\ndef square(x): return x ** n\n@app\ndef add(a, b): return a + b\n"
        "@app\ndef total(items): return sum(items)\n"
        "@app\ndef fib(i): return i if i < 2 else add(fib(i - 1), fib(i - 2)).result()\n"
        "@app\nasync def slow(x): return x * n\n"
        "table = {'square': square}\nclass C:\n    k = 3\n    @app\n    def method(self, x): return self.k * x\n"
        "def make(inner):\n    def f(x): return inner(x).result()\n    return f\nclosed = make(square)"
    )
    return nb


def test_an_app_stands_for_its_function(apps, run):
    """The image of an app is that of its plain function."""
    image = FunctionImage(apps.square, None)
    assert image.function is apps.square.function
    assert image.label == "square"
    assert run(image, 3) == 9


def test_apps_inside_a_task_run_in_place(apps, run):
    """Apps that are reached by name, in containers, in closures, as methods and in defaults run right there."""
    apps.run(
        "def f(d=add):\n    return (square(3).result(), table['square'](4).result(), closed(5), C().method(2).result(),\n"
        "            d(1, 2).result(), square.__name__)"
    )
    assert run(apps.f) == (9, 16, 25, 6, 3, "square")


def test_apps_are_followed_like_helpers(apps, run):
    """Redefining an app, or what it uses, shows at the next submission."""
    apps.run("def f(): return square(3).result()")
    image = FunctionImage(apps.f)
    first = image.snapshot()
    assert image.snapshot() is first
    apps.run("n = 3")
    assert run(image) == 27
    apps.run("@app\ndef square(x): return -x")
    assert run(image) == -3
    apps["square"].function = apps.add.function
    with pytest.raises(TypeError):
        run(image)


def test_apps_call_themselves_and_each_other(apps, run):
    """A recursive app works inside one task, its futures passed on to another app."""
    assert run(FunctionImage(apps.fib), 12) == 144


def test_futures_in_arguments_are_replaced(apps, run):
    """Futures of apps that ran in place may be passed on, nested as anywhere."""
    apps.run(
        "def f(): return total([square(1), square(2)]).result(), total({square(3): square(1)}).result(), total(items=(1, 2)).result()"
    )
    assert run(apps.f) == (5, 9, 3)


def test_errors_wait_for_result(apps):
    """What the function raises is raised by ``result()``, and by whoever is given the future."""
    broken, use = InlineApp(lambda: 1 / 0), InlineApp(lambda x: x)
    future = broken()
    assert future.done()
    with pytest.raises(ZeroDivisionError):
        future.result()
    assert type(use([future]).exception()) is ZeroDivisionError


def test_asynchronous_apps(apps, run):
    """An ``async`` app gives its value, also inside a running loop; any inline future can be awaited."""
    apps.run("async def f(): return slow(4).result(), await slow(5), await square(6)")
    assert asyncio.run(run(apps.f)) == (8, 10, 36)


def test_an_inline_future_is_a_future():
    """Whatever takes a ``concurrent.futures.Future`` takes it."""
    assert isinstance(InlineApp(int)("3"), Future)
    assert isinstance(InlineApp(int)("3"), InlineFuture)


def test_an_inline_future_travels_as_its_value():
    """In a result, futures of apps that ran inside the task are their values; a shared one stays shared."""
    made = InlineApp(lambda x: [x])
    one = made(1)
    back = unpack(pack({"a": one, "b": [one], "c": made(2)}))
    assert back == {"a": [1], "b": [[1]], "c": [2]}
    assert back["a"] is back["b"][0]


def test_a_failed_inline_future_fails_what_takes_it_along():
    """What the app raised is raised where its value was to travel, as itself."""
    with pytest.raises(ValueError, match="'x'"):
        pack([InlineApp(int)("x")])


def test_an_inline_future_tells_how_it_ended():
    """Its text has the value, or the error."""
    assert repr(InlineApp(int)("3")) == "<InlineFuture: 3>"
    assert repr(InlineApp(int)("x")).startswith("<InlineFuture: failed: ValueError: invalid literal")


def test_arguments_without_futures_are_passed_as_they_are():
    """Only what holds a future is copied."""
    point = namedtuple("Point", "x y")
    seen = InlineApp(lambda *args: args)
    done: Future[int] = Future()
    done.set_result(1)
    items, table = [1], {"a": [2]}
    first, second, third, fourth = seen(items, table, point(done, 2), {"k": done, "l": items}).result()
    assert first is items
    assert second is table
    assert third == point(1, 2)
    assert type(third) is point
    assert fourth == {"k": 1, "l": [1]}
    assert fourth["l"] is items


def test_apps_as_values(apps):
    """An app among arguments or in a result arrives as one that runs in place, however often it travels."""
    back = unpack(pack(unpack(pack([apps.square]))))[0]
    assert type(back) is InlineApp
    assert back(5).result() == 25
    assert back.__name__ == "square"
