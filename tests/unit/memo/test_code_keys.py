"""Keys see the code: an edit that could matter changes them, a comment does not."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from shoal.errors import NotMemoizable
from shoal.serialize import modules as local_modules

BASE = """
import math
FACTOR = 2

def helper(x):
    return x * FACTOR

def f(a, b=1):
    if a:
        return helper(a) + math.sqrt(b)
    return [helper(i) for i in range(b)]
"""

SAME = {
    "a comment": BASE.replace("    if a:", "    # why\n    if a:  # so"),
    "blank lines": BASE.replace("\n", "\n\n"),
    "formatting": BASE.replace("helper(a) + math.sqrt(b)", "(\n            helper( a )\n            + math.sqrt(b)\n        )"),
    "a docstring": BASE.replace("    if a:", '    """It does."""\n    if a:'),
    "a docstring of the helper": BASE.replace("    return x *", '    "It does."\n    return x *'),
    "elsewhere in the cell": BASE + "\ndef other(): pass\n",
    "a decorator that changes nothing": BASE.replace("def f", "def same(g): return g\n@same\ndef f"),
    "where the helper stands": BASE.replace("import math\n", "import math\n\n\n\nUNUSED = 3\n"),
}  # fmt: skip

OTHER = {
    "the body": BASE.replace("helper(a) +", "helper(a) -"),
    "a constant": BASE.replace("range(b)", "range(b + 1)"),
    "a default": BASE.replace("b=1", "b=2"),
    "the helper": BASE.replace("x * FACTOR", "x + FACTOR"),
    "a captured value": BASE.replace("FACTOR = 2", "FACTOR = 3"),
    "its type": BASE.replace("FACTOR = 2", "FACTOR = 2.0"),
    "what is imported": BASE.replace("import math", "import cmath as math"),
    "the helper's name": BASE.replace("helper", "assist"),
    "a text that is no docstring": BASE.replace("    if a:", "    if a == 'text':"),
}


@pytest.fixture(params=["with source", "without source"])
def known(request: pytest.FixtureRequest) -> bool:
    """Whether the source of cells can be found."""
    return bool(request.param == "with source")


def key_after(source: str, notebooks: Any, key: Any, known: bool) -> bytes:
    notebook = notebooks()
    notebook.run(source, known)
    found: bytes = key(notebook.f, 1)
    return found


@pytest.mark.parametrize("what", SAME)
def test_an_edit_that_cannot_matter_keeps_the_key(what: str, notebooks: Any, key: Any) -> None:
    """Comments, blank lines, formatting, docstrings, what stands beside it."""
    assert key_after(SAME[what], notebooks, key, True) == key_after(BASE, notebooks, key, True)


@pytest.mark.parametrize("what", sorted(set(SAME) - {"formatting"}))
def test_so_it_does_without_source(what: str, notebooks: Any, key: Any) -> None:
    """By bytecode, which formatting may change."""
    assert key_after(SAME[what], notebooks, key, False) == key_after(BASE, notebooks, key, False)


@pytest.mark.parametrize("what", OTHER)
def test_an_edit_that_may_matter_changes_the_key(what: str, notebooks: Any, key: Any, known: bool) -> None:
    """In the function, in what it calls, in what it captures."""
    assert key_after(OTHER[what], notebooks, key, known) != key_after(BASE, notebooks, key, known)


def test_edits_in_one_session_are_seen(nb: Any, key: Any) -> None:
    """The same function object, after its helper or a variable was bound anew; and back again."""
    nb.run(BASE)
    first = key(nb.f, 1)
    assert key(nb.f, 1) == first
    nb.run("FACTOR = 3")
    second = key(nb.f, 1)
    nb.run("def helper(x): return x")
    third = key(nb.f, 1)
    nb.run("FACTOR = 2\ndef helper(x):\n    # as before\n    return x * FACTOR")
    assert len({first, second, third}) == 3
    assert key(nb.f, 1) == first


def test_a_captured_value_that_changes_in_place_is_seen(nb: Any, key: Any) -> None:
    """A list, an array, an object, a dict in a list that a helper reads."""
    nb.run(
        "import numpy as np\nITEMS = [{'a': [1]}]\nARRAY = np.zeros(3)\n"
        "def helper(): return ITEMS\ndef f(x): return helper(), ARRAY"
    )
    seen = {key(nb.f, 1)}
    nb.run("ITEMS[0]['a'].append(2)")
    seen.add(key(nb.f, 1))
    nb.run("ARRAY[1] = 5")
    seen.add(key(nb.f, 1))
    assert len(seen) == 3
    nb.run("ARRAY[1] = 0; ITEMS[0]['a'].pop()")
    assert key(nb.f, 1) in seen


def test_closures_and_defaults_count_by_content(nb: Any, key: Any) -> None:
    """Two closures of one function differ by what they closed over."""
    nb.run(
        "def make(n):\n    def inner(x): return x + n\n    return inner\n"
        "one, two, other = make([1]), make([1]), make([2])\n"
        "def with_default(x, y=[1]): return x\ndef keyword(x, *, y=3): return x"
    )
    assert key(nb.one, 1) == key(nb.two, 1) != key(nb.other, 1)
    before = key(nb.with_default, 1, 2)
    nb.with_default.__defaults__[0].append(1)
    assert key(nb.with_default, 1, 2) != before
    before = key(nb.keyword, 1)
    nb.keyword.__kwdefaults__ = {"y": 4}
    assert key(nb.keyword, 1) != before


def test_functions_that_call_each_other_have_keys(nb: Any, key: Any) -> None:
    """Recursion, mutual recursion, a table of handlers that know the table; an edit of any is seen."""
    text = (
        "def even(n): return n == 0 or odd(n - 1)\ndef odd(n): return n != 0 and even(n - 1)\n"
        "HANDLERS = {}\ndef handle(f):\n    HANDLERS[f.__name__] = f\n    return f\n"
        + "".join(f"@handle\ndef h{n}(x): return HANDLERS['h{(n + 1) % 8}'](x - 1) if x else {n}\n" for n in range(8))
    )
    nb.run(text)
    first = key(nb.even, 4), key(nb.h0, 3)
    nb.run(text.replace("n != 0", "n >= 1").replace("else 5", "else 50"))
    second = key(nb.even, 4), key(nb.h0, 3)
    assert first[0] != second[0]
    assert first[1] != second[1]
    nb.run(text)
    assert (key(nb.even, 4), key(nb.h0, 3)) == first


CLASSES = """
SCALE = 2
class Base:
    def area(self): return 0
