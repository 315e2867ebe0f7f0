"""The name analysis of cells, as a table: the text of a cell, and what must be found in it."""

from __future__ import annotations

import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shoal_kernel.analysis.names import analyse

SETS = [
    "reads",
    "writes",
    "maybe",
    "deletes",
    "item_writes",
    "mutators",
    "method_calls",
    "passed",
    "imports",
    "functions",
    "classes",
    "free",
    "builtins",
]

# cell, then the sets that must be found, each as words; sets left out must be empty, but those of LOOSE
LOOSE = {"builtins", "passed", "method_calls", "maybe"}
CASES: list[tuple[str, dict[str, str]]] = [
    # --- assignment
    ("x = 1", {"writes": "x"}),
    ("x = y", {"reads": "y", "writes": "x"}),
    ("x += 1", {"reads": "x", "writes": "x"}),
    ("x = 1\nx += 1", {"writes": "x"}),
    ("x: int = y", {"reads": "y", "writes": "x"}),
    ("x: T", {"reads": "T"}),
    ("from __future__ import annotations\nx: T = 1", {"writes": "x"}),
    ("a, (b, *c) = z", {"reads": "z", "writes": "a b c"}),
    ("a = b = c", {"reads": "c", "writes": "a b"}),
    ("x = x + 1", {"reads": "x", "writes": "x"}),
    ("print(n := 10, n)", {"writes": "n"}),
    ("a and (n := a)", {"reads": "a", "writes": "n", "maybe": "n"}),
    ("a or (n := 1)\nn", {"reads": "a n", "writes": "n", "maybe": "n"}),
    # --- items and attributes
    ("df['a'] = 1", {"reads": "df", "item_writes": "df"}),
    ("df['a'] += d", {"reads": "df d", "item_writes": "df"}),
    ("obj.n = 3", {"reads": "obj", "item_writes": "obj"}),
    ("obj.n.m[0].k = v", {"reads": "obj v", "item_writes": "obj"}),
    ("del d['k']", {"reads": "d", "item_writes": "d"}),
    ("df = make()\ndf['a'] = 1", {"reads": "make", "writes": "df", "item_writes": "df"}),
    ("a[i], b = 1, 2", {"reads": "a i", "writes": "b", "item_writes": "a"}),
    ("for d['k'] in xs: pass", {"reads": "d xs", "item_writes": "d"}),
    # --- calls
    ("lst.append(v)", {"reads": "lst v", "mutators": "lst", "passed": "v"}),
    ("lst[0].items.append(v)", {"reads": "lst v", "mutators": "lst", "passed": "v"}),
    ("model.fit(X, y)", {"reads": "model X y", "mutators": "model", "passed": "X y"}),
    ("x.mean()", {"reads": "x", "method_calls": "x"}),
    ("f(x, *xs, k=y)", {"reads": "f x xs y", "passed": "x xs y"}),
    ("len(x)", {"reads": "x", "passed": ""}),
    ("print(x.shape)", {"reads": "x", "passed": ""}),
    ("df.drop(columns=c, inplace=True)", {"reads": "df c", "mutators": "df", "method_calls": "df"}),
    ("df.drop(columns=c, inplace=False)", {"reads": "df c", "method_calls": "df"}),
    ("np.dot(a, b, out=a)", {"reads": "np a b", "mutators": "a", "passed": "a b"}),
    ("random.shuffle(deck)", {"reads": "random deck", "mutators": "random deck"}),
    ("setattr(o, 'k', 1)", {"reads": "o", "mutators": "o"}),
    ("next(it)", {"reads": "it", "mutators": "it"}),
    # --- aliases
    ("y = x\ny.append(1)", {"reads": "x", "writes": "y", "mutators": "x y"}),
    ("y = x[0].rows\ny['k'] = 1", {"reads": "x", "writes": "y", "item_writes": "x y"}),
    ("y = x\ny = []\ny.append(1)", {"reads": "x", "writes": "y", "mutators": "y"}),
    ("y = x.copy()\ny[0] = 1", {"reads": "x", "writes": "y", "item_writes": "y", "method_calls": "x"}),
    ("for row in rows: row['k'] = 1", {"reads": "rows", "writes": "row", "item_writes": "row rows"}),
    ("for i, row in enumerate(rows): row.k = i", {"reads": "rows", "writes": "i row", "item_writes": "row rows"}),
    ("y = x if c else z\ny.add(1)", {"reads": "x c z", "writes": "y", "mutators": "x y z"}),
    ("y = x\ny += [1]", {"reads": "x", "writes": "y", "item_writes": "x"}),
    ("for i in 1, 2:\n  y.append(i)\n  y = x", {"reads": "y x", "writes": "i y", "mutators": "x y"}),
    # --- branches
    ("if c: x = 1\nelse: x = 2\nx", {"reads": "c", "writes": "x", "maybe": ""}),
    ("if c: x = 1\nx", {"reads": "c x", "writes": "x", "maybe": "x"}),
    ("if c: raise E\nelse: x = 2\nx", {"reads": "c E", "writes": "x", "maybe": ""}),
    ("if c:\n  def q(): return 1\nq()", {"reads": "c q", "writes": "q", "functions": "q"}),
    ("for i in range(3): t = i\nt", {"reads": "t", "writes": "i t", "maybe": "i t"}),
    ("while go: go = step(go)", {"reads": "go step", "writes": "go"}),
    ("while a: x = 1\nelse: y = 2", {"reads": "a", "writes": "x y"}),
    ("z = a if (b := c) else b", {"reads": "a c", "writes": "b z", "maybe": ""}),
    ("assert ok, why", {"reads": "ok why"}),
    ("0 < a < (n := b)", {"reads": "a b", "writes": "n", "maybe": "n"}),
    # --- try
    ("try: x = f()\nexcept E as e: print(e)\nx", {"reads": "f E x", "writes": "x", "deletes": "e"}),
    ("try: x = f()\nexcept E: raise\nx", {"reads": "f E", "writes": "x", "maybe": ""}),
    ("try: x = 1\nfinally: print(x)", {"reads": "x", "writes": "x", "maybe": ""}),
    ("e = 1\ntry: pass\nexcept E as e: pass", {"reads": "E", "writes": "e", "deletes": "e"}),
    ("try: pass\nexcept* E as g: print(g)", {"reads": "E", "deletes": "g"}),
    ("with suppress(E): x = f()\nx", {"reads": "suppress E f x", "writes": "x", "maybe": "x"}),
    ("with open(p) as f: d = f.read()\nd", {"reads": "p", "writes": "d f", "mutators": "f", "maybe": ""}),
    ("with a as (b, c), d as e: pass", {"reads": "a d", "writes": "b c e"}),
    # --- comprehensions
    ("r = [i for i in xs]", {"reads": "xs", "writes": "r"}),
    ("r = [i * k for i in xs if i > m]", {"reads": "xs k m", "writes": "r"}),
    ("r = [j for i in i for j in i]", {"reads": "i", "writes": "r"}),
    ("any((hit := n) > 3 for n in xs)\nhit", {"reads": "xs hit", "writes": "hit", "maybe": "hit"}),
    ("{k: v for k, v in d.items()}", {"reads": "d", "method_calls": "d"}),
    ("i = 1\nr = {i for i in range(i)}", {"writes": "i r"}),
    # --- functions
    ("def f(a, b=d): return a + b + g", {"reads": "d", "writes": "f", "functions": "f", "free": "g"}),
    ("def f(): return g\nf()", {"reads": "g", "writes": "f", "functions": "f", "free": "g"}),
    ("g = 1\ndef f(): return g\nf()", {"writes": "f g", "functions": "f"}),
    (
        "def f(): return h(x)\ndef h(v): return v + y\ny = 3\nf()",
        {"reads": "x", "writes": "f h y", "functions": "f h", "free": "x", "passed": "x"},
    ),
    ("def f():\n  global c\n  c += 1", {"writes": "f", "functions": "f", "free": "c"}),
    ("def f():\n  global c\n  c += 1\nf()", {"reads": "c", "writes": "f c", "functions": "f", "free": "c"}),
    (
        "def f():\n  n = 0\n  def g():\n    nonlocal n\n    n += k\n  return g",
        {"writes": "f", "functions": "f", "free": "k"},
    ),
    (
        "def add(v): seen.append(v)\nadd(1)",
        {"reads": "seen", "writes": "add", "functions": "add", "free": "seen", "mutators": "seen"},
    ),
    ("@app\ndef f(x: T) -> R: return x + k", {"reads": "app T R k", "writes": "f", "functions": "f", "free": "k"}),
    ("f = lambda a=d: a + z", {"reads": "d z", "writes": "f"}),
    ("xs.sort(key=lambda r: r[k])", {"reads": "xs k", "mutators": "xs"}),
    ("def f(x):\n  x.append(1)\n  x = 2\n  return [x for x in x]", {"writes": "f", "functions": "f"}),
    ("async def f(): await g()", {"writes": "f", "functions": "f", "free": "g"}),
    ("def f():\n  import os\n  return os.getcwd()", {"writes": "f", "functions": "f"}),
    # --- classes
    ("class A(B, metaclass=M):\n  n = m\n  k = n", {"reads": "B M m", "writes": "A", "classes": "A"}),
    ("class A:\n  n = 1\n  def f(self): return n", {"writes": "A", "classes": "A", "free": "n"}),
    ("class A:\n  n = 1\n  r = [n for _ in xs]", {"reads": "xs n", "writes": "A", "classes": "A"}),
    ("class A:\n  def f(self): return g\nA().f()", {"reads": "g", "writes": "A", "classes": "A", "free": "g"}),
    ("class A:\n  x = x", {"reads": "x", "writes": "A", "classes": "A"}),
    # --- imports, del, match, text
    ("import numpy as np, os.path", {"writes": "np os", "imports": "np os"}),
    ("from a.b import c as d, e", {"writes": "d e", "imports": "d e"}),
    ("del big", {"writes": "big", "deletes": "big"}),
    ("x = 1\ndel x", {"writes": "x", "deletes": "x"}),
    ("del x\nx = 1", {"writes": "x"}),
    ("del (a, b), c", {"writes": "a b c", "deletes": "a b c"}),
    ("del (a, [b, (c,)]), d.e", {"reads": "d", "writes": "a b c", "deletes": "a b c", "item_writes": "d"}),
    ("if c: del a", {"reads": "c", "writes": "a", "deletes": "a"}),
    ("@seen.append\ndef f(): pass", {"reads": "seen", "writes": "f", "functions": "f", "mutators": "seen"}),
    ("@app.get('/')\nclass A: pass", {"reads": "app", "writes": "A", "classes": "A", "method_calls": "app"}),
    ("np.add.at(a, i, 1)", {"reads": "np a i", "mutators": "a"}),
    ("dir(x)", {"reads": "x", "passed": "x"}),
    (
        "match p:\n  case Point(x=0, y=yy): r = yy\n  case [a, *b]: r = b\n  case {'k': v, **rest}: r = v",
        {"reads": "p Point", "writes": "yy a b v rest r"},
    ),
    ("match p:\n  case 1: r = 1\n  case other: r = other\nr", {"reads": "p", "writes": "r other", "maybe": "other"}),
    ("match p:\n  case {'rows': rs}: rs.append(1)", {"reads": "p", "writes": "rs", "mutators": "rs p"}),
    ("f'{a!r:{w}} {b}'", {"reads": "a w b"}),
    ("print(__name__, max(1, 2), None)", {"builtins": "__name__ max print"}),
    ("async with a as b: await c", {"reads": "a c", "writes": "b"}),
    ("x[i:j, ...]", {"reads": "x i j"}),
]
if sys.version_info >= (3, 12):
    CASES += [
        ("type V[T] = list[T] | W", {"writes": "V"}),
        ("def f[T](x: T) -> U: return x", {"reads": "U", "writes": "f", "functions": "f"}),
        ("class A[T](B[T]): y: T", {"reads": "B", "writes": "A", "classes": "A"}),
        ("f'{f\"{a}\"}'", {"reads": "a"}),
    ]


