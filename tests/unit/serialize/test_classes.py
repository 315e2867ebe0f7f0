"""Classes of notebooks: by value, and never overwritten where they are known."""

from __future__ import annotations

import gc
import weakref

from shoal.serialize import FunctionImage, Rebuilder, pack, pack_call, unpack, unpack_call
from shoal.serialize.reducers import forget_classes

CELL = """
import abc, dataclasses, enum, typing
n = 1
class Model:
    k = 1
    def __init__(self, v=0): self.v = v
    def get(self): return (self.v, self.k, n)
class Fast(Model):
    __slots__ = ()
    def get(self): return ('fast', *super().get())
@dataclasses.dataclass
class Point:
    x: int
    y: list = dataclasses.field(default_factory=list)
    def norm(self): return self.x * n
class Shape(abc.ABC):
    @abc.abstractmethod
    def area(self): ...
class Square(Shape):
    def area(self): return n
class Colour(enum.Enum):
    RED = 1
    BLUE = 2
    @property
    def low(self): return self.name.lower()
class Row(typing.NamedTuple):
    a: int
    b: str = 'b'
class Box(typing.Generic[typing.TypeVar('T')]):
    def __init__(self, item): self.item = item
class Meta(type):
    def __call__(cls, *args): return super().__call__(*args)
class Made(metaclass=Meta):
    pass
class Failed(Exception):
    pass
"""


def test_classes_of_every_kind_work_on_the_worker(nb, run):
    """Plain, slotted, data, abstract, enumerated, named, generic and metaclassed classes run with all they need."""
    nb.run(
        CELL + "def f():\n"
        "    return (Model(2).get(), Fast(3).get(), Point(4).norm(), Point(1) == Point(1), Square().area(), Colour.RED.low,\n"
        "            Colour(2).name, Row(1), Box(5).item, type(Made()).__name__, issubclass(Square, Shape), Colour.RED is Colour(1))"
    )
    image = FunctionImage(nb.f)
    assert run(image) == nb.f()
    nb.run("n = 7; Model.k = 9")
    assert run(image) == nb.f()


def test_classes_without_mutable_parts_are_followed(nb, run):
    """A class of functions and constants is not pickled at each submission, and every change of it is noticed all the same."""
    nb.run(
        "n = 1\nclass Base:\n    def low(self): return 'low'\nclass Other:\n    def low(self): return 'other'\n"
        "class C(Base):\n    'doc'\n    k: int = 1000\n    one: 'str' = 'a'\n    def m(self): return self.k + n\n    @property\n    def p(self): return n\n"
        "    @staticmethod\n    def s(x=1): return x\n    @classmethod\n    def c(cls): return cls.__name__\n"
        "def look():\n    c = C()\n    return (c.m(), c.p, c.s(), c.c(), c.low(), C.__doc__, C.__qualname__, C.__annotations__, C.__bases__[0].__name__,\n"
        "            sorted(k for k in vars(C) if not k.startswith('__')))\n"
    )
    image = FunctionImage(nb.look)
    first = image.snapshot()
    assert image.snapshot() is first
    for change in ("C.k = 2000", "C.k = 3000", "n = 5", "C.m = lambda self: 'new'", "C.m.__defaults__ = (1,)", "C.extra = 1", "del C.extra", "C.__name__ = 'D'",
                   "C.__qualname__ = 'E'", "C.p = property(lambda self: 'p')", "C.s.__defaults__ = (7,)", "Base.low = lambda self: 'lower'",
                   "C.__annotations__['k'] = str", "C.__annotations__['new'] = 1", "C.__bases__ = (Other,)", "C.a = C.k; del C.k; C.k = C.a",
                   "C.me = C", "C.items = [1]", "C.items.append(2)", "C.items = (3,)", "C.s = 5; C.s = staticmethod(lambda: 6)"):  # fmt: skip
        nb.run(change)
        assert run(image) == nb.look(), change
        assert image.snapshot() is image.snapshot()
    assert image.snapshot().code != first.code