class Shape(Base):
    sides = 4
    def __init__(self, a): super().__init__(); self.a = a
    def area(self): return self.a * SCALE
    @property
    def half(self): return self.a / 2
    @staticmethod
    def make(): return Shape(1)
    @classmethod
    def also(cls): return cls(2)
def f(x=None): return Shape(3).area()
def g(shape): return shape.area()
"""


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("self.a * SCALE", "self.a + SCALE"),
        ("SCALE = 2", "SCALE = 3"),
        ("sides = 4", "sides = 5"),
        ("return 0", "return 1"),
        ("self.a / 2", "self.a / 3"),
        ("Shape(1)", "Shape(11)"),
        ("cls(2)", "cls(22)"),
        ("Shape(Base)", "Shape"),
    ],
)
def test_classes_count_by_their_code(notebooks: Any, key: Any, old: str, new: str) -> None:
    """In functions that use them, and as the class of an argument; a comment in them does not matter."""
    one, same, other = notebooks(), notebooks(), notebooks()
    one.run(CLASSES)
    same.run(CLASSES.replace("    sides", "    # four\n\n    sides"))
    other.run(CLASSES.replace(old, new))
    assert key(one.f) == key(same.f) != key(other.f)
    assert key(one.g, one.Shape(1)) == key(same.g, same.Shape(1)) != key(other.g, other.Shape(1))
    assert key(one.g, one.Shape(1)) != key(one.g, one.Shape(2))


def test_dataclasses_and_enums_of_notebooks_count_by_their_code(notebooks: Any, key: Any) -> None:
    """The same cell run again gives the same keys."""
    text = (
        "import enum\nfrom dataclasses import dataclass, field\n@dataclass(order=True)\nclass P:\n    x: int\n"
        "    y: list = field(default_factory=list)\nclass Kind(enum.Enum):\n    A = 1\n    B = 'two'\ndef f(p, k): return p, k"
    )
    one, same, other = notebooks(), notebooks(), notebooks()
    one.run(text)
    same.run(text)
    other.run(text.replace("'two'", "'three'"))
    assert key(one.f, one.P(1), one.Kind.A) == key(same.f, same.P(1), same.Kind.A)
    assert key(one.f, one.P(1), one.Kind.A) != key(one.f, one.P(1), one.Kind.B)
    assert key(one.f, one.P(1), one.Kind.A) != key(other.f, other.P(1), other.Kind.A)
    assert key(one.f, one.P(1, [1]), one.Kind.A) != key(one.f, one.P(1), one.Kind.A)


def test_apps_that_call_apps_count_by_the_code_of_both(notebooks: Any, key: Any) -> None:
    """An app stands for its function."""
    text = "import shoal\n@shoal.python_app\ndef inner(x): return x + 1\n@shoal.python_app\ndef f(x): return inner(x)\n"
    one, same, other = notebooks(), notebooks(), notebooks()
    one.run(text)
    same.run(text + "# more\n")
    other.run(text.replace("x + 1", "x + 2"))
    keys = [key(book.f.__shoal_function__, 1) for book in (one, same, other)]
    assert keys[0] == keys[1] != keys[2]


def test_source_that_is_not_that_of_the_code_is_not_believed(nb: Any, key: Any) -> None:
    """A file that was edited after it was loaded says nothing about the code that runs."""
    import linecache

    nb.run("def f(x): return x + 1")
    file = nb.f.__code__.co_filename
    text = "def f(x): return x + 2\n"
    linecache.cache[file] = (len(text), None, [text], file)
    edited = key(nb.f, 1)
    nb.run("def f(x): return x + 2")
    assert key(nb.f, 1) != edited


def test_two_lambdas_on_a_line_differ(nb: Any, key: Any) -> None:
    """Though they stand at the same place."""
    nb.run("f, g, h = lambda x: x + 1, lambda x: x + 2, lambda x: x + 1")
    assert key(nb.f, 1) == key(nb.h, 1) != key(nb.g, 1)


def test_other_callables_have_keys(nb: Any, key: Any) -> None:
    """Partials, methods, instances, library functions: by what they consist of."""
    import functools
    import math

    nb.run(
        "class C:\n    def __init__(self, n): self.n = n\n    def __call__(self, x): return x + self.n\n    def m(self): ..."
    )
    calls: list[Callable[..., Any]] = [
        functools.partial(pow, 2), functools.partial(pow, 3), nb.C(1), nb.C(2), nb.C(1).m, nb.C(2).m, math.sin, math.cos, len,
    ]  # fmt: skip
    keys = [key(call, 1) for call in calls]
    assert len(set(keys)) == len(keys)
    assert key(nb.C(1), 1) == keys[2]
    assert key(functools.partial(pow, 2), 1) == keys[0]


def test_a_captured_variable_without_digest_is_named(nb: Any, key: Any) -> None:
    """With the function that uses it."""
    nb.run("import threading\nlock = threading.Lock()\ndef helper(): return lock\ndef f(x): return helper()")
    with pytest.raises(NotMemoizable, match="variable 'lock' used by helper"):
        key(nb.f, 1)


def test_wrappers_of_installed_packages_do_not_drag_their_modules_in(nb: Any, key: Any) -> None:
    """A function that a library made around a notebook function counts by the library's version and what it closed over."""
    nb.run("import contextlib\n@contextlib.contextmanager\ndef f(x):\n    yield x\nn = 1\ndef g(x): return n")
    before = key(nb.f, 1)
    nb.run("@contextlib.contextmanager\ndef f(x):\n    yield x + 1")
    assert key(nb.f, 1) != before


