"""How single kinds of objects are pickled that plain pickle refuses or gets wrong.

Most of this is cloudpickle's; what differs is here:

- Notebook classes. Each has an id that travels with it. A class that is known by its id where it arrives is taken as it
  is, and never overwritten by the one that arrived: a result leaves the classes of a notebook alone. A worker forgets
  the known ones before each task (:func:`forget_classes`), so that no task sees what another did to a class.
- ``functools.lru_cache`` objects travel without what they have cached; dictionaries with weak keys or values as their
  present contents; apps as :class:`~shoal.serialize.inline.InlineApp`;
  the futures of apps that ran inside a task as their values.
"""

from __future__ import annotations

import enum
import functools
import io
import sys
import weakref
from collections.abc import Callable
from typing import Any

from shoal.serialize.references import LRU_WRAPPER, by_reference

__all__ = [
    "CallFailed",
    "Reducer",
    "Refused",
    "cloudpickle_is_loaded",
    "forget_classes",
    "is_app",
    "is_future",
    "load_cloudpickle",
    "reduce_class",
    "reducer_for",
]

Reducer = Callable[[Any], Any]
"""Takes an object to what pickle's ``reducer_override`` returns."""


class Refused(Exception):
    """Raised while pickling, by Shoal's own reducers, with the reason and the fix."""

    def __init__(self, kind: type, reason: str, fix: str) -> None:
        super().__init__(reason)
        self.type_name, self.reason, self.fix = kind.__name__, reason, fix


class CallFailed(Exception):
    """Raised while pickling, where the value of an app that failed inside the task was to travel.

    Args:
        error: what the app raised.
    """

    def __init__(self, error: BaseException) -> None:
        super().__init__(str(error))
        self.error = error


# --------------------------------------------------------------------------- which kinds are special

_cloudpickles: dict[type, Reducer] = {}


def cloudpickle_is_loaded() -> bool:
    """Whether :func:`reducer_for` knows cloudpickle's kinds already."""
    return bool(_cloudpickles)


def load_cloudpickle() -> Any:
    """Import cloudpickle, take over its table of kinds, and return the module."""
    import cloudpickle

    if not _cloudpickles:
        _cloudpickles.update(cloudpickle.Pickler.dispatch_table.maps[0])
    return cloudpickle


def is_app(kind: type) -> bool:
    """Whether objects of this type are apps: they carry their plain function as ``__shoal_function__``."""
    return hasattr(kind, "__shoal_function__")


def is_future(kind: type) -> bool:
    """Whether objects of this type are futures; loads nothing, for there is none before their module is loaded."""
    base = sys.modules.get("concurrent.futures._base")
    return base is not None and issubclass(kind, base.Future)


def reducer_for(kind: type) -> Reducer | None:
    """The reducer for objects of a type (functions and classes excepted); None where pickle knows itself."""
    if is_app(kind):
        return _reduce_app
    if is_future(kind):
        return _reduce_future
    if kind is LRU_WRAPPER:
        return _reduce_cached
    if kind is functools.cached_property:
        return _reduce_cached_property
    if kind in (weakref.WeakKeyDictionary, weakref.WeakValueDictionary):
        return _reduce_weak_dict
    if kind.__module__ == "typing" and kind.__name__ in ("NewType", "ParamSpec", "TypeVarTuple"):
        return _reduce_typing
    return _cloudpickles.get(kind)


def _reduce_typing(obj: Any) -> Any:
    """By name where it has a name that can be imported; pickle would try with those of notebooks too."""
    if obj.__module__ != "__main__":
        return NotImplemented
    return (type(obj), (obj.__name__, obj.__supertype__) if hasattr(obj, "__supertype__") else (obj.__name__,))


def _reduce_app(app: Any) -> tuple[Any, ...]:
    from shoal.serialize.inline import InlineApp

    return (InlineApp, (app.__shoal_function__,))


def _reduce_future(future: Any) -> Any:
    from shoal.serialize.inline import InlineFuture

    if isinstance(future, InlineFuture):
        error = future.exception()
        if error is not None:
            raise CallFailed(error)
        return future.__reduce__()  # it is over: its value stands in its place
    raise Refused(
        type(future), "a future stands for a value that is not here", "pass it as an argument, or use its result()"
    )


