"""How objects of single types are encoded.

A handler takes an object to its encoding, or to *steps*: a generator that yields each object within, is sent its encoding, and
returns the whole (see :mod:`shoal.memo.digest`). What has no handler is encoded by what pickle would make of it.
"""

from __future__ import annotations

import copyreg
import functools
import pickle
from collections import OrderedDict
from collections.abc import Callable, Iterable
from types import CodeType, MappingProxyType, MethodType, ModuleType
from typing import Any

from shoal.files import File
from shoal.memo import arrays
from shoal.memo.code import code_digest
from shoal.memo.contents import file_digest
from shoal.memo.frames import blob, bundle, frame, pairs
from shoal.memo.origins import reference_to
from shoal.memo.steps import Steps, Undigestible, each
from shoal.serialize.pickling import attempt
from shoal.serialize.reducers import Refused, is_app, load_cloudpickle, reducer_for
from shoal.serialize.references import reference

__all__ = ["steps_for"]


def steps_for(obj: Any, kind: type) -> bytes | Steps:
    """The encoding of an object that is neither an atom nor notebook code, or the steps to it.

    Raises:
        Undigestible: it has none.
    """
    handler = _HANDLERS.get(kind)
    if handler is not None:
        return handler(obj)
    family = _FAMILIES.get(kind.__module__.partition(".")[0])
    if family is not None:
        handler = family(kind)
        if handler is not None:
            return handler(obj)
    if is_app(kind):
        return _app(obj)
    names = reference(obj)
    if names is not None:
        return reference_to(*names)
    if isinstance(obj, set | frozenset):
        return _odd_set(obj)
    return _reduced(obj)


# --------------------------------------------------------------------------- containers


def _sequence(items: Iterable[Any]) -> Steps:
    return bundle(type(items).__name__.encode(), (yield from each(items)))


def _set(items: Iterable[Any]) -> Steps:
    return bundle(type(items).__name__.encode(), sorted((yield from each(items))))


def _odd_set(items: Iterable[Any]) -> Steps:
    """Of a class of its own: what pickle makes of it would be in any order."""
    parts = [(yield type(items)), (yield getattr(items, "__dict__", None))]
    return bundle(b"set of", [*parts, *sorted((yield from each(items)))])


def _dict(mapping: dict[Any, Any], tag: bytes = b"dict") -> Steps:
    keys = yield from each(list(mapping))
    return pairs(tag, keys, (yield from each(list(mapping.values()))))


def _proxy(mapping: MappingProxyType[Any, Any]) -> Steps:
    return _dict(dict(mapping), b"mappingproxy")


# --------------------------------------------------------------------------- what pickle cannot do, or does otherwise


def _memoryview(view: memoryview) -> bytes:
    head = f"{view.format} {view.shape}".encode()
    return frame(b"memoryview", blob(b"head", head) + blob(b"data", view.tobytes()))


def _buffer(buffer: pickle.PickleBuffer) -> bytes:
    return blob(b"buffer", buffer.raw().tobytes())


def _method(method: MethodType) -> Steps:
    return bundle(b"method", [(yield method.__func__), (yield method.__self__)])


def _property(prop: property) -> Steps:
    return bundle(b"property", [(yield prop.fget), (yield prop.fset), (yield prop.fdel)])


def _wrapped(method: staticmethod[Any, Any] | classmethod[Any, Any, Any]) -> Steps:
    return bundle(type(method).__name__.encode(), [(yield method.__func__)])


def _cached_property(cached: functools.cached_property[Any]) -> Steps:
    return bundle(b"cached_property", [(yield cached.func)])


def _module(module: ModuleType) -> bytes:
    names = reference(module)
    if names is None:
        raise Undigestible("module", f"the module {module.__name__} is not one that can be imported")
    return reference_to(*names)


def _code(code: CodeType) -> bytes:
    return frame(b"code", code_digest(code, {}))


def _file(file: File) -> bytes:
    """By name and content; a file that is not there by its path."""
    content = file_digest(file.filepath)
    if content is None:
        return blob(b"no file", file.filepath.encode("utf-8", "surrogateescape"))
    return frame(b"file", blob(b"name", file.filename.encode("utf-8", "surrogateescape")) + content)


def _app(app: Any) -> Steps:
    return bundle(b"app", [blob(b"kind", type(app).__name__.encode()), (yield app.__shoal_function__)])


# --------------------------------------------------------------------------- all else, by what pickle makes of it


def _reduced(obj: Any) -> Steps:
    kind = type(obj)
    form, error = attempt(lambda: _reduce(obj, kind))
    if error is not None or form is None:
        if isinstance(error, Refused):
            raise Undigestible(error.type_name, error.reason)
        raise Undigestible(kind.__name__, str(error) or type(error).__name__)
    if isinstance(form, str):
        return blob(b"global", f"{getattr(obj, '__module__', '')}:{form}".encode())
    make, args, state, items, entries = form
    parts = [(yield make), (yield args), (yield _state(kind, state))]
    if items is not None:
        parts.append((yield items))
    if entries is not None:
        parts.append((yield entries))
    return bundle(b"object", parts)


def _reduce(obj: Any, kind: type) -> str | tuple[Any, ...]:
    reducer = copyreg.dispatch_table.get(kind) or reducer_for(kind)
    form: Any = NotImplemented if reducer is None else reducer(obj)
    if form is NotImplemented:
        form = _by_its_own(obj, kind)
    if isinstance(form, str):
        return form
    make, args, state, items, entries = (*form, *[None] * 5)[:5]
    ordered = isinstance(obj, OrderedDict)
    entries = None if entries is None else list(entries) if ordered else dict(entries)
    return make, args, state, None if items is None else list(items), entries


def _by_its_own(obj: Any, kind: type) -> Any:
    try:
        return obj.__reduce_ex__(5)
    except TypeError:
        load_cloudpickle()  # which knows what to do about some that refuse
        reducer = reducer_for(kind)
        form = NotImplemented if reducer is None else reducer(obj)
        if form is NotImplemented:
            raise
        return form


def _state(kind: type, state: Any) -> Any:
    """The state without what cached properties have left in it."""
    if type(state) is not dict:
        return state
    cached = [k for k in state if type(k) is str and isinstance(getattr(kind, k, None), functools.cached_property)]
    return {key: value for key, value in state.items() if key not in cached} if cached else state


_HANDLERS: dict[type, Callable[[Any], bytes | Steps]] = {
    list: _sequence,
    tuple: _sequence,
    set: _set,
    frozenset: _set,
    dict: _dict,
    MappingProxyType: _proxy,
    memoryview: _memoryview,
    pickle.PickleBuffer: _buffer,
    MethodType: _method,
    property: _property,
    staticmethod: _wrapped,
    classmethod: _wrapped,
    functools.cached_property: _cached_property,
    ModuleType: _module,
    CodeType: _code,
    File: _file,
}

_FAMILIES: dict[str, Callable[[type], Callable[[Any], bytes | Steps] | None]] = {
    "numpy": arrays.numpy_handler,
    "pandas": arrays.pandas_handler,
}
"""Who knows the types of a package, by its name; it is not loaded for that."""
