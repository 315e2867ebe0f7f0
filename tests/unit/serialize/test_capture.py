"""Which functions work on a worker, and that they see what the notebook holds at the moment of submission."""

from __future__ import annotations

import functools
import marshal
import math
import operator

import numpy as np
import pytest

from shoal.serialize import FunctionImage, Rebuilder


def test_globals_closures_and_helpers(nb, run):
    """A function finds its globals, its closure, and helpers of helpers."""
    nb.run(
        "n, word = 3, 'x'\n"
        "def deeper(x): return x * n\n"
        "def helper(x): return deeper(x) + 1\n"
        "def make(k):\n    def f(x): return helper(x) + k, word\n    return f\n"
        "f = make(100)"
    )
    assert run(nb.f, 2) == (107, "x")


def test_what_was_rebound_is_seen(nb, run, rebuild):
    """Rebinding a global, a helper or a default shows at the next submission, not before."""
    nb.run("n = 1\ndef helper(): return 'old'\ndef f(d=1): return n, helper(), d")
    image = FunctionImage(nb.f)
    before = image.snapshot()
    nb.run("n = 2\ndef helper(): return 'new'\nf.__defaults__ = (5,)")
    assert rebuild(before)() == (1, "old", 1)
    assert run(image) == (2, "new", 5)


def test_what_was_mutated_is_seen(nb, run):
    """A list, a dict, an array, an instance and a class attribute that were changed in place are sent as they are now."""
    nb.run(
        "import numpy as np\nclass C:\n    k = 1\n"
        "items, table, values, obj = [1], {}, np.zeros(3), C()\n"
        "def f(): return items, table, values.sum(), vars(obj), C.k, obj.k"
    )
    image = FunctionImage(nb.f)
    assert run(image) == ([1], {}, 0, {}, 1, 1)
    nb.run("items.append(2); table['a'] = items; values[:] = 1; obj.v = 7; C.k = 2")
    assert run(image) == ([1, 2], {"a": [1, 2]}, 3, {"v": 7}, 2, 2)


def test_the_cell_of_a_closure_is_followed(nb, run):
    """A variable of an enclosing function that changes later is seen as it is now."""
    nb.run(
        "def counter():\n    n = 0\n    def bump():\n        nonlocal n\n        n += 1\n        return n\n"
        "    def get(): return n\n    return bump, get\nbump, get = counter()"
    )
    image = FunctionImage(nb["get"])
    assert run(image) == 0
    nb.bump()
    assert run(image) == 1


def test_functions_that_share_a_cell_share_it_on_the_worker(nb, run):
    """What one inner function does to a shared variable, the other sees."""
    nb.run(
        "def counter():\n    n = 0\n    def bump():\n        nonlocal n\n        n += 1\n"
        "    def get(): return n\n    return bump, get\nbump, get = counter()\n"
        "pair = [bump]\ndef f():\n    bump(); pair[0]()\n    return get()"
    )
    image = FunctionImage(nb.f)
    assert run(image) == 2
    assert run(image) == 2
    assert nb["get"]() == 0


def test_functions_of_one_namespace_share_it_on_the_worker(nb, run):
    """``global`` works: a helper, a method and a function in a list write and read the same names."""
    nb.run(
        "total = 0\n"
        "def add(x):\n    global total\n    total += x\n"
        "class Adder:\n    def add(self, x):\n        global total\n        total += x\n"
        "more = [lambda x: add(x * 10)]\n"
        "def f():\n    add(1); Adder().add(2); more[0](3)\n    return total"
    )
    image = FunctionImage(nb.f)
    assert run(image) == 33
    assert run(image) == 33  # a second task begins anew
    assert nb.total == 0


def test_no_task_sees_another(nb, rebuild):
    """Globals, lists, function attributes, defaults, cells and classes that a task changes are whole for the next."""
    nb.run(
        "items, n = [], 0\n"
        "class C:\n    seen = []\n    k = 0\n"
        "def make():\n    inner = []\n    def g(x, d=[]):\n        inner.append(x); d.append(x); g.note.append(x)\n"
        "        return len(inner), len(d), len(g.note)\n    g.note = []\n    return g\ng = make()\n"
        "def f(x):\n    global n\n    n += 1; items.append(x); C.seen.append(x); C.k += 1; C.extra = 1\n"
        "    return n, items, C.seen, C.k, g(x), len(vars(C))"
    )
    snapshot = FunctionImage(nb.f).snapshot()
    rebuilder = Rebuilder()
    results = [rebuild(snapshot, rebuilder)(5) for _ in range(3)]
    assert results[0][:5] == (1, [5], [5], 1, (1, 1, 1))
    assert results[1] == results[2] == results[0]
    assert not hasattr(nb.C, "extra")


