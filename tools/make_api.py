"""Writes labextension/src/api.ts from the types in shoal_lab.models, so that nobody mirrors them by hand.

Run by ``make api``; a test runs it again and compares.
"""

from __future__ import annotations

import re
import sys
import types
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import msgspec

from shoal_lab import models

TARGET = Path(__file__).parent.parent / "labextension" / "src" / "api.ts"
HEAD = "// GENERATED from labextension/shoal_lab/models.py by `make api`. Do not edit.\n"
PLAIN = {str: "string", int: "number", float: "number", bool: "boolean", type(None): "null"}


def typescript(kind: Any) -> str:
    """The TypeScript of one annotation.

    Raises:
        TypeError: the annotation has no counterpart.
    """
    if kind in PLAIN:
        return PLAIN[kind]
    origin = get_origin(kind)
    if origin is Literal:
        return " | ".join(f"'{value}'" for value in get_args(kind))
    if origin in (Union, types.UnionType):
        return " | ".join(typescript(part) for part in get_args(kind))
    if origin is list:
        return f"readonly {typescript(get_args(kind)[0])}[]"
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return f"I{kind.__name__}"
    raise TypeError(f"{kind} has no counterpart in TypeScript")


def interface(struct: type[msgspec.Struct]) -> str:
    """One struct as an interface, its documentation with it."""
    head, _, rest = (struct.__doc__ or "").partition("Args:")
    told = dict(re.findall(r"^ +(\w+): (.+)$", rest, flags=re.MULTILINE))
    hints = get_type_hints(struct)
    lines = [f"/** {head.strip()} */", f"export interface I{struct.__name__} {{"]
    for field in msgspec.structs.fields(struct):
        mark = "" if field.required else "?"
        lines += [f"  /** {told[field.name]} */", f"  readonly {field.name}{mark}: {typescript(hints[field.name])};"]
    return "\n".join([*lines, "}", ""])


def generate() -> str:
    """The whole text of api.ts."""
    named = [getattr(models, name) for name in models.__all__]
    structs = [kind for kind in named if isinstance(kind, type) and issubclass(kind, msgspec.Struct)]
    return "\n".join([HEAD, *(interface(struct) for struct in structs)])


if __name__ == "__main__":
    TARGET.write_text(generate())
    sys.stdout.write(f"{TARGET.name} is written\n")