def test_a_namespace_that_is_no_module_counts_by_what_it_holds(key: Any) -> None:
    """Whatever its name: that of a script that was run, of a module that was made from its file, of an installed one."""
    for name in ("<run_path>", "not_registered", "math", "numpy"):
        space: dict[str, Any] = {"__name__": name, "FACTOR": 2}
        exec("def f(x): return x * FACTOR", space)
        before = key(space["f"], 1)
        space["FACTOR"] = 3
        assert key(space["f"], 1) != before, name


def test_what_a_metaclass_in_c_keeps_of_a_class_counts(notebooks: Any, key: Any) -> None:
    """The defaults of a struct, which are not in its ``__dict__``."""
    text = "import msgspec\nclass S(msgspec.Struct):\n    a: int\n    b: int = 2\ndef f(x): return S(x)"
    one, same, other = notebooks(), notebooks(), notebooks()
    one.run(text)
    same.run(text)
    other.run(text.replace("= 2", "= 3"))
    assert key(one.f, 1) == key(same.f, 1) != key(other.f, 1)


def test_calling_a_generic_function_does_not_change_its_key(nb: Any, key: Any) -> None:
    """What ``singledispatch`` remembers is no part of it; an implementation that is registered is."""
    nb.run(
        "from functools import singledispatch, singledispatchmethod\n@singledispatch\ndef g(x): return 1\n"
        "class C:\n    @singledispatchmethod\n    def m(self, x): return 1\ndef f(x): return g(x), C().m(x)"
    )
    before = key(nb.f, 1), key(nb.g, 1)
    nb.f(1)
    assert (key(nb.f, 1), key(nb.g, 1)) == before
    nb.run("@g.register\ndef _(x: int): return 2")
    assert not {key(nb.f, 1), key(nb.g, 1)} & set(before)


