"""What calls do to the objects that they are given: the tables that :mod:`shoal_kernel.analysis.names` looks up. PURE.

The tables name methods and functions of the standard library and of the libraries that notebooks use most. A name that
is in no table has an *unknown* effect, which the callers keep apart.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

__all__ = [
    "MUTATING_FUNCTIONS",
    "MUTATING_METHODS",
    "PURE_BUILTINS",
    "REFLECTION",
    "call_name",
    "is_a",
    "is_generator",
    "made_moving",
    "namespace_of",
    "roots",
]

_MUTATING = """
append extend insert remove pop clear sort reverse add discard update popitem setdefault appendleft popleft extendleft
rotate intersection_update difference_update symmetric_difference_update subtract move_to_end

fill put itemset resize partition setflags setfield byteswap shuffle seed

fit fit_transform fit_predict partial_fit set_params compile train_on_batch load_weights load_state_dict zero_grad
backward step requires_grad_

write writelines writerow writerows read readline readlines seek truncate send put_nowait get_nowait commit execute
executemany
"""  # containers; numpy arrays and generators; models of scikit-learn, keras and torch; files, queues and connections

MUTATING_METHODS = frozenset(_MUTATING.split())
"""Methods that change the object that they are called on."""

MUTATING_FUNCTIONS = {
    "next": 0,
    "setattr": 0,
    "delattr": 0,
    "shuffle": 0,
    "heappush": 0,
    "heappop": 0,
    "heapify": 0,
    "heapreplace": 0,
    "heappushpop": 0,
    "insort": 0,
    "insort_left": 0,
    "insort_right": 0,
    "fill_diagonal": 0,
    "copyto": 0,
    "place": 0,
    "putmask": 0,
    "put_along_axis": 0,
    "setitem": 0,
    "delitem": 0,
    "dump": 1,
    "at": 0,
}
"""Functions that change one of their arguments: the function's last name, and which argument it is."""

_PURE = """
abs all any ascii bin bool bytes callable chr complex dict divmod enumerate filter float format frozenset getattr hasattr
hash hex id int isinstance issubclass len list map max memoryview min oct ord pow print range repr reversed round set
slice sorted str sum tuple type zip display
"""

PURE_BUILTINS = frozenset(_PURE.split())
"""Built-in functions that leave their arguments as they are."""

_GENERATORS = frozenset(
    {("random", "Random"), ("numpy.random._generator", "Generator"), ("numpy.random.mtrand", "RandomState")}
)  # by name: numpy need not be installed

_MAKERS = frozenset(
    {"default_rng", "RandomState", "Random", "Generator", "iter", "zip", "map", "filter", "enumerate", "reversed"}
)
"""What makes generators of random numbers and iterators, by its last name."""

REFLECTION = frozenset({"exec", "eval", "globals", "locals", "vars", "dir"})
"""Built-in functions that reach names by text."""

_NAMESPACES = frozenset({"f_globals", "f_locals", "__globals__"})
"""Attributes that hold the variables of frames and functions."""


def call_name(call: ast.Call) -> str:
    """The last name of what is called: ``shuffle`` of ``random.shuffle(x)``; empty where there is none."""
    match call.func:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name
    return ""


def namespace_of(node: ast.Attribute | ast.Subscript) -> str:
    """What an expression is called that holds the variables of the notebook, as ``sys.modules[__name__]`` does; empty for others."""
    match node:
        case ast.Attribute(attr=attr) if attr in _NAMESPACES:
            return attr
        case ast.Subscript(
            value=ast.Attribute(attr="modules") | ast.Name("modules"),
            slice=ast.Constant("__main__") | ast.Name("__name__"),
        ):
            return "sys.modules"
    return ""


def made_moving(tree: ast.Module) -> frozenset[str]:
    """The names that statements of the top level bind to generators of random numbers and iterators, which each use changes."""
    return frozenset(
        target.id
        for part in tree.body
        if isinstance(part, ast.Assign) and isinstance(part.value, ast.Call) and call_name(part.value) in _MAKERS
        for target in part.targets
        if isinstance(target, ast.Name)
    )


def is_a(value: object, kind: type | tuple[type, ...]) -> bool:
    """As ``isinstance``, but it runs no code of the object's own: its ``__class__`` may be a property."""
    return issubclass(type(value), kind)


def is_generator(value: object) -> bool:
    """Whether an object is a generator of random numbers, which each method call moves on."""
    return any((kind.__module__, kind.__name__) in _GENERATORS for kind in type(value).__mro__)


def roots(node: ast.expr | None) -> Iterator[ast.Name]:
    """The names whose objects ``node`` may be, or be a part of.

    Args:
        node: an expression; ``a.b[0]`` has the root ``a``, ``a if c else b`` has ``a`` and ``b``.

    Yields:
        Name nodes that are loaded.
    """
    match node:
        case ast.Name():
            yield node
        case ast.Attribute(value=inner) | ast.Subscript(value=inner) | ast.Starred(value=inner):
            yield from roots(inner)
        case ast.NamedExpr(value=inner) | ast.Await(value=inner):
            yield from roots(inner)
        case ast.IfExp(body=one, orelse=other):
            yield from roots(one)
            yield from roots(other)
        case ast.BoolOp(values=parts) | ast.Tuple(elts=parts) | ast.List(elts=parts) | ast.Set(elts=parts):
            for part in parts:
                yield from roots(part)
        case ast.Dict(values=parts):
            for part in parts:
                yield from roots(part)