@pytest.mark.parametrize(("cell", "expected"), CASES, ids=[cell.replace("\n", "; ") for cell, _ in CASES])
def test_cell(cell: str, expected: dict[str, str]) -> None:
    """Each name of the cell is found under what happens to it, and under nothing else."""
    names = analyse(cell)
    for kind in SETS:
        if kind in expected:
            assert getattr(names, kind) == frozenset(expected[kind].split()), kind
        elif kind not in LOOSE:
            assert getattr(names, kind) == frozenset(), kind


@pytest.mark.parametrize(
    ("cell", "kind", "text"),
    [
        ("from m import *", "star import", "m"),
        ("a = 1\nexec('b = a')", "reflection", "exec()"),
        ("globals()['x'] = 1", "reflection", "globals()"),
        ("'x' in dir()", "reflection", "dir()"),
        ("import __main__", "reflection", "import __main__"),
        ("import sys\nsys.modules[__name__].x = 1", "reflection", "sys.modules"),
        ("f.__globals__['x'] = 1", "reflection", "__globals__"),
        ("import sys\nsys._getframe().f_globals", "reflection", "f_globals"),
        ("get_ipython().run_line_magic('time', '')", "magic", "get_ipython"),
    ],
)
def test_what_hides_names_is_noted(cell: str, kind: str, text: str) -> None:
    """Text that binds or reads names behind the analysis is said, with its line."""
    (note,) = analyse(cell).notes
    assert (note.kind, note.text) == (kind, text)
    assert note.line == len(cell.splitlines())


