"""Apps over a session that only notes what was entered."""

from __future__ import annotations

import copy
import functools
import inspect
import itertools
import operator
import pickle
from collections.abc import Iterator
from concurrent.futures import Future
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from shoal.apps import BashApp, JoinApp, PythonApp, app, bash_app, join_app, python_app
from shoal.errors import ConfigurationError, UnknownOption
from shoal.files import File
from shoal.node.special import KEY, PLAN
from shoal.options import Backoff, TaskOptions
from shoal.resources import Resources
from shoal.serialize import FunctionImage


class Entered:
    """A session that keeps what it gets, and runs nothing."""

    def __init__(self) -> None:
        self.calls: list[tuple[FunctionImage, tuple[Any, ...], dict[str, Any], TaskOptions]] = []

    def enter(self, image: FunctionImage, args: Any, kwargs: Any, options: TaskOptions) -> Any:
        self.calls.append((image, args, kwargs, options))
        return SimpleNamespace(outputs={name: f"{len(self.calls)}.{name}" for name in options.outputs})

    def log_name(self, label: str, stream: str) -> str:
        return f"/run/{len(self.calls)}_{label}.{stream}"

    @property
    def options(self) -> TaskOptions:
        return self.calls[-1][3]


@pytest.fixture
def session(monkeypatch: pytest.MonkeyPatch) -> Iterator[Entered]:
    entered = Entered()
    monkeypatch.setattr(app, "current", lambda start: entered)
    return entered


def scale(x: float, by: float = 2.0) -> float:
    """Scale it."""
    return x * by


scale_app = python_app(scale)


@python_app
def doubled(x: int) -> int:
    """Double it."""
    return 2 * x


def test_an_app_looks_like_its_function() -> None:
    """Name, documentation and signature are the function's, and it stays callable."""
    assert (doubled.__name__, doubled.__doc__, doubled.__module__) == ("doubled", "Double it.", __name__)
    assert str(inspect.signature(doubled)) == "(x: 'int') -> 'int'"
    assert doubled.__wrapped__(3) == 6
    assert repr(doubled) == "<python_app doubled>"


def test_an_app_is_pickled_and_copied_as_a_function_is() -> None:
    """By its name; one that has none under which it is found cannot."""
    assert pickle.loads(pickle.dumps(doubled)) is doubled
    assert copy.copy(doubled) is doubled
    assert copy.deepcopy([doubled]) == [doubled]
    with pytest.raises(pickle.PicklingError):
        pickle.dumps(scale_app)  # the name is that of the plain function


def test_a_plain_call_hands_on_its_arguments_as_they_are(session: Entered) -> None:
    """Nothing is read, nothing is copied."""
    given = [1]
    scale_app(given, by=3)
    image, args, kwargs, options = session.calls[0]
    assert args[0] is given
    assert (image.function, kwargs, options) == (scale, {"by": 3}, TaskOptions())


@pytest.mark.parametrize("decorator", [python_app, bash_app])
def test_options_are_what_is_asked_of_every_task(session: Entered, decorator: Any) -> None:
    """Bare, called, or as a plain function."""

    def f(x: int) -> None: ...

    given: dict[str, Any] = {
        "executors": ["a", "b"], "cache": True, "ignore_for_cache": ["x"], "retries": 1.5, "backoff": 3, "label": "job",
        "cores": 2, "memory": "1 GB", "gpus": 1, "priority": 4,
    }  # fmt: skip
    for made in (decorator(**given)(f), decorator(f, **given)):
        made(1)
        asked = session.options
        assert (asked.executors, asked.cache, asked.retries) == (("a", "b"), True, 1.5)
        assert (asked.backoff, asked.label) == (Backoff(first=3.0), "job")
        assert asked.resources == Resources(cores=2, memory=10**9, gpus=1, priority=4)
        assert asked.ignore_for_cache[0] == "x"


