"""Snapshots: the same object while nothing changed, and errors and warnings that name the variable."""

from __future__ import annotations

import gc
import threading
import warnings
import weakref
from concurrent.futures import Future

import numpy as np
import pytest

from shoal.errors import NotPicklable
from shoal.serialize import FunctionImage, Rebuilder, ShoalWarning

EVERYTHING = """
import functools, math, numpy as np
n, items, table, values = 1, [1], {'a': (1, [2])}, np.zeros(4)
pair, nothing, text = (1, 'a'), None, 'text'
class C:
    k: int = 1
    def __init__(self): self.v = n
    def m(self): return helper(self.v)
    @property
    def p(self): return items
obj = C()
def helper(x: int, y=[1], *, z: 'str' = 'z') -> list[int]: return x, math.pi, items
helper.note = [C]
@functools.lru_cache
def cached(x): return cached(x - 1) if x else 0
def make():
    count = [0]
    def g(): return count, n
    return g
g, part = make(), functools.partial(helper, 1)
def f(d=(1, 2), e=obj, *, k=3):
    return n, items, table, values, pair, nothing, text, obj, C, helper, cached, g, part, d, e, k, [x for x in obj.p]
"""


def test_nothing_changed_gives_the_same_object(nb):
    """Snapshots of an unchanged function are identical, for functions with captures of every kind."""
    nb.run(EVERYTHING)
    image = FunctionImage(nb.f)
    first = image.snapshot()
    assert all(image.snapshot() is first for _ in range(3))
    nb.f()
    nb.obj.m()
    assert image.snapshot() is first


def test_the_first_pickle_of_an_instance_changes_nothing(nb):
    """Pickling leaves its own marks on a class; they do not count as a change of it."""
    nb.run("class C:\n    pass\nitems = [C, C()]\ndef f(): return items")
    image = FunctionImage(nb.f)
    assert image.snapshot() is image.snapshot()


def test_rebinding_to_an_equal_value_gives_the_same_object(nb):
    """Running the cells again that define the same things changes nothing that would have to travel."""
    nb.run("n, items, big = 1, [1, 'a'], 10 ** 20\ndef f(): return n, items, big")
    image = FunctionImage(nb.f)
    first = image.snapshot()
    nb.run("n, items, big = 1, [1, 'a'], 10 ** 20")
    assert image.snapshot() is first


def test_a_changed_value_leaves_the_code_alone(nb):
    """When only a value changes, the code's digest stays, and only the captures travel anew."""
    nb.run("n, items = 1, [1]\ndef f(): return n, items")
    image = FunctionImage(nb.f)
    first = image.snapshot()
    for change in ("n = 2", "items.append(2)", "n = [n]", "items = 'text'"):
        nb.run(change)
        after = image.snapshot()
        assert after is not first, change
        assert after.code == first.code
        assert after.code_blob is first.code_blob
        assert after.captures != first.captures
        assert image.snapshot() is after
        first = after


def test_a_changed_helper_leaves_the_values_alone(nb):
    """When only code changes, the captured values have the digest that they had."""
    nb.run("n = 1\ndef helper(): return n\ndef f(): return helper()")
    image = FunctionImage(nb.f)
    first = image.snapshot()
    nb.run("def helper(): return -n")
    after = image.snapshot()
    assert after.code != first.code
    assert after.captures == first.captures


def test_equal_functions_have_equal_digests(nb):
    """Two images of functions from equal cells agree on both digests, so nothing travels twice."""
    source = "n = 1\ndef f(x): return [x + n for _ in range(3)], {1, 2, 3}, frozenset('abc')"
    exec(compile(source, "<same cell>", "exec"), nb)
    first = FunctionImage(nb.f).snapshot()
    exec(compile(source, "<same cell>", "exec"), nb)
    second = FunctionImage(nb.f).snapshot()
    assert (first.code, first.captures) == (second.code, second.captures)