# --------------------------------------------------------------------------- modules beside the notebook


@pytest.fixture
def beside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., ModuleType]]:
    """Writes a module beside the notebook, and loads it (anew)."""
    monkeypatch.setattr(local_modules, "roots", lambda: [tmp_path])
    monkeypatch.syspath_prepend(str(tmp_path))
    written = set()

    def write(name: str, text: str, load: bool = True) -> ModuleType | None:
        importlib.invalidate_caches()
        written.add(name)
        path = tmp_path / f"{name}.py"
        path.write_text(text)
        sys.dont_write_bytecode, before = True, sys.dont_write_bytecode
        try:
            if not load:
                return None
            return importlib.reload(sys.modules[name]) if name in sys.modules else importlib.import_module(name)
        finally:
            sys.dont_write_bytecode = before

    yield write  # type: ignore[misc]
    for name in written:
        sys.modules.pop(name, None)


def test_an_edited_module_beside_the_notebook_changes_keys_once_it_is_loaded_anew(
    beside: Any, nb: Any, key: Any
) -> None:
    """A comment in it does not; that a module it imports was edited does."""
    beside("memo_deep_mod", "LIMIT = 3\n")
    beside("memo_side_mod", "import memo_deep_mod\ndef g(x): return x + memo_deep_mod.LIMIT\nclass K: pass\n")
    nb.run(
        "import memo_side_mod\nfrom memo_side_mod import g\ndef f(x): return g(x)\ndef h(x): return memo_side_mod.g(x)"
    )
    first = key(nb.f, 1), key(nb.h, 1), key(nb.f, nb.memo_side_mod.K())
    beside(
        "memo_side_mod",
        "import memo_deep_mod\n# comment\n\ndef g(x):\n    'doc'\n    return x + memo_deep_mod.LIMIT\nclass K: pass\n",
    )
    nb.run("from memo_side_mod import g")
    assert (key(nb.f, 1), key(nb.h, 1), key(nb.f, nb.memo_side_mod.K())) == first
    beside("memo_deep_mod", "LIMIT = 4\n")
    second = key(nb.f, 1), key(nb.h, 1), key(nb.f, nb.memo_side_mod.K())
    assert not set(first) & set(second)
    beside("memo_side_mod", "import memo_deep_mod\ndef g(x): return x\nclass K: pass\n")
    nb.run("from memo_side_mod import g")
    third = key(nb.f, 1), key(nb.h, 1), key(nb.f, nb.memo_side_mod.K())
    assert not set(third) & {*first, *second}


def test_a_module_that_is_imported_while_the_function_runs_counts(beside: Any, nb: Any, key: Any) -> None:
    """Though it was never loaded here."""
    beside("memo_late_mod", "X = 1\n", load=False)
    nb.run("def f(x):\n    import memo_late_mod\n    return memo_late_mod.X")
    first = key(nb.f, 1)
    assert key(nb.f, 1) == first
    beside("memo_late_mod", "X = 2\n")
    assert key(nb.f, 1) != first


