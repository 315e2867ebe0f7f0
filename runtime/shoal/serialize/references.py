"""What can be imported by name at the other end, and what cannot.

A function, class or module that another process finds under the same name travels as that name. All else that is
defined in a notebook travels by value. Each module that is named on the way is noted in :data:`met`, so that the client
can send the source of those that live beside the notebook (see :mod:`shoal.serialize.modules`).
"""

from __future__ import annotations

import functools
import pickle
import sys
from types import FunctionType, ModuleType

__all__ = ["LRU_WRAPPER", "by_reference", "meet", "met", "reference", "resolve"]

met: list[str] = []
"""Names of modules that were named in a pickle of this process, in the order of their first use."""

_known: set[str] = {"builtins"}
_MISSING = object()
LRU_WRAPPER: type = type(functools.lru_cache(lambda: None))
"""The type of what ``functools.lru_cache`` returns."""


def meet(module: str) -> None:
    """Note that ``module`` was named; cheap the second time."""
    if module not in _known:
        _known.add(module)
        met.append(module)


def by_reference(obj: object) -> bool:
    """Whether a function or class is found under its own name in an importable module.

    Args:
        obj: anything with ``__module__`` and ``__qualname__``.
    """
    module = getattr(obj, "__module__", None)
    if type(module) is not str or module == "__main__" or _by_value(module):
        return False
    found: object = sys.modules.get(module, _MISSING)
    for part in obj.__qualname__.split("."):  # type: ignore[attr-defined]
        found = getattr(found, part, _MISSING)
    if found is not obj:
        return False
    if module not in _known:
        meet(module)
    return True


def reference(obj: object) -> tuple[str, str] | None:
    """The module and qualified name under which ``obj`` is importable; the name is empty for a module itself.

    Returns None for whatever must travel by value.
    """
    kind = type(obj)
    if issubclass(kind, ModuleType):  # isinstance alone would ask the object's own __class__, which may be anything
        assert isinstance(obj, ModuleType), "its type says so"
        name = obj.__name__
        if sys.modules.get(name) is not obj or _by_value(name):
            return None
        meet(name)
        return (name, "")
    if kind is FunctionType or issubclass(kind, type) or kind is LRU_WRAPPER:
        return (obj.__module__, obj.__qualname__) if by_reference(obj) else None  # type: ignore[attr-defined]
    if kind.__name__ == "ufunc" and kind.__module__ == "numpy":
        return _checked(obj, pickle.whichmodule(obj, obj.__name__), obj.__name__)  # type: ignore[attr-defined]
    if _is_like_a_function(obj):
        home = getattr(obj, "__objclass__", obj)
        return _checked(obj, getattr(home, "__module__", None), obj.__qualname__)  # type: ignore[attr-defined]
    return None


def resolve(module: str, qualname: str) -> object:
    """The object that :func:`reference` named, imported here.

    Raises:
        ModuleNotFoundError: there is no such module here.
        AttributeError: the module has no such name here.
    """
    found: object = sys.modules.get(module)
    if found is None:
        __import__(module)
        found = sys.modules[module]
    for part in qualname.split(".") if qualname else ():
        found = getattr(found, part)
    return found


def _is_like_a_function(obj: object) -> bool:
    """Whether it names itself as functions do: functions that are written in C, and what ``functools.wraps`` was used on."""
    own = getattr(obj, "__dict__", None)
    return (type(own) is dict and "__qualname__" in own) or any("__qualname__" in b.__dict__ for b in type(obj).__mro__)


def _checked(obj: object, module: object, qualname: object) -> tuple[str, str] | None:
    if type(module) is not str or type(qualname) is not str or module == "__main__" or module not in sys.modules:
        return None
    found: object = sys.modules[module]
    for part in qualname.split("."):
        found = getattr(found, part, _MISSING)
    if found is not obj:
        return None
    meet(module)
    return (module, qualname)


def _by_value(module: str) -> bool:
    """Whether the user told cloudpickle to send this module's contents by value."""
    cloudpickle = sys.modules.get("cloudpickle")
    registered = cloudpickle.list_registry_pickle_by_value() if cloudpickle is not None else ()
    return bool(registered) and any(module == name or module.startswith(name + ".") for name in registered)
