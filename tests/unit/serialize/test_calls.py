"""Calls as payloads: placeholders where futures stood."""

from __future__ import annotations

import dataclasses
import threading
from concurrent.futures import Future

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shoal.errors import NotPicklable
from shoal.outcome import Payload
from shoal.serialize import pack_call, unpack_call


class TaskFuture(Future):
    """A subclass, as the session's are."""


@dataclasses.dataclass
class Holder:
    """Something with attributes."""

    held: object


class Slot:
    """Stands for the i-th future in generated arguments."""

    def __init__(self, index: int) -> None:
        self.index = index


def fill(tree, values):
    """``tree`` with each Slot replaced."""
    if isinstance(tree, Slot):
        return values[tree.index]
    if isinstance(tree, list | tuple):
        return type(tree)(fill(item, values) for item in tree)
    if isinstance(tree, dict):
        return {key: fill(value, values) for key, value in tree.items()}
    return tree


LEAVES = st.one_of(
    st.builds(Slot, st.integers(0, 3)), st.integers(), st.text(max_size=3), st.none(), st.binary(max_size=3)
)
TREES = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=4) | st.tuples(inner, inner) | st.dictionaries(st.text(max_size=2), inner, max_size=3)
    ),
    max_leaves=12,
)
ARGS = st.lists(TREES, max_size=4).map(tuple)
KWARGS = st.dictionaries(st.sampled_from("abc"), TREES, max_size=3)


@given(ARGS, KWARGS)
def test_futures_anywhere_are_replaced(args, kwargs):
    """Wherever futures stand in arguments, their values stand there after unpacking, each future listed once."""
    futures = [TaskFuture() if i % 2 else Future() for i in range(4)]
    values = {id(future): ("value", i) for i, future in enumerate(futures)}
    payload, found = pack_call(fill(args, futures), fill(kwargs, futures), "f")
    assert len(set(map(id, found))) == len(found)
    inputs = [values[id(future)] for future in found]
    expected = [("value", i) for i in range(4)]
    assert unpack_call(payload, inputs) == (fill(args, expected), fill(kwargs, expected))


def test_futures_side_by_side():
    """Futures that are arguments by themselves, among small values, keep to their order."""
    one, two, three = Future(), TaskFuture(), Future()
    for _ in range(2):  # the first time their types are new
        payload, found = pack_call((one, 1, two, "x"), {"k": three, "l": two, "m": None}, "f")
        assert found == [one, two, three]
        assert unpack_call(payload, ["one", "two", "three"]) == (
            ("one", 1, "two", "x"),
            {"k": "three", "l": "two", "m": None},
        )


def test_futures_in_sets_keys_and_attributes():
    """Elements of sets, keys of dicts and attributes of objects are places as good as any."""
    one, two = Future(), TaskFuture()
    payload, found = pack_call(({one}, {two: 1}, frozenset([one]), Holder([two])), {}, "f")
    inputs = [{id(one): "one", id(two): "two"}[id(future)] for future in found]
    args, _ = unpack_call(payload, inputs)
    assert args == ({"one"}, {"two": 1}, frozenset(["one"]), Holder(["two"]))


def test_one_future_many_times_is_one_input():
    """A future that is passed twice is waited for once, and gives one object."""
    future = Future()
    for args in ((future, future), (future, [future])):
        payload, found = pack_call(args, {"k": future}, "f")
        assert found == [future]
        value = [1]
        (first, second), kwargs = unpack_call(payload, [value])
        assert first is value
        assert kwargs["k"] is value
        assert second == (value if type(second) is list and second is value else [value])


def test_many_futures_side_by_side():
    """A fan-in of thousands keeps their order."""
    futures = [Future() for _ in range(3000)]
    payload, found = pack_call((*futures, *futures), {}, "f")
    assert found == futures
    args, _ = unpack_call(payload, list(range(3000)))
    assert args == (*range(3000), *range(3000))


def test_calls_without_futures_need_no_inputs():
    """Plain calls come back as they were."""
    call = ((1, "a", [2], np.arange(3)), {"k": {"x": None}})
    payload, found = pack_call(*call, "f")
    assert found == []
    args, kwargs = unpack_call(payload, [])
    assert args[:3] == (1, "a", [2])
    assert kwargs == {"k": {"x": None}}