def test_a_walltime_is_kept_by_who_can(session: Entered) -> None:
    """That of a python app by the executor, that of a bash app by the worker's half, on threads too."""
    python_app(scale, walltime=2)(1)
    assert session.options.walltime == 2.0
    python_app(scale, walltime=2)(1, walltime=3)
    assert session.options.walltime == 3.0
    bash_app(scale, walltime=2)(1)
    assert (session.options.walltime, session.calls[-1][2][PLAN].walltime) == (0.0, 2.0)


def test_a_long_backoff_stays_as_long_as_it_was_said() -> None:
    """The limit of further waits is not below the first."""
    from shoal.apps.options import read_options

    backoff = read_options("python_app", {"backoff": 600})[0].backoff
    assert backoff is not None
    assert (backoff.delay(1), backoff.delay(2)) == (600.0, 600.0)


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("executors", 3), ("executors", [3]), ("cache", 1), ("ignore_for_cache", "x"), ("ignore_for_cache", [1]),
        ("retries", -1), ("retries", "2"), ("retries", float("inf")), ("backoff", -1), ("walltime", 0), ("label", ""),
        ("cores", 0), ("memory", "much"), ("gpus", -1), ("priority", "high"), ("session", 3), ("data_flow_kernel", 3),
    ],
)  # fmt: skip
def test_an_option_that_cannot_work_is_refused_where_it_is_written(option: str, value: Any) -> None:
    """Also before the decorator sees a function."""
    name = "session" if option == "data_flow_kernel" else option
    for given in ((), (scale,)):
        with pytest.raises(ConfigurationError) as caught:
            python_app(*given, **{option: value})
        assert str(caught.value).startswith(f"python_app({name}=...")


def test_an_unknown_option_is_refused_with_the_one_that_was_meant() -> None:
    """The decorator names it, and those that exist."""
    with pytest.raises(
        UnknownOption, match=r"python_app\.executor .*did you mean 'executors'\?.*it has: backoff, cache"
    ):
        python_app(executor="x")  # type: ignore[call-overload]
    with pytest.raises(UnknownOption, match=r"join_app\.executors .*the apps that it calls"):
        join_app(executors="x")  # type: ignore[call-overload]
    for decorator in (python_app, bash_app, join_app):
        with pytest.raises(ConfigurationError, match="decorate a function"):
            decorator(3)  # type: ignore[call-overload]


def test_a_call_may_ask_for_more(session: Entered) -> None:
    """Its special keywords change what the app asks, for this call."""
    made = python_app(scale, cores=2, gpus=1, label="job")
    made(1, label="this", cores=4, outputs=["/a"], stdout="/o", inputs=["b"])
    image, args, kwargs, options = session.calls[-1]
    assert options.resources == Resources(cores=4, gpus=1)
    assert (options.label, options.files, options.paths) == ("this", (File("/a"),), ("/o", ""))
    assert (args, kwargs[PLAN].after, kwargs[PLAN].name) == ((1,), ["b"], "this")
    assert image.function.__wrapped__ is scale  # type: ignore[attr-defined]
    made(1)
    assert session.calls[-1][3].label == "job"
    assert session.calls[-1][2] == {}


def test_a_cached_call_is_keyed_by_what_makes_a_difference(session: Entered) -> None:
    """The plan as a whole is left out of the key; its files are in."""
    made = bash_app(scale, cache=True)
    made(1, outputs=["/a"], inputs=["b"], stdout=-1)
    first = session.calls[-1]
    made(1, outputs=["/a"], inputs=["b"], walltime=9)
    second = session.calls[-1]
    assert PLAN in first[3].ignore_for_cache
    assert first[2][KEY] == second[2][KEY] == (None, None, ("/a",), ["b"])
    assert first[2][PLAN] != second[2][PLAN]


def test_an_app_may_ignore_where_its_files_go(session: Entered) -> None:
    """As Parsl's users write it: a stream to another file does not make another result."""
    made = bash_app(scale, cache=True, ignore_for_cache=["stdout", "outputs", "inputs"])
    made(1, outputs=["/a"], inputs=["b"], stdout="/o", stderr="/e")
    _, _, kwargs, _ = session.calls[-1]
    assert kwargs[KEY] == (None, ("/e", "a", False), (), ())
    plan = kwargs[PLAN]
    assert [(stream.path, stream.chosen) for stream in (plan.stdout, plan.stderr)] == [("/o", True), ("/e", False)]