def test_names_that_a_task_makes_are_its_own(nb, rebuild):
    """A global name, or a cell, that a task fills is empty again for the next."""
    nb.run(
        "def make():\n    def f():\n        nonlocal later\n        global made\n        seen = 'made' in globals()\n"
        "        try: return later, seen\n        except NameError: return 'unbound', seen\n        finally: later = made = 1\n"
        "    if False: later = 1\n    return f\nf = make()"
    )
    snapshot = FunctionImage(nb.f).snapshot()
    rebuilder = Rebuilder()
    assert [rebuild(snapshot, rebuilder)() for _ in range(3)] == [("unbound", False)] * 3


def test_recursion(nb, run):
    """A function may call itself, and two may call each other."""
    nb.run(
        "def fact(n): return 1 if n < 2 else n * fact(n - 1)\n"
        "def even(n): return n == 0 or odd(n - 1)\ndef odd(n): return n != 0 and even(n - 1)\n"
        "def local():\n    def down(n): return 0 if n == 0 else down(n - 1)\n    return down\ndown = local()"
    )
    assert run(nb.fact, 10) == 3628800
    assert run(nb.even, 10) is True
    assert run(nb.down, 10) == 0


def test_names_that_are_missing_stay_missing(nb, run):
    """A name without a value raises NameError on the worker too, until it gets one; so does an empty cell."""
    nb.run(
        "def late():\n    def f():\n        try: return later\n        except NameError: return 'unbound'\n"
        "    if False: later = 1\n    return f\nempty = late()\n"
        "def f():\n    try: return undefined, len('ab')\n    except NameError as error: return str(error)"
    )
    image = FunctionImage(nb.f)
    assert run(image) == "name 'undefined' is not defined"
    assert run(nb.empty) == "unbound"
    nb.run("undefined = 1\nlen = lambda x: 'mine'")
    assert run(image) == (1, "mine")
    nb.run("del undefined, len")
    assert run(image) == "name 'undefined' is not defined"


def test_kinds_of_functions(nb, run):
    """Lambdas, comprehensions, generators, coroutines, nested functions, decorated ones, classes in functions."""
    nb.run(
        "import functools\nn = 2\ndef helper(x): return x * n\n"
        "lam = lambda x: [helper(y) + n for y in range(x)]\n"
        "def gen(x):\n    for i in range(x): yield helper(i)\n"
        "async def coro(x): return helper(x)\n"
        "def outer(x):\n    def inner(): return helper(x), n\n    return inner()\n"
        "def body(x):\n    class K:\n        a = helper(x)\n        b = [n for _ in range(2)]\n        n = n\n"
        "        def m(self): return self.a + n\n    return K.a, K.b, K.n, K().m()\n"
        "def deco(f):\n    @functools.wraps(f)\n    def wrapper(*args):\n        return ('wrapped', f(*args), n)\n    return wrapper\n"
        "@deco\ndef decorated(x):\n    'says'\n    return helper(x)\n"
        "def attributes():\n    return decorated.__doc__, decorated.__name__, decorated.__wrapped__(4)"
    )
    assert run(nb.lam, 3) == [2, 4, 6]
    assert list(run(nb.gen, 3)) == [0, 2, 4]
    with pytest.raises(StopIteration) as stop:
        run(nb.coro, 3).send(None)
    assert stop.value.value == 6
    assert run(nb.outer, 3) == (6, 2)
    assert run(nb.body, 3) == (6, [2, 2], 2, 8)
    assert run(nb.decorated, 3) == ("wrapped", 6, 2)
    assert run(nb.attributes) == ("says", "decorated", 8)


def test_class_bodies_do_not_capture_their_own_names(nb):
    """A name that a class body binds itself is not taken from the notebook."""
    nb.run(
        "import threading\ndata = threading.Lock()\ndef f():\n    class K:\n        data = 1\n        more = data\n    return K.more"
    )
    assert FunctionImage(nb.f).snapshot().captures_blob == b""