def _reduce_weak_dict(weak: Any) -> tuple[Any, ...]:
    return (type(weak), (dict(weak),))


def _reduce_cached_property(cached: functools.cached_property[Any]) -> tuple[Any, ...]:
    """Without the lock that it has before Python 3.12."""
    return (functools.cached_property, (cached.func,), {"attrname": cached.attrname, "__doc__": cached.__doc__})


def _reduce_cached(cached: Any) -> Any:
    if by_reference(cached):
        return NotImplemented
    parameters = cached.cache_parameters()
    state = {key: value for key, value in vars(cached).items() if key != "__wrapped__"}
    return (_make_cached, (parameters["maxsize"], parameters["typed"], cached.__wrapped__), state or None)


def _make_cached(maxsize: int | None, typed: bool, function: Callable[..., Any]) -> Any:
    return functools.lru_cache(maxsize, typed)(function)


# --------------------------------------------------------------------------- classes that travel by value

_ids: weakref.WeakKeyDictionary[type, str] = weakref.WeakKeyDictionary()
_classes: weakref.WeakValueDictionary[str, type] = weakref.WeakValueDictionary()
_unfinished: set[str] = set()


def forget_classes() -> None:
    """Make the classes that arrive from now on new ones. Called by workers before each task."""
    if _classes:
        _classes.clear()
        _unfinished.clear()


def reduce_class(cls: type, reduced: Any) -> Any:
    """Turn cloudpickle's way to write a class into one that keeps to this module's rule about known classes.

    Args:
        cls: the class.
        reduced: what cloudpickle's ``reducer_override`` gave for it.
    """
    if reduced is NotImplemented or len(reduced) != 6:
        return reduced  # by name, after all
    make, arguments, state, _, _, set_state = reduced
    *basics, identity, extra = arguments
    makers = _makers()
    if make not in makers or set_state is not makers[-1]:
        raise Refused(type(cls), "this version of cloudpickle writes classes in a new way", "install cloudpickle 3.1")
    if make is makers[0]:
        _add_what_is_missing(cls, basics[3])
    if basics[0] is type and basics[2] == (object,):
        basics[0] = basics[2] = None  # most are: spare two names
    state[0].pop("__slotnames__", None)  # what copyreg leaves on a class when it first pickles an instance
    identity = _ids.setdefault(cls, identity)
    _classes[identity] = cls
    return (_make_class, (identity, makers.index(make), tuple(basics), extra), state, None, None, _finish_class)


def _add_what_is_missing(cls: type, namespace: dict[str, Any]) -> None:
    """Complete what a class is made with, where cloudpickle loses something."""
    if cls.__qualname__ != cls.__name__:
        namespace["__qualname__"] = cls.__qualname__
    slots = cls.__dict__.get("__slots__")
    if slots and "__orig_bases__" not in cls.__dict__:
        namespace["__slots__"] = slots  # set afterwards, they would be a mere attribute


def _make_class(identity: str, maker: int, basics: tuple[Any, ...], extra: Any) -> type:
    known = _classes.get(identity)
    if known is not None:
        return known
    if basics[0] is None:
        basics = (type, basics[1], (object,), *basics[3:])
    # None for the id: cloudpickle's own memory of classes is to stay out of it
    cls: type = _makers()[maker](*basics, None, extra)
    _classes[identity] = cls
    _ids[cls] = identity
    _unfinished.add(identity)
    return cls


def _finish_class(cls: type, state: Any) -> None:
    identity = _ids[cls]
    if identity in _unfinished:
        _unfinished.discard(identity)
        _makers()[-1](cls, state)


@functools.cache
def _makers() -> tuple[Callable[..., Any], ...]:
    """What cloudpickle makes a class with, what it makes an enum with, and what it fills either with."""

    class Sample:
        pass

    class SampleEnum(enum.Enum):
        pass

    pickler = load_cloudpickle().Pickler(io.BytesIO())
    make, *_, fill = pickler.reducer_override(Sample)
    return (make, pickler.reducer_override(SampleEnum)[0], fill)
