"""Digests of values by their content: what is equal is equal, what differs differs."""

from __future__ import annotations

import copy
import datetime as dt
import enum
import functools
import itertools
import math
import os
import pickle
import random
import re
import threading
import types
from collections import Counter, OrderedDict, defaultdict, deque, namedtuple
from concurrent.futures import Future
from dataclasses import dataclass, field
from decimal import Decimal
from fractions import Fraction
from pathlib import Path, PurePosixPath
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shoal.errors import NotMemoizable
from shoal.files import File
from shoal.memo.digest import content_digest, id_for_memo

Pair = namedtuple("Pair", "a b")


@dataclass
class Data:
    a: int
    b: Any = None
    c: list[int] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Slotted:
    a: int
    b: str


class Colour(enum.Enum):
    RED = 1
    BLUE = 2


class Record(msgspec.Struct):
    a: int
    b: str = ""


class Plain:
    def __init__(self, a: Any) -> None:
        self.a = a

    @functools.cached_property
    def twice(self) -> Any:
        return self.a * 2

    def method(self) -> Any:
        return self.a


class Odd(set[int]):
    pass


class Lists(list[int]):
    pass


UTC = dt.UTC
PARIS = ZoneInfo("Europe/Paris")
TIME = dt.datetime(2026, 1, 2, 3, 4, 5)  # noqa: DTZ001