def test_the_walltime_of_a_bash_app_makes_no_other_result(session: Entered) -> None:
    """What a task is made of does not know of it; what another task mentions does, to keep it there."""
    plain, limited = bash_app(scale), bash_app(scale, walltime=3)
    for made in (plain, limited):
        made(1)
    variables = [inspect.getclosurevars(call[0].function).nonlocals["walltime"] for call in session.calls]
    assert variables == [0.0, 0.0]
    assert inspect.getclosurevars(limited.__shoal_function__).nonlocals["walltime"] == 3.0


def test_parameters_may_have_any_name(session: Entered) -> None:
    """Also those of Shoal's own methods."""

    def named(self: int, function: int, args: int, kwargs: int) -> None: ...

    given = {"self": 1, "function": 2, "args": 3, "kwargs": 4}
    python_app(named)(**given)
    assert session.calls[-1][2] == given
    python_app(named).map([0], self=1)
    assert session.calls[-1][2] == {"self": 1}


def test_a_mistake_in_a_call_shows_the_callers_line(session: Entered) -> None:
    """The traceback ends where the user wrote it."""
    with pytest.raises(ConfigurationError, match=r"scale\(walltime=\.\.\.\)") as caught:
        scale_app(1, walltime=-1)
    assert len(caught.traceback) == 2
    assert session.calls == []


def test_any_callable_can_be_an_app(session: Entered) -> None:
    """Functions of libraries, partials, bound methods, objects; each has a name."""

    class Model:
        def __init__(self) -> None:
            self.map = "an attribute of the object"

        def __call__(self, x: int) -> int:
            return x

        def fit(self, x: int) -> int:
            return x

    model = Model()
    callables: list[Any] = [operator.add, functools.partial(scale, by=3), model, model.fit, len, dict, str.upper]
    names = []
    for function in callables:
        made = python_app(function)
        made(1)
        assert session.calls[-1][0].function is function or session.calls[-1][0].function == function
        assert made.__wrapped__ == function
        names.append(made.__name__)
    assert names == ["add", "scale", "Model", "fit", "len", "dict", "upper"]
    assert callable(python_app(model).map)


class Methods:
    """Apps as methods, decorated in either order."""

    @python_app
    def bound(self, x: int) -> int:
        return x

    @staticmethod
    @python_app
    def static(x: int) -> int:
        return x

    @python_app
    @staticmethod
    def static_below(x: int) -> int:
        return x

    @classmethod
    @python_app
    def of_class(cls, x: int) -> int:
        return x

    @python_app  # type: ignore[arg-type]
    @classmethod
    def of_class_below(cls, x: int) -> int:
        return x

    added = python_app(operator.add)


def test_methods_get_what_methods_get(session: Entered) -> None:
    """The instance, the class or nothing, whichever decorator stands above; as with functions, builtins are not bound."""
    made = Methods()
    made.bound(1)
    made.static(2)
    made.static_below(3)
    made.of_class(4)
    made.of_class_below(5)
    Methods.of_class_below(6)
    made.added(7, 8)
    Methods.bound(made, 9)
    expected: list[tuple[Any, ...]] = [
        (made, 1), (2,), (3,), (Methods, 4), (Methods, 5), (Methods, 6), (7, 8), (made, 9),
    ]  # fmt: skip
    assert [args for _, args, _, _ in session.calls] == expected
    assert made.bound.__wrapped__(5) == 5
    assert isinstance(Methods.bound, PythonApp)


def test_a_bound_app_maps(session: Entered) -> None:
    """The object is the first argument of each call."""
    made = Methods()
    made.bound.map([1, 2])
    assert [args for _, args, _, _ in session.calls] == [(made, 1), (made, 2)]


def test_kinds_of_apps_are_classes_of_their_own(session: Entered) -> None:
    """A bash app sends the worker's half, with the plan of the call; a join app asks for a join."""
    bash, join = bash_app(scale), join_app(scale)
    assert (type(bash), type(join)) == (BashApp, JoinApp)
    bash(1)
    assert (session.calls[-1][2][PLAN].name, session.options.join) == ("scale", False)
    join(1)
    assert (session.calls[-1][0].function.__wrapped__, session.options.join) == (scale, True)


