"""The capture rule as a property: whatever a notebook does between submissions, a task sees what a fresh pickle shows."""

from __future__ import annotations

import pickle
import re
import uuid
from typing import Any

import cloudpickle
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from shoal.serialize import FunctionImage, Rebuilder

SETUP = """
import functools, math, cmath

class C:
    k = 1
    shared = []
    def __init__(self, v=0):
        self.v = v
    def m(self, x=2):
        return (self.v, self.k, x, a)
    def __hash__(self):
        return hash((self.v, math.floor(3.5), salt))
    def __eq__(self, other):
        return self.v == other.v
    @property
    def p(self):
        return g(self.v)
    @classmethod
    def make(cls):
        return cls(7)
    @staticmethod
    def st(x):
        return (x, b)

class D(C):
    def m(self, x=3):
        return ("D", super().m(x))

class S:
    k: int = 1
    one: "str" = "s"
    def m(self, x=2):
        return (self.k, x, salt)
    @property
    def p(self):
        return s_helper(self.k)
    @staticmethod
    def st(x=1):
        return x

class T(S):
    def m(self, x=3):
        return ("T", super().m(x))

def s_helper(x, *, q=1):
    return (x, q, math.floor(2.5))
def factory(start):
    count = start
    late = None
    def bump():
        nonlocal count
        count = count + 1 if isinstance(count, int) else 0
        return count
    def get():
        return (count, a, late)
    def turn(x):
        return turn(x - 1) + 1 if x > 0 else count
    def learn(value):
        nonlocal late
        late = value
    return bump, get, turn, learn

def g(x, y=1, *, z=[0]):
    return ("g", x, y, z, a)
def h(x):
    return ("h", g(x), b)
def even(n):
    return True if n == 0 else odd(n - 1)
def odd(n):
    return False if n == 0 else even(n - 1)
def deco(function):
    @functools.wraps(function)
    def wrapper(*args):
        return ("deco", function(*args), wrapper.calls)
    wrapper.calls = []
    return wrapper
@deco
def wrapped(x):
    "doc"
    return (x, c)
def show(value):
    if isinstance(value, (list, tuple)):
        return [type(value).__name__, *map(show, value)]
    if isinstance(value, dict):
        return ["dict", *[(show(k), show(v)) for k, v in value.items()]]
    if isinstance(value, (set, frozenset)):
        return [type(value).__name__, *sorted(map(repr, map(show, value)))]
    if value is None or isinstance(value, (bool, int, float, str, bytes, complex)):
        return repr(value)
    if isinstance(value, type):
        return "class " + value.__name__ + repr(sorted(k for k in vars(value) if not k.startswith("_")))
    if type(value).__module__ == "__main__":
        return [type(value).__name__, show(vars(value))]
    if hasattr(value, "__qualname__"):
        return "callable " + value.__qualname__
    return type(value).__name__
def attempt(function):
    try:
        return show(function())
    except Exception as error:
        return (type(error).__name__, str(error).partition(" object at 0x")[0])
salt = 1
a = b = c = 1
bump, get, turn, learn = factory(0)
fs = [lambda x: (x, a)]
table = {"g": g}
obj = C(3)
keyed = {C(1): "one"}
part = functools.partial(g, 5)
bound = obj.m
pair = (g, 2)
"""

EXPRESSIONS = [
    "a", "b", "c", "a is b", "g(1)", "h(2)", "C(4).m()", "C.k", "C.shared", "C.extra", "C(2).p", "C.make().m()", "C.st(1)",
    "D(1).m()", "D.k", "obj", "obj.m()", "type(obj) is C", "isinstance(obj, C)", "keyed[C(1)]", "keyed",
    "[q(3) for q in fs]", "table", "table['g'](1)", "table['g'] is g", "get()", "turn(3)", "even(4)",
    "wrapped(2)", "wrapped.__wrapped__(3)", "wrapped.__doc__", "part(6)", "bound()", "bound.__self__ is obj", "pair[0](pair[1])",
    "len('xyz')", "missing", "math.floor(2.5)", "d", "k", "g.note", "g.__name__", "g.__doc__", "g.__defaults__",
    "sorted(g.__kwdefaults__)", "g.__annotations__", "f.__name__", "[v for v in [a] if v is a]", "(lambda: (b, c))()",
    "bump.__closure__[0].cell_contents", "a.append(5) or a", "table.update(z=1) or table", "setattr(C, 'extra', 9)",
    "list(y for y in (a, b))", "__name__", "salt", "S().m()", "S.k", "T().m()", "T().p", "S.st()", "S.__name__", "S.__annotations__",
    "sorted(k for k in vars(S) if k[:2] != '__')", "[B.__name__ for B in T.__bases__]", "s_helper(1)", "s_helper.__name__",
    "sorted(vars(s_helper))", "sorted(s_helper.__annotations__)", "sorted(s_helper.__kwdefaults__ or ())", "s_helper.__doc__",
]  # fmt: skip