DIFFERENT: list[Any] = [
    None, True, False, 0, 1, -1, 256, 2**70, -(2**70), 0.0, -0.0, 1.0, math.inf, -math.inf, math.nan, 0j, 1 + 0j,
    1 - 1j, "", "1", "None", "a" * 63, "a" * 64, "a" * 65, "a" * 66, "\ud800", b"", b"1", b"a" * 65, bytearray(),
    bytearray(b"1"), memoryview(b"1"), memoryview(b"12"), ..., NotImplemented,
    [], (), set(), frozenset(), {}, [1], (1,), {1}, frozenset({1}), {1: 1}, [[1]], [(1,)], ([1],), [1, 2], [2, 1],
    [[1], 2], [[1, 2]], ["ab"], ["a", "b"], ["a,b"], {1: 2}, {2: 1}, {"1": 2}, {1: "2"}, [None], [[], []], [[[]]],
    range(3), range(0, 3, 2), slice(1), slice(1, None, None), slice(None, 1, 2),
    Decimal("1.0"), Decimal("1.00"), Fraction(1), Fraction(1, 3), Pair(1, 2), (1, 2), Data(1), Data(2), Data(1, 2),
    Data(1, c=[1]), Slotted(1, "a"), Slotted(1, "b"), Colour.RED, Colour.BLUE, Colour, Record(1), Record(2),
    Record(1, "x"), Plain(1), Plain(2), Plain([1]), Plain(1).method, Plain(2).method, Odd({1}), Odd({2}), Lists([1]),
    TIME, TIME.replace(tzinfo=UTC), TIME.replace(tzinfo=PARIS), TIME.replace(fold=1), TIME.date(), TIME.time(),
    dt.timedelta(1), dt.timedelta(2), Path("a"), Path("b"), Path("a/b"), PurePosixPath("a"),
    OrderedDict(a=1, b=2), OrderedDict(b=2, a=1), {"a": 1, "b": 2}, defaultdict(list, a=1), defaultdict(int, a=1),
    Counter("aab"), deque([1, 2]), deque([1, 2], 5), types.MappingProxyType({1: 1}), types.SimpleNamespace(a=1),
    functools.partial(int, base=2), functools.partial(int, base=3), functools.partial(int), int, len, math, math.sin,
    math.cos, re.compile("a"), re.compile("a", re.IGNORECASE), ValueError("a"), ValueError("b"), TypeError("a"),
    Plain, Data, random.Random(1), random.Random(2), pickle.PickleBuffer(b"1"), iter([1, 2]),
    np.int64(1), np.int32(1), np.float64(1), np.float32(1), np.bool_(True), np.datetime64("2026-01-01"), np.str_("1"),
    np.array(1), np.array([1]), np.array([[1]]), np.array([1, 2]), np.array([2, 1]), np.array([1, 2], "i4"),
    np.array([1.0, 2.0]), np.array([0.0]), np.array([-0.0]), np.zeros((2, 3)),
    np.zeros((3, 2)), np.zeros(0), np.zeros((0, 2)), np.zeros(0, "i4"), np.array(["a", "b"]), np.array([b"a"]),
    np.array([None, 1], object), np.array([None, 2], object), np.array([(1, 2.0)], [("a", "i8"), ("b", "f8")]),
    np.array([(1, 2.0)], [("a", "i8"), ("c", "f8")]), np.array([(1, 3.0)], [("a", "i8"), ("b", "f8")]),
    np.array(["2026-01-01"], "M8[D]"), np.array(["2026-01-01"], "M8[s]"), np.dtype("f8"), np.dtype("f4"), np.sin,
    np.cos, np.ma.array([1, 2], mask=[0, 1]), np.ma.array([1, 2], mask=[1, 0]), np.random.default_rng(1),
    np.random.default_rng(2),
    pd.Series([1, 2]), pd.Series([1, 3]), pd.Series([1.0, 2.0]), pd.Series([1, 2], name="x"),
    pd.Series([1, 2], index=[1, 0]), pd.Series([1, 2], index=["a", "b"]), pd.Series([1, None], dtype="Int64"),
    pd.Series(["a", "b"]), pd.Series(["a", None]), pd.Series(["a", "b"], dtype="category"),
    pd.Series(["a", "b"], dtype=pd.CategoricalDtype(["b", "a"])),
    pd.Series(["a", "b"], dtype=pd.CategoricalDtype(["a", "b"], ordered=True)),
    pd.Series(pd.date_range("2026", periods=2)), pd.Series(pd.date_range("2026", periods=2, tz="UTC")),
    pd.Series(pd.date_range("2026", periods=2, tz="Europe/Paris")), pd.Series(pd.to_timedelta([1, 2])),
    pd.DataFrame({"a": [1, 2], "b": [3, 4]}), pd.DataFrame({"b": [3, 4], "a": [1, 2]}),
    pd.DataFrame({"a": [1, 2], "c": [3, 4]}), pd.DataFrame({"a": [1, 2], "b": [3, 5]}), pd.DataFrame({"a": [1, 2]}),
    pd.DataFrame({"a": [1, 2], "b": [3, 4]}, index=[1, 2]), pd.DataFrame({"a": [1.0, 2.0], "b": [3, 4]}),
    pd.DataFrame(), pd.Index([1, 2]), pd.Index([1, 2], name="n"), pd.RangeIndex(3), pd.Timestamp("2026"), pd.NA,
    pd.NaT, pd.MultiIndex.from_tuples([(1, "a"), (2, "b")]), pd.MultiIndex.from_tuples([(1, "a"), (2, "c")]),
    pd.interval_range(0, 3), pd.period_range("2026-01", periods=2, freq="M"),
]  # fmt: skip


def test_different_values_have_different_digests() -> None:
    """No two of many values of all kinds run together: 1, True, 1.0, "1", b"1", [1], (1,) among them."""
    seen: dict[bytes, Any] = {}
    for value in DIFFERENT:
        found = content_digest(value)
        assert len(found) == 32
        assert found not in seen, (value, seen[found])
        seen[found] = value


@pytest.mark.parametrize("value", [v for v in DIFFERENT if not isinstance(v, memoryview | pickle.PickleBuffer | types.MappingProxyType | types.ModuleType)], ids=lambda v: type(v).__name__)  # fmt: skip
def test_copies_have_equal_digests(value: Any) -> None:
    """A deep copy, and what arrives in another process, is the same content."""
    digest = content_digest(value)
    assert content_digest(value) == digest
    assert content_digest(copy.deepcopy(value)) == digest
    assert content_digest(pickle.loads(pickle.dumps(value))) == digest