def test_an_app_of_an_app_is_one_of_its_function(session: Entered) -> None:
    """Decorating twice does not nest."""
    python_app(scale_app, retries=1)(1)  # type: ignore[arg-type]
    assert session.calls[-1][0].function is scale


# --------------------------------------------------------------------------- map


def test_map_makes_a_task_of_each_call(session: Entered) -> None:
    """Side by side, until the shortest ends."""
    futures = scale_app.map([1, 2, 3], itertools.count(5))
    assert len(futures) == 3
    assert [args for _, args, _, _ in session.calls] == [(1, 5), (2, 6), (3, 7)]
    assert scale_app.map([]) == []


def test_map_puts_calls_together(session: Entered) -> None:
    """As many as said; each has a future of its own, in order, and a walltime of its own."""
    futures = scale_app.map(range(5), chunksize=2, by=3, walltime=10)
    assert futures == ["1.0", "1.1", "2.0", "2.1", "3.0"]
    assert [args for _, args, _, _ in session.calls] == [([(0,), (1,)],), ([(2,), (3,)],), ([(4,)],)]
    assert all(kwargs == {"by": 3} and options.each for _, _, kwargs, options in session.calls)
    assert [options.walltime for *_, options in session.calls] == [20.0, 20.0, 10.0]
    assert [options.outputs for *_, options in session.calls] == [("0", "1"), ("0", "1"), ("0",)]


@pytest.mark.parametrize(("count", "tasks"), [(10_000, 10_000), (10_001, 5_001), (30_000, 10_000)])
def test_map_makes_about_ten_thousand_tasks_at_most(session: Entered, count: int, tasks: int) -> None:
    """Where nobody says how many calls make one."""
    assert len(scale_app.map(range(count))) == count
    assert len(session.calls) == tasks


def test_calls_that_are_answered_alone_are_not_put_together(session: Entered) -> None:
    """Cached ones, retried ones, those with files, those of bash and join apps."""
    many = [1, 2, 3, 4]
    python_app(scale, cache=True).map(many, chunksize=2)
    python_app(scale, retries=1).map(many, chunksize=2)
    scale_app.map(many, chunksize=2, stdout="/o")
    bash_app(scale).map(many, chunksize=2)
    join_app(scale).map(many, chunksize=2)
    assert len(session.calls) == 20
    assert not any(options.each for *_, options in session.calls)


@pytest.mark.parametrize("chunksize", [0, -1, 1.5, True, "all", None])
def test_a_chunksize_that_cannot_be_is_refused(session: Entered, chunksize: Any) -> None:
    """By the name of the keyword."""
    with pytest.raises(ConfigurationError, match=r"python_app\.map\(chunksize=\.\.\.\)"):
        scale_app.map([1], chunksize=chunksize)


def test_a_map_goes_through_what_has_items(session: Entered) -> None:
    """As the built-in does: a data set that has no ``__iter__`` will do; so does a chunksize of numpy."""

    class Data:
        def __getitem__(self, index: int) -> int:
            return [1, 2, 3][index]

    scale_app.map(Data(), chunksize=np.int64(2))  # type: ignore[arg-type]
    assert [args for _, args, _, _ in session.calls] == [([(1,), (2,)],), ([(3,)],)]


def test_a_map_over_nothing_is_refused(session: Entered) -> None:
    """No iterable at all, or something that is none."""
    with pytest.raises(ConfigurationError, match="go through"):
        scale_app.map()
    with pytest.raises(ConfigurationError, match="goes by name"):
        scale_app.map([1], 2)  # type: ignore[arg-type]


def test_futures_among_the_elements_stay_where_they_are(session: Entered) -> None:
    """The session finds them, for each chunk those that are in it."""
    future: Future[int] = Future()
    scale_app.map([1, future, 3, 4], chunksize=2)
    assert [args for _, args, _, _ in session.calls] == [([(1,), (future,)],), ([(3,), (4,)],)]