def test_a_submodule_that_is_reached_through_its_package_counts(beside: Any, nb: Any, key: Any, tmp_path: Path) -> None:
    """``import package.part`` in a cell, and ``package.part.g()`` in the function."""
    (tmp_path / "memo_package").mkdir()
    beside("memo_package/__init__", "", load=False)
    beside("memo_package/part", "def g(x): return 1\n", load=False)
    try:
        nb.run("import memo_package.part\ndef f(x): return memo_package.part.g(x)")
        before = key(nb.f, 1)
        beside("memo_package/part", "def g(x): return 20\n", load=False)
        importlib.reload(nb.memo_package.part)
        assert key(nb.f, 1) != before
    finally:
        for name in ("memo_package", "memo_package.part"):
            sys.modules.pop(name, None)


def test_code_that_is_loaded_counts_where_its_file_was_edited_since(beside: Any, nb: Any, key: Any) -> None:
    """Before it was looked at for the first time: on threads it is what runs."""
    text = (
        "import functools\nclass K:\n    itself = None\n    @staticmethod\n    def h(x): return 1\n    @property\n"
        "    def p(self): return 1\nK.itself = K\n@functools.lru_cache\ndef g(x): return 1\n"
    )
    keys = []
    for number, old in enumerate(("h(x): return 1", "p(self): return 1", "g(x): return 1")):
        name = f"memo_edited_{number}"
        beside(name, text)
        beside(name, text.replace(old, old.replace("1", "22")), load=False)
        nb.run(f"import {name}\ndef f(x): return {name}.g(x)")
        keys.append(key(nb.f, 1))
        importlib.reload(getattr(nb, name))
        keys.append(key(nb.f, 1))
    assert len(set(keys)) == len(keys)
    beside("memo_broken", "def g(x): return 1\n")
    beside("memo_broken", "return\n", load=False)
    nb.run("import memo_broken\ndef f(x): return memo_broken.g(x)")
    assert key(nb.f, 1) == key(nb.f, 1)


def test_new_code_that_was_put_into_a_loaded_module_counts(
    beside: Any, nb: Any, key: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """As IPython's autoreload does it; in a module beside the notebook, and in an editable install."""
    monkeypatch.setattr(local_modules, "MOMENT", 0.0)
    for name, roots in (("memo_auto_local", [tmp_path]), ("memo_auto_editable", [])):
        monkeypatch.setattr(local_modules, "roots", lambda roots=roots: roots)
        beside(name, "def g(x): return 1\n")
        nb.run(f"import {name} as m\ndef f(x): return m.g(x)")
        before = key(nb.f, 1)
        beside(name, "def g(x): return 22\n", load=False)
        assert key(nb.f, 1) == before
        nb.run("def g(x): return 22\nm.g.__code__ = g.__code__")
        assert key(nb.f, 1) != before


def test_a_function_of_a_module_is_an_app_of_its_own_each_time_it_is_loaded(beside: Any, nb: Any, key: Any) -> None:
    """Where the app's function is found by name, and no code of the notebook stands between."""
    beside("memo_direct", "def g(x): return 1\n")
    before = key(sys.modules["memo_direct"].g, 1)
    beside("memo_direct", "def g(x): return 22\n")
    assert key(sys.modules["memo_direct"].g, 1) != before


def test_a_module_without_a_file_is_refused(nb: Any, key: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is in it cannot be told; of what belongs to an installed package, the version tells."""
    module = ModuleType("memo_made_here")
    exec("def g(x): return 1", module.__dict__)
    monkeypatch.setitem(sys.modules, "memo_made_here", module)
    nb.run("import memo_made_here\ndef f(x): return memo_made_here.g(x)")
    with pytest.raises(NotMemoizable, match="memo_made_here has no file"):
        key(nb.f, 1)
    monkeypatch.setitem(sys.modules, "numpy.memo_made_here", ModuleType("numpy.memo_made_here"))
    nb.run("import sys\nmade = sys.modules['numpy.memo_made_here']\ndef f(x): return made.g(x)")
    assert key(nb.f, 1) == key(nb.f, 1)