ATOMS = st.one_of(
    st.none(), st.booleans(), st.integers(-3, 300), st.sampled_from([1.5, "x", "yy", b"z", ...]), st.just(10**20)
)
VALUES = st.recursive(
    ATOMS.map(repr),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(lambda items: f"[{', '.join(items)}]"),
        st.lists(inner, max_size=3).map(lambda items: f"({''.join(item + ', ' for item in items)})"),
        st.lists(inner, max_size=2).map(lambda items: "{" + ", ".join(f"{i}: {v}" for i, v in enumerate(items)) + "}"),
    ),
    max_leaves=4,
)
SPECIAL = st.sampled_from(
    ["g", "h", "C", "D", "obj", "math", "cmath", "math.floor", "len", "a", "b", "c", "fs", "table", "pair", "C(9)", "D(8)",
     "(g, h)", "[g, a]", "(math, a)", "frozenset({1, 'q'})", "{1, 2}", "lambda *x: (x, b)", "int", "get", "bound", "part",
     "functools.partial(h)", "{'fn': lambda: a}", "list[int]", "range(3)", "str.upper", "wrapped", "C.m", "obj.m"]
)  # fmt: skip
ANY = st.one_of(VALUES, SPECIAL)
NAMES = st.sampled_from(["a", "b", "c", "salt", "missing", "len", "fs", "table", "pair", "obj", "part", "bound", "k"])

FUNCTIONS = [
    "def g(x, y=1, *, z=[0]):\n    return ('g', x, y, z, a)",
    "def g(x, y=(2, [3])):\n    'doc'\n    return ('g2', x, y, b)",
    "def g(x: int, y: 'str' = None) -> list[int]:\n    return ('g3', x, len('ab'))",
    "g = lambda x, *rest: ('lambda', x, rest, c)",
    "def g(x):\n    global side\n    side = x\n    return (side, math.floor(1.5))",
    "def g(x):\n    class K:\n        v = x\n    return (K.v, [a for _ in range(2)])",
    "def h(x):\n    return ('h2', g(x), obj.m())",
    "def h(x):\n    yield_ = (i for i in (x, a))\n    return list(yield_)",
    "def h(x):\n    return x if x < 1 else h(x - 1)",
    "class C(C):\n    k = 2",
    """class C:
    k = 5
    shared = [1]
    def __init__(self, v=0):
        self.v = v
    def m(self, x=1):
        return ('new', self.v, b)
    def __hash__(self):
        return 1
    def __eq__(self, o):
        return True
""",
    "class D(C):\n    def m(self, x=3):\n        return ('D2', super().m(x))",
    "bump, get, turn, learn = factory(a)",
    "@deco\ndef wrapped(x):\n    return (x, b)",
    "def odd(n):\n    return (n, a)",
    "keyed = {C(1): a, C(2): g}",
]

