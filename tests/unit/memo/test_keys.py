"""Keys of calls: arguments by name, what is ignored, the environment, futures."""

from __future__ import annotations

import gc
import threading
import weakref
from concurrent.futures import Future
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from shoal.errors import NotMemoizable
from shoal.files import File
from shoal.memo.digest import content
from shoal.memo.key import finish_key, start_key

TEXT = """
def f(x, y=2, *rest, flag=False, **more): return x
def plain(x, y=2): return x
"""


def test_a_call_is_the_same_however_its_arguments_are_given(nb: Any, key: Any) -> None:
    """By position, by name, by default."""
    nb.run(TEXT)
    assert key(nb.f, 1) == key(nb.f, x=1) == key(nb.f, 1, 2) == key(nb.f, y=2, x=1) == key(nb.f, 1, flag=False)
    others = [
        key(nb.f, 2),
        key(nb.f, 1, 3),
        key(nb.f, 1, 2, 3),
        key(nb.f, 1, flag=True),
        key(nb.f, 1, z=1),
        key(nb.f, 1.0),
    ]
    assert len({key(nb.f, 1), *others}) == 7
    assert key(nb.f, 1, a=1, b=2) == key(nb.f, 1, b=2, a=1)


def test_defaults_that_were_replaced_are_seen(nb: Any, key: Any) -> None:
    """Whatever it means to compare them: arrays do not like that."""
    nb.run("import numpy as np\ndef f(x, y=np.zeros(2)): return y")
    before = key(nb.f, 1)
    nb.run("f.__defaults__ = (np.ones(2),)")
    assert key(nb.f, 1) != before
    nb.run("f.__defaults__ = (np.zeros(2),)")
    assert key(nb.f, 1) == before


def test_a_call_that_does_not_fit_has_a_key_too(nb: Any, key: Any) -> None:
    """It will fail by itself, and say why."""
    nb.run(TEXT)
    assert key(nb.plain, 1, 2, 3) != key(nb.plain, 1, 2, 4)
    assert key(nb.plain, z=1) == key(nb.plain, z=1)


def begin(nb: Any, *args: Any, **options: Any) -> bytes:
    return finish_key(start_key(nb.f, args, options.pop("kwargs", {}), "f", **options), ())


def test_ignored_arguments_make_no_difference(nb: Any) -> None:
    """Given by position, by name or as extra ones; a name that is not there is no mistake."""
    nb.run(TEXT)
    same = [
        begin(nb, 1, threading.Lock(), ignore=["y"]),
        begin(nb, 1, 5, ignore=["y"]),
        begin(nb, 1, kwargs={"y": 6}, ignore=["y"]),
        begin(nb, 1, kwargs={"y": 6, "debug": 1}, ignore=["y", "debug"]),
        begin(nb, 1, ignore=["y", "nowhere"]),
    ]
    assert len(set(same)) == 1
    assert begin(nb, 2, ignore=["y"]) != same[0]