EQUAL: list[tuple[Any, Any]] = [
    ({"a": 1, "b": 2}, {"b": 2, "a": 1}),
    ({1, "a", None, 2.5}, {2.5, None, "a", 1}),
    ([math.nan], [float("nan")]),
    (np.arange(6).reshape(2, 3), np.asfortranarray(np.arange(6).reshape(2, 3))),
    (np.array([1, 2], ">i8"), np.array([1, 2], "<i8")),
    (np.arange(10)[::2], np.array([0, 2, 4, 6, 8])),
    (np.arange(4).reshape(2, 2).T, np.array([[0, 2], [1, 3]])),
    (memoryview(b"abc"), memoryview(bytearray(b"abc"))),
    (pd.DataFrame({"a": [1, 2], "b": [1.5, 2]}), pd.DataFrame({"b": [1.5, 2], "a": [1, 2]})[["a", "b"]]),
    (pd.Series([1, 2, 3])[:2], pd.Series([1, 2])),
    (pd.MultiIndex.from_tuples([(1, "a"), (2, "b")]), pd.MultiIndex.from_tuples([(0, "z"), (1, "a"), (2, "b")])[1:]),
]


@pytest.mark.parametrize(("one", "other"), EQUAL, ids=lambda v: type(v).__name__)
def test_equal_values_have_equal_digests(one: Any, other: Any) -> None:
    """Order of insertion, layout in memory and history make no difference."""
    assert content_digest(one) == content_digest(other)


def test_a_set_or_dict_in_any_order_is_the_same() -> None:
    """All orders of insertion, of items that are no atoms too."""
    items = [(1, (2,)), ("a", (3, "b")), (None, ()), (2.5, ((),))]
    assert len({content_digest(dict(order)) for order in itertools.permutations(items)}) == 1
    assert len({content_digest(set(order)) for order in itertools.permutations(items)}) == 1
    assert len({content_digest(Odd(order)) for order in itertools.permutations([1, 2**61, 2**62, 5])}) == 1


def test_padding_between_the_fields_of_a_record_does_not_count() -> None:
    """Whatever lies in the gaps of an aligned structure."""
    dtype = np.dtype([("a", "i1"), ("b", "i8")], align=True)
    one, other = np.frombuffer(bytes(16), dtype), np.frombuffer(b"\0" + b"\x55" * 7 + bytes(8), dtype)
    assert one.tobytes() != other.tobytes()
    assert content_digest(one) == content_digest(other)


def test_what_a_cached_property_has_cached_does_not_count() -> None:
    """Looking at an object does not change it."""
    thing = Plain(3)
    before = content_digest(thing)
    assert thing.twice == 6
    assert content_digest(thing) == before


def test_sharing_makes_no_difference() -> None:
    """The same list twice is like two equal lists, however often: it takes no more time either."""
    inner = [1]
    assert content_digest([inner, inner]) == content_digest([[1], [1]])
    deep: list[Any] = [0]
    for _ in range(200):
        deep = [deep, deep]
    assert content_digest(deep) == content_digest(copy.deepcopy(deep))


def test_containers_that_contain_themselves_end() -> None:
    """They have a digest by their shape and content."""

    def ring(length: int, value: int) -> list[Any]:
        first: list[Any] = [value]
        last = first
        for _ in range(length - 1):
            last = [value, last]
        first.append(last)
        return first

    assert content_digest(ring(3, 1)) == content_digest(ring(3, 1))
    assert content_digest(ring(3, 1)) != content_digest(ring(4, 1))
    assert content_digest(ring(3, 1)) != content_digest(ring(3, 2))
    loop: dict[str, Any] = {}
    loop["me"] = loop
    assert content_digest(loop) != content_digest({"me": {}})