def test_importable_functions_travel_by_name(run, rebuild):
    """Functions, classes and builtins of modules need no code."""
    for function, args in [(math.sqrt, (4,)), (np.sin, (0,)), (operator.add, (1, 2)), (str.upper, ("a",)), (dict, ()),
                           (functools.reduce, (operator.add, [1, 2])), (np.linalg.norm, ([3, 4],))]:  # fmt: skip
        snapshot = FunctionImage(function).snapshot()
        assert snapshot.captures_blob == b""
        assert rebuild(snapshot) is function
        assert run(function, *args) == function(*args)


def test_other_callables(nb, run):
    """Partials, bound methods, instances with ``__call__``, classes and cached functions of notebooks run."""
    nb.run(
        "import functools\nn = 2\ndef g(x, y=1): return x * n + y\n"
        "class C:\n    def __init__(self, k=5): self.k = k\n    def m(self, x): return self.k + g(x)\n"
        "    def __call__(self, x): return self.m(x) * 10\n    @classmethod\n    def make(cls, k): return cls(k).k\n"
        "part, obj = functools.partial(g, y=3), C(7)\nbound, made = obj.m, C.make\n"
        "@functools.lru_cache\ndef fib(i): return i if i < n else fib(i - 1) + fib(i - 2)"
    )
    images = {name: FunctionImage(nb[name]) for name in ("part", "bound", "obj", "C", "made", "fib")}
    assert run(images["part"], 1) == 5
    assert run(images["bound"], 1) == 10
    assert run(images["obj"], 1) == 100
    assert run(images["C"], 4).k == 4
    assert run(images["made"], 9) == 9
    assert run(images["fib"], 20) == 6765
    nb.run("n = 3; obj.k = 0")
    assert run(images["part"], 1) == 6
    assert run(images["bound"], 1) == 4


def test_function_attributes_of_every_kind(nb, run):
    """Name, doc, annotations, keyword defaults, attributes and a replaced code object travel and are followed."""
    nb.run(
        "def f(x: int = 1, *, k: 'str' = 'k', m=[1]) -> list[int]:\n    'doc'\n    return x, k, m\n"
        "def seen():\n    return (f.__name__, f.__qualname__, f.__doc__, f.__annotations__, f.__kwdefaults__, vars(f), f(), f.__module__)\n"
        "def other(x=1, *, k=2, m=3): return 'other'"
    )
    image = FunctionImage(nb.seen)

    def expected():
        return (nb.f.__name__, nb.f.__qualname__, nb.f.__doc__, nb.f.__annotations__, nb.f.__kwdefaults__, vars(nb.f),
                nb.f(), nb.f.__module__)  # fmt: skip

    assert run(image) == expected()
    for change in ("f.__kwdefaults__['new'] = 1", "f.__dict__ = {}", "f.__dict__ = {'a': 1}", "f.__dict__ = {'a': 2}", "f.__annotations__['new'] = 1",
                   "f.__annotations__ = dict.fromkeys(f.__annotations__, 1)", "f.__defaults__ = (9,)", "f.__name__ = 'n'", "f.__qualname__ = 'q.n'", "f.__doc__ = None", "f.__annotations__['x'] = float",
                   "f.__kwdefaults__['m'].append(2)", "f.__kwdefaults__ = {'k': 1, 'm': 2}", "f.note = [1]", "f.note.append(2)",
                   "f.__code__ = other.__code__", "f.__module__ = 'elsewhere'", "del f.note", "f.__doc__ = 'new'"):  # fmt: skip
        nb.run(change)
        assert run(image) == expected(), change
    assert list(run(image)[3]) == list(nb.f.__annotations__)


def test_submodules_that_are_reached_by_attribute_are_imported(nb, monkeypatch, rebuild):
    """``import package.module`` in the notebook binds the package; the worker imports the module as well."""
    import sys
    import xml.dom.minidom

    nb.run("import xml.dom.minidom\ndef f(): return xml.dom.minidom.Document().toxml()")
    snapshot = FunctionImage(nb.f).snapshot()
    document = xml.dom.minidom
    for name in ("xml.dom.minidom", "xml.dom"):
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delattr("xml.dom")
    assert rebuild(snapshot)().startswith("<?xml")
    assert sys.modules["xml.dom.minidom"] is not document