def test_vars_of_an_object_hides_nothing() -> None:
    """``vars(x)`` only looks at one object."""
    assert analyse("vars(x)").notes == ()


@pytest.mark.parametrize("cell", ["await z", "async for a in b: pass", "r = [x async for x in y]"])
def test_top_level_await_is_seen(cell: str) -> None:
    """A cell that awaits at its top level is marked, one that only defines a coroutine is not."""
    assert analyse(cell).is_async
    assert not analyse("async def f():\n    await z").is_async


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        ("for i in xs: t = i\nt", "i t"),
        ("for i in xs:\n  if i: t = i\nt", "i"),
        ("if c: t = 1\nt", ""),
        ("while go(): t = 1", "t"),
        ("for i in xs: total += i", "i"),
    ],
)
def test_what_only_an_empty_loop_would_read_is_told_apart(cell: str, expected: str) -> None:
    """Names whose prior value matters only if a loop runs not at all."""
    names = analyse(cell)
    assert names.if_loop_is_empty == frozenset(expected.split())
    assert names.if_loop_is_empty <= names.reads | names.maybe


def test_loop_variables_are_told_apart() -> None:
    """Names that only a ``for`` binds, not those that are assigned as well."""
    assert analyse("for i, (j, k) in xs: k = i\nfor n in ys: pass").counters == {"i", "j", "n"}


