"""Values as payloads."""

from __future__ import annotations

import array
import collections
import fnmatch
import functools
import math
import threading
import weakref
from concurrent.futures import Future

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from shoal.errors import NotPicklable
from shoal.outcome import Payload
from shoal.serialize import pack, unpack
from shoal.serialize.pickling import OUT_OF_BAND

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner) | st.tuples(inner, inner),
    max_leaves=20,
)


class Wrapped:
    """A buffer as the codec hands it over: wrapped, and perhaps a frame inside."""

    def __init__(self, data: object) -> None:
        self.data = data

    def __len__(self) -> int:
        return len(self.data)


class Frame:
    """What a zmq frame looks like from here."""

    def __init__(self, data: bytes) -> None:
        self.buffer = memoryview(data)


@given(PLAIN)
def test_plain_data_comes_back_equal(value):
    """Whatever plain data is packed, its equal is unpacked."""
    assert unpack(pack(value)) == value


@given(hnp.arrays(hnp.scalar_dtypes(), hnp.array_shapes(max_side=5)))
def test_arrays_come_back_equal_and_writable(value):
    """Arrays of any type and shape come back equal, and can be written to."""
    back = unpack(pack([value]))[0]
    np.testing.assert_array_equal(back, value)
    assert back.dtype.newbyteorder("=") == value.dtype.newbyteorder("=")  # numpy's own pickle forgets the byte order
    assert back.flags.writeable


@pytest.mark.parametrize("order", ["C", "F"])
def test_large_arrays_stay_out_of_the_stream(order):
    """The buffer of a large array is kept beside the pickle stream, whatever its order in memory."""
    value = np.asfortranarray(np.random.rand(200, 100)) if order == "F" else np.random.rand(200, 100)
    payload = pack({"x": value})
    assert len(payload.head) < 500
    assert [len(buffer) for buffer in payload.buffers] == [value.nbytes]
    np.testing.assert_array_equal(unpack(payload)["x"], value)


def test_small_arrays_are_in_the_stream():
    """A small array is not worth a buffer of its own."""
    assert not pack(np.arange(10)).buffers


def test_an_array_that_is_changed_after_packing_does_not_change_the_payload():
    """Mutable buffers are copied when they are packed."""
    value, text = np.zeros(10_000), bytearray(OUT_OF_BAND * 8)
    payload = pack((value, text))
    value[:] = 1
    text[:4] = b"oops"
    back, back_text = unpack(payload)
    assert not back.any()
    assert not any(back_text)


def test_a_read_only_view_of_changing_memory_is_copied_too():
    """What cannot be written through one name may change through another."""
    value = np.zeros(10_000)
    view = value[:]
    view.flags.writeable = False
    payload = pack(view)
    value[:] = 1
    back = unpack(payload)
    assert not back.any()
    assert not back.flags.writeable


def test_unpacked_arrays_are_private():
    """Two readers of one payload do not see each other's changes, also where the payload's buffers can be written."""
    payload = pack(np.zeros(10_000))
    payload = Payload(payload.head, [bytearray(payload.buffers[0])])
    first, second = unpack(payload), unpack(payload)
    first[:] = 1
    assert not second.any()


def test_a_payload_that_is_taken_gives_its_own_buffers():
    """``take`` spares the copy of a buffer that nobody else will read."""
    payload = pack(np.zeros(10_000))
    buffer = bytearray(payload.buffers[0])
    back = unpack(Payload(payload.head, [buffer]), take=True)
    back[0] = 1
    assert any(buffer)
    read_only = unpack(payload, take=True)
    read_only[0] = 1
    assert not any(payload.buffers[0])


def test_without_copy_the_payload_shares_the_memory():
    """``copy=False`` is for who sends at once: the array's memory is the payload's buffer."""
    value = np.zeros(10_000)
    payload = pack(value, copy=False)
    value[0] = 1
    assert unpack(payload)[0] == 1


def test_large_bytes_are_never_copied():
    """``bytes`` cannot change, so the very object is the payload's buffer, and comes out where it is at hand."""
    value = bytes(1_000_000)
    payload = pack(value)
    assert payload.buffers[0] is value
    assert unpack(payload) is value


@pytest.mark.parametrize("size", [0, OUT_OF_BAND - 1, OUT_OF_BAND, OUT_OF_BAND + 1, 200_000])
@pytest.mark.parametrize("kind", [bytes, bytearray, lambda n: "x" * n])
def test_sizes_around_the_limit(kind, size):
    """Nothing special happens at the size from which buffers are kept apart."""
    for value in (kind(size), [kind(size), 1], {"k": (kind(size),)}):
        back = unpack(pack(value))
        assert back == value
        assert type(back) is type(value)


@pytest.mark.parametrize("wrap", [Wrapped, Frame, lambda b: Wrapped(Frame(b)), memoryview, bytearray])
def test_parts_may_come_wrapped(wrap):
    """Head and buffers are read through whatever the wire wraps them in."""
    value = (np.arange(10_000.0), bytes(50_000))
    payload = pack(value)
    back = unpack(Payload(wrap(payload.head), [wrap(buffer) for buffer in payload.buffers]))
    np.testing.assert_array_equal(back[0], value[0])
    assert back[0].flags.writeable
    assert back[1] == value[1]
    assert type(back[1]) is bytes