def test_a_module_that_is_imported_later_is_noticed(nb, monkeypatch):
    """Importing a submodule after the first submission changes the snapshot, for the code may reach it."""
    import sys

    for name in ("xml.sax.saxutils", "xml.sax"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    nb.run("import xml\ndef f(): return xml.sax")
    image = FunctionImage(nb.f)
    before = image.snapshot()
    nb.run("import xml.sax")
    after = image.snapshot()
    assert len(after.code_blob) == len(before.code_blob) + len(marshal.dumps("xml.sax", 2))


def test_values_that_need_code_while_they_are_unpickled(nb, run):
    """Keys with a ``__hash__`` of the notebook find the globals that it uses before the dict is filled."""
    nb.run(
        "import math\nsalt, factors = [1], {'k': 3}\n"
        "def mix(x): return x * factors['k'] + len(salt)\n"
        "class Key:\n    def __init__(self, x): self.x = x\n    def __hash__(self): return mix(math.floor(self.x))\n"
        "    def __eq__(self, other): return self.x == other.x\n"
        "class Built:\n    def __init__(self, x): self.x = x\n    def __reduce__(self): return (build, (self.x,))\n"
        "def build(x): return Built(mix(x))\n"
        "table, built = {Key(1.5): 'a', Key(2.5): 'b'}, [Built(2)]\n"
        "def f(): return table[Key(1.5)], table[Key(2.5)], built[0].x"
    )
    assert run(nb.f) == ("a", "b", 7)


def test_functions_in_containers_are_the_same_functions(nb, run):
    """A helper that is reached by name and through containers is one function on the worker."""
    nb.run(
        "def g(): return n\nn = 1\nclass C:\n    def m(self): return g\n"
        "table, pair, nest = {'g': g}, (g, 1), [[(g,)]]\n"
        "def f(d=g):\n    return table['g'] is g, pair[0] is g, nest[0][0][0] is g, d is g, C().m() is g, f.__globals__['f'] is f"
    )
    assert run(nb.f) == (True,) * 6


def test_shared_values_stay_shared(nb, run):
    """Two names for one list are two names for one list on the worker, wherever they stand."""
    nb.run(
        "a = [1]; b = a; t = (a, 2)\ndef make():\n    inner = a\n    def g(d=a): return inner, d\n    return g\ng = make()\n"
        "def f():\n    inner, d = g()\n    return a is b, t[0] is a, inner is a, d is a"
    )
    assert run(nb.f) == (True,) * 4


def test_importable_things_may_stand_anywhere(nb, run):
    """Modules, ufuncs and types travel by name in defaults, cells, attributes and containers too."""
    nb.run(
        "import math, numpy as np\ndef make():\n    m = math\n    def f(x=np.sin, *, k=np.float64): return m.floor(2.5), x(0.0), k(1), f.u(1), t[0].pi\n"
        "    f.u = np.cos\n    return f\nf, t = make(), [math, np]"
    )
    assert run(nb.f)[:3] == (2, 0.0, 1.0)


def test_functions_of_other_namespaces(nb, run):
    """A function from another place that cannot be imported brings a namespace of its own."""
    nb.run("n = 'notebook'\ndef f(): return n, g()")
    elsewhere = {"__name__": "elsewhere", "n": "elsewhere"}
    exec("def g(): return n, __name__", elsewhere)
    nb["g"] = elsewhere["g"]
    assert run(nb.f) == ("notebook", ("elsewhere", "elsewhere"))


def test_the_name_of_the_namespace(nb, run):
    """Code of a notebook runs in ``__main__``, as at home."""
    nb.run("def f(): return __name__, f.__module__")
    assert run(nb.f) == ("__main__", "__main__")


def test_reading_a_function_does_not_change_it(nb):
    """Taking a snapshot leaves the notebook's functions as they are."""
    nb.run("class C:\n    def m(self): return 1\nitems = [C()]\ndef f(): return items")
    before = nb.C.m, nb.C.m.__globals__, dict(vars(nb.f))
    FunctionImage(nb.f).snapshot()
    assert (nb.C.m, nb.C.m.__globals__, dict(vars(nb.f))) == before
    assert nb.C.m.__globals__ is nb
