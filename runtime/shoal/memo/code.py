"""The digest of a code object: by its source, normalised, where that is surely its source; else by its bytecode.

Comments, blank lines, formatting, the function's own decorators and docstrings make no difference.
"""

from __future__ import annotations
import __future__

import ast
import inspect
import linecache
import sys
from collections.abc import Iterator
from functools import reduce
from operator import or_
from types import CodeType, ModuleType
from typing import Any

from shoal.memo.frames import ATOMS, blob, bundle, digest, frame
from shoal.serialize.modules import members

__all__ = ["code_digest", "normalise", "strangers"]

_FUTURES = reduce(or_, (getattr(__future__, name).compiler_flag for name in __future__.all_feature_names))
_MANY_CODES, _MANY_FILES = 4096, 256
_FUNCTION = inspect.CO_OPTIMIZED | inspect.CO_NEWLOCALS
_HAS_DOCSTRING = 0x4000000  # CO_HAS_DOCSTRING, from Python 3.13 on

_known: dict[int, tuple[CodeType, bytes]] = {}
_files: dict[tuple[str, int], tuple[str, dict[CodeType, ast.AST]]] = {}


def code_digest(code: CodeType, namespace: dict[str, Any]) -> bytes:
    """The digest of a function's code, taken once for each code object.

    Args:
        code: the code object.
        namespace: the function's globals, for loaders that know its source.
    """
    known = _known.get(id(code))
    if known is not None:
        return known[1]
    tree = _tree_of(code, namespace)
    if tree is not None:
        head = blob(b"name", code.co_qualname.encode()) + frame(b"flags", b"%x" % (code.co_flags & _FUTURES))
        found = digest(b"tree" + head + ast.dump(_undecorated(tree)).encode("utf-8", "surrogatepass"))
    else:
        found = digest(b"bytecode" + _bytecode(code))
    if len(_known) > _MANY_CODES:
        _known.clear()
    _known[id(code)] = (code, found)
    return found


# --------------------------------------------------------------------------- by source


def _tree_of(code: CodeType, namespace: dict[str, Any]) -> ast.AST | None:
    text = "".join(linecache.getlines(code.co_filename, namespace))
    if not text:
        return None
    key = (code.co_filename, code.co_flags & _FUTURES)
    known = _files.get(key)
    if known is None or known[0] != text:
        if len(_files) > _MANY_FILES:
            _files.clear()
        known = _files[key] = (text, _trees_in(text, *key))
    return known[1].get(code)


def _trees_in(text: str, filename: str, futures: int) -> dict[CodeType, ast.AST]:
    """The trees of the functions in a text, by the code that they compile to.

    Only code that is equal to what the text gives now is found: of a file that was edited after it was loaded, or of one
    whose tree was changed before it was compiled, the text says nothing.
    """
    flags = futures | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT | ast.PyCF_ONLY_AST
    try:
        tree = compile(text, filename, "exec", flags, dont_inherit=True)
        whole = compile(tree, filename, "exec", flags & ~ast.PyCF_ONLY_AST, dont_inherit=True)
    except (SyntaxError, ValueError, RecursionError):
        return {}
    spots: dict[tuple[int, str], list[ast.AST]] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            line = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
            spots.setdefault((line, node.name), []).append(node)
        elif isinstance(node, ast.Lambda):
            spots.setdefault((node.lineno, "<lambda>"), []).append(node)
    normalise(tree)
    found = {}
    for code in _codes_in(whole):
        at = spots.get((code.co_firstlineno, code.co_name), ())
        if len(at) == 1:
            found[code] = at[0]
    return found


def _codes_in(code: CodeType) -> Iterator[CodeType]:
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield constant
            yield from _codes_in(constant)


def _undecorated(tree: ast.AST) -> ast.AST:
    if not isinstance(tree, ast.FunctionDef | ast.AsyncFunctionDef):
        return tree
    bare = type(tree)(**dict(ast.iter_fields(tree)))
    bare.decorator_list = []
    return bare


def normalise(tree: ast.AST) -> Any:
    """Take the docstrings out of a tree, in place; returns it."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Module):
            first = node.body[0] if node.body else None
            if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and type(first.value.value) is str:
                node.body = node.body[1:] or [ast.Pass()]
    return tree


# --------------------------------------------------------------------------- modules


def strangers(module: ModuleType, text: str, filename: str) -> list[bytes]:
    """Functions of a loaded module that its text does not say: it was edited since, and not loaded anew.

    Args:
        module: it.
        text: its source as it is now.
        filename: where that is.
    """
    try:
        said = {_bytecode(code) for code in _codes_in(compile(text, filename, "exec", dont_inherit=True))}
    except (SyntaxError, ValueError, RecursionError):
        said = set()
    held = [item for item in members(module) if isinstance(item, CodeType) and item.co_filename == filename]
    return sorted(set(map(_bytecode, held)) - said)


# --------------------------------------------------------------------------- by bytecode


def _bytecode(code: CodeType) -> bytes:
    constants = list(code.co_consts)
    if constants and type(constants[0]) is str and _has_docstring(code):
        constants[0] = None
    names = (code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars)
    numbers = (code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount, code.co_flags & ~_HAS_DOCSTRING)
    return bundle(
        b"code",
        [
            blob(b"name", code.co_qualname.encode()),
            *[frame(b"number", b"%x" % number) for number in numbers],
            blob(b"instructions", code.co_code),
            blob(b"exceptions", code.co_exceptiontable),
            *[bundle(b"names", [blob(b"name", name.encode()) for name in group]) for group in names],
            *map(_constant, constants),
        ],
    )


def _has_docstring(code: CodeType) -> bool:
    if sys.version_info >= (3, 13):
        return bool(code.co_flags & _HAS_DOCSTRING)
    return code.co_flags & _FUNCTION == _FUNCTION and not code.co_name.startswith("<")


def _constant(constant: Any) -> bytes:
    if isinstance(constant, CodeType):
        return _bytecode(constant)
    if isinstance(constant, tuple):
        return bundle(b"tuple", map(_constant, constant))
    if isinstance(constant, frozenset):
        return bundle(b"frozenset", sorted(map(_constant, constant)))
    encode = ATOMS.get(type(constant))
    return encode(constant) if encode is not None else blob(b"constant", repr(constant).encode())