def test_slots_stay_slots(nb, run):
    """A class with slots has them on the worker: no other attribute, no dict."""
    nb.run(
        "import dataclasses\n@dataclasses.dataclass(slots=True)\nclass Row:\n    a: int\nclass Low:\n    __slots__ = ('x', '__y')\n    def __init__(self): self.__y = 5\n"
        "class High(Low):\n    __slots__ = 'z'\n    def y(self): return self._Low__y\n"
        "one = High(); one.x = 1\n"
        "def f():\n    row = Row(3)\n    try: row.b = 1\n    except AttributeError: row.a = 4\n    return row, hasattr(one, '__dict__'), one.x, one.y(), hasattr(one, 'z')"
    )
    row, *rest = unpack(pack(run(nb.f)))
    assert row.a == 4
    assert rest == [False, 1, 5, False]


def test_instances_come_home_as_instances_of_the_same_class(nb):
    """A value that was made on a worker is an instance of the notebook's own class, whatever the worker did to its copy."""
    nb.run(CELL)
    made = {name: nb[name] for name in ("Model", "Point", "Colour", "Failed")}
    payload = pack([nb.Model(1), nb.Point(2), nb.Colour.RED, nb.Failed("x")])
    model, point, red, failed = unpack(payload)
    assert type(model) is made["Model"]
    assert point == nb.Point(2)
    assert red is made["Colour"].RED
    assert type(failed) is made["Failed"]


def test_a_result_leaves_the_notebooks_class_alone(nb):
    """Unpickling an instance that was sent with an older state of its class does not turn the class back."""
    nb.run(CELL)
    get = nb.Model.get
    payload = pack(nb.Model(1))
    nb.run("Model.k = 5; Model.extra = 1")
    back = unpack(payload)
    assert nb.Model.k == 5
    assert nb.Model.extra == 1
    assert nb.Model.get is get
    nb.run("n = 3")
    assert back.get() == (1, 5, 3)  # its methods still read the notebook


def test_a_worker_makes_each_task_a_class_of_its_own(nb, rebuild):
    """Between tasks a worker forgets classes; within a task function, arguments and inputs share one."""
    nb.run(CELL + "def f(a, b):\n    return type(a) is Model and type(b) is Model and isinstance(a, type(b)), Model")
    image = FunctionImage(nb.f)
    body, _ = pack_call((nb.Model(1),), {}, "f")
    value = pack(nb.Model(2))
    snapshot = image.snapshot()
    rebuilder = Rebuilder()
    classes = []
    for _ in range(2):
        function = rebuild(snapshot, rebuilder)
        (first,), _ = unpack_call(body, [])
        same, cls = function(first, unpack(value))
        assert same
        classes.append(cls)
    assert classes[0] is not classes[1]
    assert nb.Model not in classes


def test_the_id_of_a_class_survives_the_round_trip(nb, rebuild):
    """What a worker made of a class it was sent is, at home, an instance of the class that was sent."""
    nb.run(CELL + "def f(v): return Model(v)")
    snapshot = FunctionImage(nb.f).snapshot()
    payload = pack(rebuild(snapshot)(4))
    forget_classes()
    pack(nb.Model(0))  # at home, the class is known by having been sent
    back = unpack(payload)
    assert type(back) is nb.Model
    assert back.v == 4


def test_classes_that_a_task_defines(nb, run):
    """An instance of a class that was defined inside a task arrives with its class."""
    nb.run(
        "def f():\n    class Local:\n        def m(self): return self.x\n    one = Local()\n    one.x = 3\n    return one, Local"
    )
    one, cls = unpack(pack(run(nb.f)))
    assert type(one) is cls
    assert one.m() == 3


def test_forgotten_classes_can_be_collected(nb):
    """Being known by an id keeps no class alive."""
    nb.run("class C: pass")
    ref = weakref.ref(unpack(pack([nb.C]))[0])
    assert ref() is nb.C
    del nb["C"]
    gc.collect()
    assert ref() is None


def test_a_redefined_class_is_another_class(nb):
    """Running the cell of a class again makes a new class; instances that were under way keep the old one."""
    nb.run("class C:\n    v = 1")
    payload = pack(nb.C())
    old = nb.C
    nb.run("class C:\n    v = 2")
    assert type(unpack(payload)) is old
    del old
    gc.collect()
    assert unpack(payload).v == 1