def test_what_is_in_a_ring_has_one_digest_wherever_it_is_met() -> None:
    """On the way round the ring, and by itself."""

    def pair() -> tuple[list[Any], list[Any]]:
        one: list[Any] = [1]
        other: list[Any] = [2, one]
        one.append(other)
        return one, other

    one, other = pair()
    assert content_digest([one, other]) == content_digest([one, pair()[1]]) == content_digest([pair()[0], other])
    assert content_digest([one, other]) != content_digest([other, one])


def test_a_tangle_of_objects_has_a_digest_in_little_time() -> None:
    """Each of 60 objects knows all the others: the ways through them are without number."""

    def tangle(last: int) -> list[Plain]:
        things = [Plain(number) for number in range(60)]
        for thing in things:
            thing.a = (thing.a, things)
        things[59].a = (last, things)
        return [*things]

    assert content_digest(tangle(1)) == content_digest(tangle(1))
    assert content_digest(tangle(1)) != content_digest(tangle(2))


def test_no_nesting_is_too_deep() -> None:
    """A list 100,000 deep."""
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    assert content_digest(deep) != content_digest([deep])


@pytest.mark.parametrize(
    "value",
    [threading.Lock(), (n for n in range(3)), Future(), Plain(threading.Lock()), {"a": [threading.Lock()]}],
    ids=["lock", "generator", "future", "lock in an object", "nested lock"],
)
def test_what_has_no_content_is_refused(value: Any) -> None:
    """With the type and the way out."""
    with pytest.raises(NotMemoizable, match="id_for_memo"):
        content_digest(value)


def test_users_types_are_digested_by_their_own_function(request: pytest.FixtureRequest) -> None:
    """A registered function decides; of what it raises or returns wrongly the error tells."""

    class Mine:
        def __init__(self, name: Any, lock: Any) -> None:
            self.name, self.lock = name, lock

    class Sub(Mine):
        pass

    @id_for_memo.register(Mine)
    def mine(thing: Mine) -> bytes:
        return id_for_memo(thing.name) if thing.name else thing.name

    a, b = Mine("a", threading.Lock()), Mine("a", threading.Lock())
    assert content_digest([a]) == content_digest([b])
    assert content_digest(a) != content_digest(Mine("b", 0))
    assert content_digest(a) != content_digest(Sub("a", 0))
    with pytest.raises(NotMemoizable, match="returned a str and no bytes"):
        content_digest([Mine("", 0)])
    with pytest.raises(NotMemoizable, match="raised NotMemoizable"):
        content_digest(Mine(threading.Lock(), 0))


def test_files_count_by_name_and_content(tmp_path: Path) -> None:
    """A copy under the same name is the same; another content is not, nor is a file that is not there."""
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    one, two = tmp_path / "one" / "a.txt", tmp_path / "two" / "a.txt"
    missing = content_digest(File(one))
    assert missing != content_digest(File(two))
    one.write_text("text")
    two.write_text("text")
    assert content_digest(File(one)) == content_digest(File(two)) != missing
    two.write_text("texT")
    assert content_digest(File(one)) != content_digest(File(two))
    assert content_digest(File(tmp_path / "one")) != missing


def test_a_file_that_was_given_old_times_is_read_again(tmp_path: Path) -> None:
    """As unpacking and copying do: such a time does not vouch for what was written a moment ago."""
    path = tmp_path / "a.txt"
    seen = set()
    for number in range(200):
        path.write_text(f"{number:4}")
        os.utime(path, (1e9, 1e9))
        seen.add(content_digest(File(path)))
    assert len(seen) == 200