def test_large_bytes_that_come_in_a_frame_are_bytes():
    """A value that was bytes is bytes again, whatever it came in."""
    payload = pack(bytes(100_000))
    assert unpack(Payload(payload.head, [Wrapped(Frame(payload.buffers[0]))])) == bytes(100_000)


def test_shared_parts_stay_shared():
    """An object that is mentioned twice is one object again, arrays included."""
    array_, item = np.zeros(10_000), [1]
    back = unpack(pack([array_, array_, item, item]))
    assert back[0] is back[1]
    assert back[2] is back[3]


def test_buffers_of_other_types():
    """``array.array`` and ``bytearray`` come back as what they were."""
    for value in (array.array("d", range(9000)), bytearray(range(256)) * 200):
        back = unpack(pack([value]))[0]
        assert back == value
        assert type(back) is type(value)


def test_what_plain_pickle_refuses():
    """Modules, lambdas, dict views, weak dictionaries and bound methods travel as with cloudpickle."""
    offset = 5

    class Key:
        pass

    key = Key()
    values = {
        "module": math,
        "lambda": lambda x: x + offset,
        "keys": {"a": 1}.keys(),
        "weak": weakref.WeakKeyDictionary({key: 1}),
        "weak values": weakref.WeakValueDictionary({"k": key}),
        "key": key,
        "method": [3, 1].count,
        "partial": functools.partial(lambda a, b: a - b, 10),
        "proxy": memoryview(b"abc"),
    }
    back = unpack(pack(values))
    assert back["module"] is math
    assert back["lambda"](1) == 6
    assert list(back["keys"]) == ["a"]
    assert list(back["weak"]) == [back["key"]]
    assert back["weak values"]["k"] is back["key"]
    assert back["method"](3) == 1
    assert back["partial"](4) == 6
    assert back["proxy"] == b"abc"


def test_a_cached_function_travels_without_its_cache(nb):
    """An ``lru_cache`` object of a notebook function works, recursion included, and begins empty."""
    nb.run(
        "import functools\n"
        "@functools.lru_cache(maxsize=7)\n"
        "def fib(n):\n    'doc'\n    return n if n < 2 else fib(n - 1) + fib(n - 2)\n"
        "fib(5)"
    )
    back = unpack(pack(nb.fib))
    assert back.cache_info().currsize == 0
    assert back.cache_parameters() == {"maxsize": 7, "typed": False}
    assert back(30) == 832040
    assert back.__doc__ == "doc"
    # not 2 ** 30 calls: the recursion goes through the cache
    assert back.cache_info().misses == 31


def test_importable_cached_functions_travel_by_name():
    """A cached function of a module is that of the module again."""
    assert unpack(pack(fnmatch._compile_pattern)) is fnmatch._compile_pattern


def test_named_types_of_notebooks(nb):
    """Named tuples, new types, parameter specifications and enums of a notebook travel by value."""
    nb.run(
        "import collections, enum, typing\n"
        "Point = collections.namedtuple('Point', 'x y')\n"
        "UserId = typing.NewType('UserId', int)\n"
        "P = typing.ParamSpec('P')\n"
        "class Colour(enum.Enum):\n    RED = 1\n"
        "for kind in (Point, UserId, P): kind.__module__ = '__main__'\n"
        "value = [Point(1, 2), UserId, P, Colour.RED]"
    )
    point, user_id, p, red = unpack(pack(nb.value))
    assert point == (1, 2)
    assert point.x == 1
    assert user_id.__supertype__ is int
    assert p.__name__ == "P"
    assert red is nb.Colour.RED


def test_the_error_names_the_object():
    """What cannot be pickled is named in the user's words, with its type and the pickler's reason."""
    with pytest.raises(NotPicklable) as caught:
        pack({"a": [threading.Lock()]}, what="the result of fit")
    assert caught.value.what == "the result of fit"
    assert caught.value.type_name == "dict"
    assert "_thread.lock" in caught.value.reason
    assert "create it inside the task" in str(caught.value)


def test_errors_of_the_users_own_methods_are_told():
    """Whatever ``__reduce__`` or ``__getstate__`` raise becomes the reason."""

    class Odd:
        def __reduce__(self):
            raise KeyError("no such state")

    with pytest.raises(NotPicklable, match="no such state"):
        pack(Odd(), what="x")


def test_deep_nesting_is_told_as_such():
    """Too deep a nesting is refused with that reason."""
    deep: list[object] = []
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(NotPicklable, match="nested too deeply"):
        pack(deep, what="deep")


def test_a_future_is_no_value():
    """A future in a result is refused with the way out."""
    with pytest.raises(NotPicklable, match="use its result"):
        pack([Future()], what="the result of f")


def test_ordered_and_default_dicts():
    """Subclasses of containers stay what they are."""
    value = collections.defaultdict(list, a=[1])
    back = unpack(pack(value))
    assert type(back) is collections.defaultdict
    assert back["new"] == []
