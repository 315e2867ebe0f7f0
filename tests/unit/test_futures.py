"""Futures by themselves."""

from __future__ import annotations

import collections
import concurrent.futures
import copy
import pickle
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shoal.containers import find_futures, replace_futures
from shoal.futures import OutputFuture, TaskFuture
from shoal.outcome import Failure, Held, Packed, Raised


class NoOwner:
    """Stands in for the session."""

    def load_value(self, value: Packed, task: str) -> Any:
        return pickle.loads(value.payload.head)

    def load_failure(self, failure: Failure) -> BaseException:
        return failure.stand_in()

    def request_cancel(self, tid: int) -> bool:
        return False

    def check_process(self) -> None: ...

    def state_of(self, tid: int) -> str | None:
        return "queued"


def made(tid: int = 0, outputs: tuple[str, ...] = ()) -> TaskFuture[Any]:
    return TaskFuture(NoOwner(), tid, "f", outputs)


def test_it_is_a_future_of_the_standard_library() -> None:
    """Isinstance checks of other libraries hold."""
    assert isinstance(made(), concurrent.futures.Future)


def test_the_first_settlement_counts() -> None:
    """A task has exactly one outcome."""
    future = made()
    assert future.settle(Held(1))
    assert not future.settle(Held(2))
    assert future.result(0) == 1


def test_iterating_a_future_is_an_error_that_helps() -> None:
    """A list made of a future would otherwise never end, or be wrong."""
    with pytest.raises(TypeError, match=r"\.result\(\)"):
        list(made())


@pytest.mark.parametrize("way", [pickle.dumps, copy.copy, copy.deepcopy])
def test_a_future_cannot_be_copied_or_pickled(way: Any) -> None:
    """The message says what to do instead."""
    with pytest.raises(TypeError, match="argument"):
        way(made())


def test_what_only_the_value_has_is_an_error_that_helps() -> None:
    """Methods of the value, and typing errors: the message says to write .result(), and no task is made."""
    for use in (list, lambda f: f.append(1), lambda f: f.reslt):
        with pytest.raises((TypeError, AttributeError), match=r"\.result\(\)"):
            use(made())
    assert made()
    assert not hasattr(made(), "append")


def test_an_unknown_attribute_is_an_error() -> None:
    """A typo makes no task."""
    with pytest.raises(AttributeError):
        _ = made().reslt  # type: ignore[attr-defined]


def test_only_the_session_settles() -> None:
    """set_result of the standard library is refused."""
    with pytest.raises(RuntimeError):
        made().set_result(1)


def test_a_condition_is_made_only_when_somebody_waits() -> None:
    """The Condition of a plain future is most of its memory."""
    future = made()
    future.settle(Held(1))
    assert future.result() == 1
    assert future._lazy_condition is None


def test_waiting_uses_the_standard_library_s_protocol() -> None:
    """wait() on futures that are settled before and during."""
    futures = [made(i) for i in range(3)]
    futures[0].settle(Held(0))
    done, waiting = concurrent.futures.wait(futures, timeout=0)
    assert (done, len(waiting)) == ({futures[0]}, 2)
    futures[1].settle(Raised(ValueError("no")))
    futures[2].settle(None)
    done, waiting = concurrent.futures.wait(futures, timeout=0)
    assert not waiting
    assert futures[2].cancelled()


def test_output_futures_know_their_place() -> None:
    """Each output has a name and an index."""
    future = made(3, ("a", "b"))
    b = future.outputs["b"]
    assert isinstance(b, OutputFuture)
    assert (b.name, b.index, b.tid) == ("b", 1, 3)
    assert "b of f" in repr(b)


Point = collections.namedtuple("Point", "x y")

leaves = st.integers() | st.text(max_size=3)
trees = st.recursive(
    leaves,
    lambda t: (
        st.lists(t, max_size=3) | st.tuples(t, t) | st.builds(Point, t, t) | st.dictionaries(leaves, t, max_size=3)
    ),
    max_leaves=12,
)


@given(trees)
def test_a_tree_without_futures_is_not_copied(tree: Any) -> None:
    """What has nothing to replace comes back as the same object."""
    assert find_futures(tree) == []
    assert replace_futures(tree, lambda _: None) is tree


def test_futures_are_replaced_keeping_the_containers_kinds() -> None:
    """Named tuples, ordered and default dicts, frozen sets stay what they are."""
    f = made()
    tree = [
        Point(f, [f]),
        collections.OrderedDict(a=f),
        collections.defaultdict(list, {"k": (f,)}),
        frozenset({f}),
        {f: 1},
    ]
    assert find_futures(tree) == [f]
    out = replace_futures(tree, {f: 7}.get)
    assert out == [Point(7, [7]), {"a": 7}, {"k": (7,)}, frozenset({7}), {7: 1}]
    assert [type(x) for x in out] == [type(x) for x in tree]
    assert out[2].default_factory is list


def test_a_list_that_contains_itself_is_searched_once() -> None:
    """Cycles end."""
    cycle: list[Any] = [made()]
    cycle.append(cycle)
    assert len(find_futures(cycle)) == 1