def test_a_folder_counts_by_all_that_is_in_it(tmp_path: Path) -> None:
    """Names and contents, at any depth; links by where they lead."""
    folder = tmp_path / "data"
    deep = folder / "a" / "b"
    deep.mkdir(parents=True)
    seen = [content_digest(File(folder))]
    for change in (
        lambda: (deep / "x.txt").write_text("one"),
        lambda: (deep / "x.txt").write_text("two"),
        lambda: (deep / "x.txt").rename(deep / "y.txt"),
        lambda: (folder / "empty").mkdir(),
        lambda: (folder / "round").symlink_to(folder),
        lambda: (folder / "gone").symlink_to("nowhere"),
    ):
        change()
        seen.append(content_digest(File(folder)))
    assert len(set(seen)) == len(seen)
    assert content_digest(File(folder)) == seen[-1]


def test_a_pipe_is_not_read(tmp_path: Path) -> None:
    """Whoever opened it would wait for somebody to write."""
    os.mkfifo(tmp_path / "pipe")
    assert content_digest(File(tmp_path / "pipe")) == content_digest(File(tmp_path / "pipe"))
    assert content_digest(File("/dev/zero")) == content_digest(File("/dev/zero"))


def test_a_name_that_no_file_can_have_is_that_of_no_file() -> None:
    """Too long, or with a zero in it."""
    for name in ("a" * 300, "a\0b"):
        assert content_digest(File(f"/tmp/{name}")) == content_digest(File(f"/tmp/{name}"))


# --------------------------------------------------------------------------- properties

atoms = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5) | st.binary(max_size=5)
)
hashable = st.recursive(atoms, lambda inner: st.tuples(inner, inner) | st.frozensets(inner, max_size=3), max_leaves=8)
trees = st.recursive(
    hashable,
    lambda inner: st.lists(inner, max_size=4) | st.tuples(inner, inner) | st.dictionaries(hashable, inner, max_size=4),
    max_leaves=20,
)


def canonical(tree: Any) -> Any:
    """A text that two trees share exactly if they are equal in types and values, whatever the order of sets and dicts."""
    kind = type(tree).__name__
    if isinstance(tree, list | tuple):
        return f"{kind}[{', '.join(map(canonical, tree))}]"
    if isinstance(tree, set | frozenset):
        return f"{kind}[{', '.join(sorted(map(canonical, tree)))}]"
    if isinstance(tree, dict):
        return f"{kind}[{', '.join(sorted(f'{canonical(k)}: {canonical(v)}' for k, v in tree.items()))}]"
    return f"{kind} {tree!r}"


@settings(max_examples=400, deadline=None)
@given(trees, trees)
def test_digests_are_equal_exactly_for_equal_content(one: Any, other: Any) -> None:
    """For any two nested structures."""
    assert (content_digest(one) == content_digest(other)) == (canonical(one) == canonical(other))
    assert content_digest(copy.deepcopy(one)) == content_digest(one)


@settings(max_examples=100, deadline=None)
@given(st.dictionaries(hashable, trees, max_size=8), st.randoms(use_true_random=False))
def test_a_shuffled_dict_is_the_same(tree: dict[Any, Any], chance: random.Random) -> None:
    """In whatever order its items were put in."""
    items = list(tree.items())
    chance.shuffle(items)
    assert content_digest(dict(items)) == content_digest(tree)


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.integers(1, 5), min_size=1, max_size=3),
    st.sampled_from(["i8", "f4", "u1", "c8", "?", "M8[s]", "U3", "O"]),
    st.data(),
)
def test_an_array_with_one_item_changed_differs(shape: list[int], dtype: str, data: st.DataObject) -> None:
    """Wherever in it, and whatever its type; and as before when it is changed back."""
    array = np.zeros(shape, dtype)
    spot = tuple(data.draw(st.integers(0, size - 1)) for size in shape)
    before = content_digest(array)
    old = array[spot]
    array[spot] = {"U": "x", "M": np.datetime64(9, "s"), "?": True}.get(dtype[0], 7)
    assert content_digest(array) != before
    array[spot] = old
    assert content_digest(array) == before
