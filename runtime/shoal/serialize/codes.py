"""What a code object says about the world outside it."""

from __future__ import annotations

import dis
import linecache
from types import CodeType
from typing import NamedTuple

__all__ = ["CodeFacts", "facts_of", "source_of"]

_GLOBAL = frozenset({"LOAD_GLOBAL", "STORE_GLOBAL", "DELETE_GLOBAL", "LOAD_FROM_DICT_OR_GLOBALS"})
_JUMPS = frozenset(dis.hasjrel) | frozenset(dis.hasjabs)
_MANY = 4096


class CodeFacts(NamedTuple):
    """What was found in a code object and in those nested in it.

    Args:
        globals: names that it looks up in its namespace (or in builtins), in the order found.
        names: every name that it mentions: globals, attributes, imports.
        imports: modules that it imports while it runs, ``a.b`` for ``from a import b`` included.
        last_line: the last line that it has instructions for.
    """

    globals: tuple[str, ...]
    names: frozenset[str]
    imports: tuple[str, ...]
    last_line: int


_known: dict[int, tuple[CodeType, CodeFacts]] = {}


def facts_of(code: CodeType) -> CodeFacts:
    """The facts of a code object; looked up once for each."""
    known = _known.get(id(code))
    if known is not None:
        return known[1]
    found: dict[str, None] = {}
    imports: dict[str, None] = {}
    _scan(code, found, imports)
    names, last = set(code.co_names), _last_line(code)
    for inner in code.co_consts:
        if isinstance(inner, CodeType):
            facts = facts_of(inner)
            found.update(dict.fromkeys(facts.globals))
            imports.update(dict.fromkeys(facts.imports))
            names |= facts.names
            last = max(last, facts.last_line)
    facts = CodeFacts(tuple(found), frozenset(names), tuple(imports), last)
    if len(_known) > _MANY:
        _known.clear()
    _known[id(code)] = (code, facts)
    return facts


def _scan(code: CodeType, found: dict[str, None], imports: dict[str, None]) -> None:
    stored: set[str] = set()  # what a class body has surely bound itself by now
    jumped = False
    module = ""
    before: list[object] = [0, 0]
    for instruction in dis.get_instructions(code):
        name, value = instruction.opname, instruction.argval
        if name in _GLOBAL:
            found[value] = None
        elif name == "LOAD_NAME":
            if value not in stored:
                found[value] = None
        elif name == "STORE_NAME" and not jumped:
            stored.add(value)
        elif name == "IMPORT_NAME":
            # a relative import is one inside a package, which is sent (or installed) as a whole
            module = "" if before[-2] else value
            if module:
                imports[module] = None
        elif name == "IMPORT_FROM" and module:
            imports[f"{module}.{value}"] = None
        elif instruction.opcode in _JUMPS:
            jumped = True
        before = [before[-1], value]


def _last_line(code: CodeType) -> int:
    return max((line for _, _, line in code.co_lines() if line is not None), default=code.co_firstlineno)


def source_of(code: CodeType, namespace: dict[str, object]) -> str:
    """The source text of a function, from its first line (or decorator) to its last; empty where unknown."""
    lines = linecache.getlines(code.co_filename, namespace)
    return "".join(lines[code.co_firstlineno - 1 : facts_of(code).last_line])