def test_the_declared_environment_counts(nb: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Versions of distributions, environment variables, any text."""
    nb.run(TEXT)
    monkeypatch.setenv("MEMO_TEST", "a")
    keys = [begin(nb, 1, environment=e) for e in ([], ["numpy"], ["pandas"], ["env:MEMO_TEST"], ["version 2"])]
    monkeypatch.setenv("MEMO_TEST", "b")
    keys.append(begin(nb, 1, environment=["env:MEMO_TEST"]))
    monkeypatch.delenv("MEMO_TEST")
    keys.append(begin(nb, 1, environment=["env:MEMO_TEST"]))
    assert len(set(keys)) == len(keys)
    assert begin(nb, 1, environment=["numpy"]) == keys[1]


def test_outputs_count(nb: Any) -> None:
    """A task with other outputs keeps other values."""
    nb.run(TEXT)
    assert len({begin(nb, 1), begin(nb, 1, outputs=["a"]), begin(nb, 1, outputs=["a", "b"])}) == 3


def test_futures_are_filled_in_later(nb: Any) -> None:
    """Wherever they stand; each once."""
    nb.run(TEXT)
    a, b = Future[int](), Future[int]()
    partial = start_key(nb.f, (a, {"k": [b, a]}), {}, "f")
    assert list(partial.futures) == [a, b]
    one = finish_key(partial, [content(1), content(2)])
    assert len(one) == 32
    assert one == finish_key(partial, [content(1), content(2)])
    assert one != finish_key(partial, [content(2), content(1)])
    assert start_key(nb.f, (b, {"k": [a, b]}), {}, "f").parts == partial.parts
    assert start_key(nb.f, (a, {"k": [a, b]}), {}, "f").parts != partial.parts


CALLS: list[tuple[tuple[Any, ...], dict[str, Any]]] = [
    ((1,), {}), ((), {"x": 1}), (([1, 2],), {}), (({"a": [(1, "z")], "b": {2, 3}},), {"y": (2,)}), ((1, 2, [2], 1), {}),
    ((0,), {"more": [[[1]], {}]}), (([[1] * 80, 1, "text" * 50],), {}),
]  # fmt: skip


@pytest.mark.parametrize(("args", "kwargs"), CALLS)
def test_a_future_is_like_its_value(nb: Any, key: Any, args: Any, kwargs: Any) -> None:
    """In lists, tuples and dicts too: a call with 1, and one with the future of 1, have one key."""
    nb.run(TEXT)
    futures = Future[int](), Future[int]()

    def swap(value: Any) -> Any:
        if isinstance(value, list | tuple):
            return type(value)(map(swap, value))
        if isinstance(value, dict):
            return {k: swap(v) for k, v in value.items()}
        return futures[value - 1] if value in (1, 2) else value

    partial = start_key(nb.f, swap(args), swap(kwargs), "f")
    values = [content(1 + futures.index(future)) for future in partial.futures]
    assert values
    assert finish_key(partial, values) == key(nb.f, *args, **kwargs)
    assert finish_key(partial, [*values[:-1], content("other")]) != key(nb.f, *args, **kwargs)


def test_futures_in_other_objects_count_by_their_values(nb: Any) -> None:
    """In an object, in a dict's keys, in a list that contains itself."""
    nb.run(TEXT)
    loop: list[Any] = [Future()]
    loop.append(loop)
    for value in (SimpleNamespace(a=Future()), {Future(): 1}, [SimpleNamespace(a=Future()), Future()], loop):
        partial = start_key(nb.f, (value,), {}, "f")
        values = [content(number) for number, _ in enumerate(partial.futures)]
        assert values
        whole = finish_key(partial, values)
        assert whole == finish_key(partial, values)
        assert whole != finish_key(partial, [*values[:-1], content("other")])


def test_a_tangle_of_lists_with_a_future_takes_little(nb: Any) -> None:
    """Each of 60 contains all the others: the ways through them are without number."""
    nb.run(TEXT)
    lists: list[list[Any]] = [[Future()] for _ in range(60)]
    for one in lists:
        one.extend(lists)
    partial = start_key(nb.f, (lists,), {}, "f")
    assert finish_key(partial, [content(1)] * len(partial.futures))


def test_many_futures_take_little(nb: Any) -> None:
    """Each of 20,000 is found at once."""
    nb.run(TEXT)
    futures = [Future[int]() for _ in range(20_000)]
    assert len(start_key(nb.f, (futures,), {}, "f").futures) == 20_000


def test_a_function_that_is_gone_is_not_kept_alive(nb: Any) -> None:
    """Nor what it captured: a cell that is run again must not leave the former values behind."""
    nb.run("class Big: pass\nBIG = Big()\ndef f(x): return f, BIG")
    records: Any = {}
    start_key(nb.f, (1,), {}, "f", records=records)
    assert records
    gone = weakref.ref(nb.BIG), weakref.ref(nb.f)
    nb.clear()
    del records
    gc.collect()
    assert [ref() for ref in gone] == [None, None]


def test_promised_files_count_by_their_paths(nb: Any, tmp_path: Path) -> None:
    """So a task has the same key before they are made and after."""
    nb.run("def f(inputs=(), outputs=()): return 1")
    out = File(tmp_path / "out.txt")
    before = start_key(nb.f, (), {"outputs": [out]}, "f")
    Path(out.filepath).write_text("made")
    after = start_key(nb.f, (), {"outputs": [out]}, "f")
    assert before == after
    assert before.files == (out.filepath,)
    assert begin(nb, kwargs={"inputs": [out]}) != begin(nb, kwargs={"inputs": []})


@pytest.mark.parametrize(
    ("args", "kwargs", "what"),
    [
        ((threading.Lock(),), {}, "argument 'x' of f"),
        ((1,), {"y": [threading.Lock()]}, "argument 'y' of f"),
        ((1, 2, threading.Lock()), {}, "argument 'rest' of f"),
        ((1,), {"z": threading.Lock()}, "argument 'z' of f"),
    ],
)
def test_an_argument_without_digest_is_named(nb: Any, args: Any, kwargs: Any, what: str) -> None:
    """With its type, and three ways out."""
    nb.run(TEXT)
    with pytest.raises(NotMemoizable, match=f"^{what} \\(a lock\\).*register.*ignore_for_cache.*cache=True"):
        start_key(nb.f, args, kwargs, "f")