def test_digests(nb):
    """Digests are 16 bytes; a function without captures has none."""
    nb.run("n = 1\ndef f(): return n\ndef bare(x): return len(x)")
    snapshot = FunctionImage(nb.f).snapshot()
    assert (len(snapshot.code), len(snapshot.captures)) == (16, 16)
    bare = FunctionImage(nb.bare).snapshot()
    assert (bare.captures, bare.captures_blob) == (b"", b"")
    assert weakref.ref(bare)() is bare


def test_the_label(nb):
    """An image is called what it is told, or after its function."""
    nb.run("def fit(): pass")
    assert FunctionImage(nb.fit).label == "fit"
    assert FunctionImage(nb.fit, "cell 4").label == "cell 4"
    assert FunctionImage([].append, None).label == "append"


@pytest.mark.parametrize(
    ("source", "what"),
    [
        ("lock = threading.Lock()\ndef fit(): return lock", "variable 'lock' used by fit"),
        ("a, lock = [1], [threading.Lock()]\ndef fit(): return a, lock", "variable 'lock' used by fit"),
        ("lock = threading.Lock()\ndef g(): return lock\ndef fit(): return g()", "variable 'lock' used by g (which fit uses)"),
        ("def make(lock):\n    def fit(): return lock\n    return fit\nfit = make(threading.Lock())", "variable 'lock' used by fit"),
        ("def fit(x, lock=threading.Lock(), y=1): pass", "default of argument 'lock' of fit"),
        ("def fit(*, lock=threading.Lock()): pass", "default of argument 'lock' of fit"),
        ("def fit(): pass\nfit.lock = threading.Lock()", "attribute 'lock' of fit"),
        ("lock = threading.Lock()\nclass C:\n    def m(self): return lock\ndef fit(): return C().m()",
         "variable 'lock' used by C.m (which fit uses)"),
        ("lock = threading.Lock()\nfs = [lambda: lock]\ndef fit(): return fs", "variable 'lock' used by <lambda> (which fit uses)"),
    ],
)  # fmt: skip
def test_the_variable_at_fault_is_named(nb, source, what):
    """What cannot travel is named by where the code finds it, with the pickler's reason."""
    nb.run("import threading\n" + source)
    with pytest.raises(NotPicklable) as caught:
        FunctionImage(nb.fit).snapshot()
    assert caught.value.what == what
    assert "_thread.lock" in caught.value.reason


def test_after_an_error_the_next_snapshot_looks_again(nb, run):
    """Once the variable is mended, the same image works."""
    nb["lock"] = threading.Lock()
    nb.run("def fit(): return lock")
    image = FunctionImage(nb.fit)
    with pytest.raises(NotPicklable):
        image.snapshot()
    nb["lock"] = 5
    assert run(image) == 5
    nb["lock"] = [threading.Lock()]
    with pytest.raises(NotPicklable):
        image.snapshot()
    nb["lock"] = [6]
    assert run(image) == [6]


@pytest.mark.parametrize(
    "source",
    [
        "future = make()\ndef fit(): return future",
        "futures = [[make()]]\ndef fit(): return futures",
        "def fit(x=make()): return x",
        "def fit(*, x=make()): return x",
        "def g(future=make()): return future\ndef fit(): return g()",
    ],
)
def test_captured_futures_are_refused(nb, source):
    """A future that is captured instead of passed is refused with the fix."""
    nb["make"] = Future
    nb.run(source)
    with pytest.raises(NotPicklable, match="pass it as an argument") as caught:
        FunctionImage(nb.fit).snapshot()
    assert caught.value.type_name == "Future"


def test_heavy_captures_warn_once_by_name(nb):
    """A captured value that may change and takes more than 1 MB warns, once, with its name; stable ones do not."""
    nb["table"], nb["text"] = np.zeros(300_000), "x" * 3_000_000
    nb.run("small = [1]\ndef f(): return table, text, small")
    image = FunctionImage(nb.f)
    with pytest.warns(ShoalWarning, match=r"variable 'table' used by f takes 2\.4 MB") as caught:
        image.snapshot()
    assert [warning.filename for warning in caught] == [__file__]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        image.snapshot()
        nb.run("table[0] = 1")
        image.snapshot()