def test_lines_point_at_the_first_load() -> None:
    """Each name that is read carries the line that loads it first."""
    assert analyse("a = 1\nb = c\nd = c + e").lines == {"c": 2, "e": 3}


def test_text_that_is_not_python_is_refused() -> None:
    """A syntax error stays one."""
    with pytest.raises(SyntaxError):
        analyse("x = = 1")


def test_deep_nests_stay_fast() -> None:
    """Twelve loops inside each other are walked in linear time, near enough."""
    cell = "".join("  " * depth + f"for i{depth} in xs:\n" for depth in range(12)) + "  " * 12 + "x = 1"
    assert "x" in analyse(cell).writes


_NAMES = st.sampled_from("abcd")
_EXPRESSIONS = st.recursive(
    _NAMES | st.integers(0, 3).map(str),
    lambda inner: (
        st.tuples(inner, inner).map(lambda two: f"({two[0]} + {two[1]})")
        | st.tuples(_NAMES, inner).map(lambda two: f"({two[0]} := {two[1]})")
        | st.tuples(inner, inner, inner).map(lambda three: f"({three[0]} if {three[1]} else {three[2]})")
    ),
    max_leaves=4,
)


@st.composite
def _programs(draw: st.DrawFn, depth: int = 0) -> str:
    lines: list[str] = []
    pad = "    " * depth
    for _ in range(draw(st.integers(1, 4))):
        kind = draw(st.sampled_from(["set", "add", "if", "for", "def", "del"] if depth < 2 else ["set", "add"]))
        name, value = draw(_NAMES), draw(_EXPRESSIONS)
        if kind == "set":
            lines.append(f"{pad}{name} = {value}")
        elif kind == "add":
            lines.append(f"{pad}{name} += {value}")
        elif kind == "del":
            lines.append(f"{pad}{name} = {value}\n{pad}del {name}")
        elif kind == "if":
            other = draw(_programs(depth=depth + 1))
            lines.append(f"{pad}if {value}:\n{draw(_programs(depth=depth + 1))}\n{pad}else:\n{other}")
        elif kind == "for":
            lines.append(f"{pad}for {name} in range(2):\n{draw(_programs(depth=depth + 1))}")
        else:
            body = f"{pad}    return {draw(_NAMES)} + {draw(_NAMES)}"
            lines.append(f"{pad}def f():\n{body}\n{pad}{name} = f()")
    return "\n".join(lines)


class _Spy(dict[str, object]):
    """A notebook namespace that records which of its first names are looked up, and which names are set."""

    def __init__(self, first: dict[str, object]) -> None:
        super().__init__(first)
        self.old = set(first)
        self.read: set[str] = set()
        self.set: set[str] = set()

    def __getitem__(self, name: str) -> object:
        if name in self.old:
            self.read.add(name)
        return super().__getitem__(name)

    def __setitem__(self, name: str, value: object) -> None:
        self.old.discard(name)
        self.set.add(name)
        super().__setitem__(name, value)

    def __delitem__(self, name: str) -> None:
        self.old.discard(name)
        self.set.add(name)
        super().__delitem__(name)


@settings(max_examples=300, deadline=None)
@given(_programs())
def test_a_run_touches_nothing_that_was_not_found(program: str) -> None:
    """Random programs, really run: what they look up and set is in what the analysis found (never too little)."""
    names = analyse(program)
    spy = _Spy({name: position for position, name in enumerate("abcd")})
    try:
        exec(compile(program, "<cell>", "exec"), spy)
    except (NameError, UnboundLocalError):
        return  # a name deleted and then used: the run says nothing
    assert spy.read - {"__builtins__"} <= names.reads
    assert spy.set <= names.writes