def test_the_call_is_as_it_was_when_it_was_packed():
    """Changing an argument afterwards does not change the task."""
    items, values = [1], np.zeros(10_000)
    payload, _ = pack_call((items,), {"values": values}, "f")
    items.append(2)
    values[:] = 1
    args, kwargs = unpack_call(payload, [])
    assert args == ([1],)
    assert not kwargs["values"].any()
    assert kwargs["values"].flags.writeable


def test_large_bytes_are_not_copied():
    """Bytes that are an argument by themselves stay the object that they are, there and back."""
    blob = bytes(1_000_000)
    payload, _ = pack_call((blob, 1), {"b": blob}, "f")
    assert [buffer is blob for buffer in payload.buffers] == [True, True]
    args, kwargs = unpack_call(payload, [])
    assert args[0] is blob
    assert kwargs["b"] is blob


def test_identity_among_arguments_is_kept():
    """One list passed twice is one list in the task."""
    items = [1]
    payload, _ = pack_call((items, items), {"k": items}, "f")
    (first, second), kwargs = unpack_call(payload, [])
    assert first is second
    assert kwargs["k"] is first


def test_parts_may_come_wrapped():
    """The head may be any bytes-like object, or something that holds one."""
    future = Future()
    payload, _ = pack_call((future, [future], bytes(20_000)), {}, "f")
    wrapped = Payload(memoryview(payload.head), [memoryview(b) for b in payload.buffers])
    args, _ = unpack_call(wrapped, [5])
    assert args == (5, [5], bytes(20_000))


@pytest.mark.parametrize(
    ("args", "kwargs", "what"),
    [
        ((1, threading.Lock()), {}, "argument 'model' of fit"),
        (([[threading.Lock()]],), {}, "argument 'x' of fit"),
        ((1, 2, threading.Lock()), {}, "argument 3 of fit"),
        ((), {"model": {"a": threading.Lock()}}, "argument 'model' of fit"),
    ],
)
def test_the_argument_at_fault_is_named(args, kwargs, what):
    """The error names the argument, by the function's own names where they are known."""
    with pytest.raises(NotPicklable) as caught:
        pack_call(args, kwargs, "fit", lambda: ["x", "model"])
    assert caught.value.what == what
    assert "_thread.lock" in caught.value.reason


def test_without_names_the_position_is_told():
    """Without a signature the error counts the arguments."""
    with pytest.raises(NotPicklable, match=r"^argument 2 of fit \(a lock\)"):
        pack_call((1, threading.Lock()), {}, "fit")


def test_a_failed_call_leaves_nothing_behind():
    """The futures of a call that failed do not show up in the next."""
    with pytest.raises(NotPicklable):
        pack_call(([Future()], threading.Lock()), {}, "f")
    future = Future()
    assert pack_call(([future],), {}, "f")[1] == [future]


def test_functions_of_notebooks_as_arguments(nb):
    """A lambda of a notebook travels with the globals that it uses, futures among them."""
    nb.run("offset = 10\nfuture = None\nadd = lambda x: (x + offset, future)")
    nb["future"] = Future()
    payload, found = pack_call((nb.add,), {}, "apply")
    assert found == [nb.future]
    (add,), _ = unpack_call(payload, ["filled"])
    assert add(1) == (11, "filled")


def test_nested_unpacking_keeps_inputs_apart():
    """Unpickling an argument may itself unpack a call."""
    inner, _ = pack_call(([Future()],), {}, "inner")
    outer, _ = pack_call(([Future()], Nested(inner), [Future()]), {}, "outer")
    args, _ = unpack_call(outer, ["first", "last"])
    assert args[0] == ["first"]
    assert args[1].args == (["inner"],)
    assert args[2] == ["last"]


class Nested:
    """Unpacks a call of its own while it is unpickled."""

    def __init__(self, payload: Payload) -> None:
        self.payload = payload

    def __getstate__(self):
        return self.payload.head

    def __setstate__(self, head):
        self.args, _ = unpack_call(Payload(head), ["inner"])