def test_growing_captures_warn_when_they_become_heavy(nb):
    """A value that was small at first is warned about when it has grown."""
    nb.run("items = []\ndef f(): return items")
    image = FunctionImage(nb.f)
    image.snapshot()
    nb["items"].append(bytes(2_000_000))
    with pytest.warns(ShoalWarning, match="'items'"):
        image.snapshot()


def test_snapshots_from_many_threads(nb, rebuild):
    """Concurrent submissions each see a state that existed."""
    nb.run("items = [0]\ndef f(): return items")
    image = FunctionImage(nb.f)
    image.snapshot()
    seen: list[list[int]] = []

    def submit() -> None:
        for i in range(50):
            nb["items"] = [i]
            snapshot = image.snapshot()
            seen.append(rebuild(snapshot, Rebuilder())())

    threads = [threading.Thread(target=submit) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(seen) == 200
    assert {len(items) for items in seen} == {1}


def test_code_blobs_are_kept_up_to_the_limit(nb):
    """A worker keeps the code that it used last, and says which it has."""
    rebuilder = Rebuilder(limit=2)
    snapshots = []
    for i in range(3):
        nb.run(f"def f(): return {i}")
        snapshots.append(FunctionImage(nb.f).snapshot())
    for snapshot in snapshots[:2]:
        rebuilder.add(snapshot.code, memoryview(snapshot.code_blob))
        rebuilder.function(snapshot.code, b"")
    assert rebuilder.function(snapshots[0].code, b"")() == 0
    rebuilder.add(snapshots[2].code, snapshots[2].code_blob)
    assert rebuilder.function(snapshots[2].code, b"")() == 2
    assert [rebuilder.has(snapshot.code) for snapshot in snapshots] == [True, False, True]
    with pytest.raises(KeyError):
        rebuilder.function(snapshots[1].code, b"")


def test_missing_modules_surface_as_they_are(nb, rebuild):
    """A worker that lacks a module says so, each time, and works once the module is there."""
    import sys
    import types

    sys.modules["shoal_test_only"] = module = types.ModuleType("shoal_test_only")
    try:
        nb.run("import shoal_test_only\ndef f(): return shoal_test_only.x")
        module.x = 3
        snapshot = FunctionImage(nb.f).snapshot()
        del sys.modules["shoal_test_only"]
        rebuilder = Rebuilder()
        for _ in range(2):
            with pytest.raises(ModuleNotFoundError, match="shoal_test_only"):
                rebuild(snapshot, rebuilder)
        sys.modules["shoal_test_only"] = module
        assert rebuild(snapshot, rebuilder)() == 3
    finally:
        sys.modules.pop("shoal_test_only", None)


def test_code_of_another_python_is_refused(nb, monkeypatch):
    """Code objects do not travel between versions of Python: the error names both."""
    from shoal.errors import VersionMismatch

    nb.run("def f(): pass")
    snapshot = FunctionImage(nb.f).snapshot()
    rebuilder = Rebuilder()
    rebuilder.add(snapshot.code, snapshot.code_blob.replace(b"cpython-3", b"cpython-9"))
    with pytest.raises(VersionMismatch, match="cpython-9"):
        rebuilder.function(snapshot.code, b"")


def test_large_captures_of_finished_tasks_are_collected(nb, rebuild, monkeypatch):
    """Namespaces are cycles; those of finished tasks do not pile up when they hold much."""
    monkeypatch.setattr("shoal.serialize.rebuild._COLLECT_AFTER", 1000)
    nb.run(
        "import weakref\nclass Big:\n    def __init__(self): self.data = bytes(900)\nbig = Big()\ndef f(): return weakref.ref(big)"
    )
    snapshot = FunctionImage(nb.f).snapshot()
    rebuilder = Rebuilder()
    gc.disable()
    try:
        refs = [rebuild(snapshot, rebuilder)() for _ in range(6)]
        assert sum(ref() is not None for ref in refs) <= 2
    finally:
        gc.enable()
