"""Declarative specs: frozen records whose mistakes are named when they are made.

Every part that a user configures (providers, executors, the session) is described by a subclass of :class:`Spec`. A spec
is data: it compares by value, refuses unknown fields, and goes to plain dictionaries and back.
"""

from __future__ import annotations

import difflib
import os
from typing import Any

import msgspec

from shoal.errors import ConfigurationError, UnknownOption
from shoal.hints import HINTS

__all__ = ["Spec"]


class _SpecMeta(msgspec.StructMeta):
    """Checks the keywords and types of a spec as it is made, so that the error points at the user's own line."""

    def __call__(cls, *args: Any, **given: Any) -> Any:  # noqa: N805 - a metaclass: its instances are classes
        name = cls.__name__
        if args:
            first = cls.__struct_fields__[0]
            raise ConfigurationError(f"{name}(...)", args[0], f"its options are keywords; write {name}({first}=...)")
        fields = {field.name: field for field in msgspec.structs.fields(cls)}  # type: ignore[arg-type]
        for key, value in given.items():
            if key not in fields:
                known = HINTS.get(name, {}).get(key)
                if known is not None:
                    raise UnknownOption(f"{name}.{key}", value, f"there is no such option; {known}")
                near = difflib.get_close_matches(key, fields, n=1)
                hint = f"did you mean '{near[0]}'? " if near else ""
                raise UnknownOption(
                    f"{name}.{key}", value, f"there is no such option; {hint}It has: {', '.join(fields)}"
                )
            if isinstance(value, os.PathLike):
                value = os.fspath(value)  # noqa: PLW2901 - a path is as good as its text
            try:
                given[key] = msgspec.convert(value, fields[key].type, strict=True)
            except msgspec.ValidationError as error:
                raise ConfigurationError(f"{name}.{key}", value, _sentence(str(error), fields[key].type)) from None
        for key, field in fields.items():
            if field.required and key not in given:
                raise ConfigurationError(f"{name}.{key}", None, "this option must be given")
        spec = super().__call__(**given)
        spec.check()
        return spec


class Spec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, metaclass=_SpecMeta):
    """A frozen, validated record of options. Subclasses are declared as Structs are."""

    def check(self) -> None:
        """Refuse combinations of values that cannot work.

        Raises:
            ConfigurationError: naming the field, its value and the fix.
        """

    def require(self, ok: bool, field: str, fix: str) -> None:
        """Raise for ``field`` unless ``ok``.

        Args:
            ok: the condition that must hold.
            field: the name of the field at fault.
            fix: what to write instead.

        Raises:
            ConfigurationError: if not ``ok``.
        """
        if not ok:
            raise ConfigurationError(f"{type(self).__name__}.{field}", getattr(self, field), fix)


def _sentence(text: str, kind: Any) -> str:
    """Msgspec's sentence in the words of somebody who writes Python."""
    text = text.replace("`array`", "a list").replace("`object`", f"a {getattr(kind, '__name__', 'record')}")
    return "e" + text[1:] if text.startswith("Expected") else text