STEPS = [
    "C.k += 1", "C.k = [C.k]", "C.extra = a", "del C.extra", "C.m = h", "C.shared.append(1)", "D.k = 6", "C.lam = lambda s: a",
    "obj.v = b", "obj.w = obj", "obj = C(2)", "obj = D(5)", "obj.v.append(4)",
    "fs.append(lambda x: (x, b, salt))", "fs.append(g)", "fs.clear()", "fs.append(fs)", "fs[0] = get",
    "table['x'] = a", "table['g'] = h", "table.clear()", "table['m'] = obj.m", "table['self'] = table",
    "bump()", "learn(a)", "learn(g)", "learn(get)", "learn([1])",
    "g.__defaults__ = (4,)", "g.__defaults__ = None", "g.__defaults__ = ([a], b)", "g.__kwdefaults__['z'] = a",
    "g.__kwdefaults__['z'].append(1)", "g.__kwdefaults__ = None", "g.__kwdefaults__ = {'z': b}", "g.note = a", "del g.note",
    "g.note = g", "g.__name__ = 'other'", "g.__doc__ = 'new'", "g.__code__ = h.__code__", "g.__dict__ = {'note': 3}",
    "g.__annotations__['x'] = C", "g.__annotations__ = {}", "g.__qualname__ = 'q.g'",
    "wrapped.calls.append(1)", "wrapped.calls = a", "f.__defaults__ = (a,)", "f.__kwdefaults__ = {'k': b}",
    "part = functools.partial(h, 1)", "part.note = 1", "bound = obj.m", "keyed[C(4)] = 1", "pair = (h, 3)", "pair = ([g], 1)",
    "a = b", "b = a", "c = [a, b]", "a = (a, g)", "a.append(1)", "b.append(a)", "a[0] = 9", "a.update(q=1)",
    "del a", "del b", "del g", "del C", "del len", "del missing", "del math", "import math", "math = cmath", "del salt",
    "salt = 'x'", "side = 3", "S.k = 5", "S.k = 500", "S.k += 1", "S.m = lambda self, x=1: x", "S.st.__defaults__ = (8,)", "S.extra = 1", "del S.extra",
    "S.__name__ = 'R'", "S.__annotations__['k'] = str", "S.__annotations__['n'] = 1", "T.__bases__ = (C,)", "T.__bases__ = (S,)",
    "S.p = property(lambda self: salt)", "S.st = staticmethod(lambda: 2)", "S.items = [1]", "S.items.append(2)", "S.me = S",
    "s_helper.__kwdefaults__['r'] = 1", "s_helper.__kwdefaults__ = {'q': 2}", "s_helper.__dict__ = {'u': 1}", "s_helper.u = 2", "s_helper.v = 2",
    "s_helper.__annotations__['x'] = int", "s_helper.__annotations__ = {'y': 1}", "s_helper.__name__ = 'renamed'", "s_helper.__doc__ = 'd'",
]  # fmt: skip


def fresh(function: Any) -> bytes:
    """A fresh pickle, in which classes are not those that this process knows already."""
    data = cloudpickle.dumps(function)
    renamed: dict[bytes, bytes] = {}
    return re.sub(
        rb"(?<![0-9a-f])[0-9a-f]{32}(?![0-9a-f])", lambda m: renamed.setdefault(m[0], uuid.uuid4().hex.encode()), data
    )


class NotebookMachine(RuleBasedStateMachine):
    """Runs cells at random, and compares tasks with fresh pickles all the while."""

    def __init__(self) -> None:
        super().__init__()
        self.space: dict[str, Any] = {"__name__": "__main__", "__builtins__": __builtins__}
        self.images: list[FunctionImage] = []
        self.rebuilder = Rebuilder(limit=4)

    def run(self, source: str) -> None:
        try:
            exec(compile(source, "<cell>", "exec"), self.space)
        except Exception:  # a cell that fails is part of a notebook's life
            pass

    @initialize(expressions=st.lists(st.sampled_from(EXPRESSIONS), min_size=1, max_size=6, unique=True), default=ANY)
    def begin(self, expressions: list[str], default: str) -> None:
        self.run(SETUP)
        self.define(expressions, default)
        for text in expressions:  # what captures one thing may be quick about it
            self.define([text], "1")
        self.define(EXPRESSIONS, default)

    @rule(expressions=st.lists(st.sampled_from(EXPRESSIONS), min_size=1, max_size=6, unique=True), default=ANY)
    @precondition(lambda self: len(self.images) < 8)
    def define(self, expressions: list[str], default: str) -> None:
        """Run the cell that defines the app: a new function, so a new image."""
        body = ", ".join(f"attempt(lambda: {text})" for text in expressions)
        self.run(f"def f(d=({default},), *, k=3):\n    return [{body}]")
        if "f" in self.space:
            self.images.append(FunctionImage(self.space["f"], "f"))

    @rule(name=NAMES, value=ANY)
    def rebind(self, name: str, value: str) -> None:
        self.run(f"{name} = {value}")

    @rule(source=st.sampled_from(FUNCTIONS))
    def redefine(self, source: str) -> None:
        self.run(source)

    @rule(source=st.sampled_from(STEPS))
    def step(self, source: str) -> None:
        self.run(source)

    @invariant()
    def a_task_sees_what_a_fresh_pickle_shows(self) -> None:
        for image in self.images:
            try:
                reference = pickle.loads(fresh(image.function))
            except Exception:
                continue  # what cannot travel by cloudpickle is no reference
            expected = reference()
            snapshot = image.snapshot()
            assert image.snapshot() is snapshot
            self.rebuilder.add(snapshot.code, snapshot.code_blob)
            for _ in range(2):  # the second task sees nothing of the first
                seen = self.rebuilder.function(snapshot.code, snapshot.captures_blob)()
                assert seen == expected
            assert image.snapshot() is snapshot


TestNotebooks = NotebookMachine.TestCase
TestNotebooks.settings = settings(
    max_examples=40,
    stateful_step_count=20,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    phases=(Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink),
    print_blob=False,
)
