"""Specs refuse mistakes by name; errors survive pickling."""

from __future__ import annotations

import inspect
import pickle
import re
from typing import Any

import msgspec
import pytest

import shoal.errors
from shoal.blocks.providers.local import LocalProvider
from shoal.config import Config
from shoal.errors import ConfigurationError, DuplicateLabel, ShoalError, UnknownOption
from shoal.executors.htex import HighThroughputExecutor
from shoal.executors.threads import ThreadPoolExecutor
from shoal.hints import HINTS
from shoal.spec import Spec


class Inner(Spec, frozen=True, tag="inner"):
    least: int = 0
    most: int = 1

    def check(self) -> None:
        self.require(self.least <= self.most, "least", "use a number up to most")


class Outer(Spec, frozen=True):
    label: str
    inner: Inner = Inner()


def test_an_unknown_option_names_itself_and_a_near_one() -> None:
    """A typo is met with the right word."""
    with pytest.raises(UnknownOption, match=r"Inner\.leest = 3.*did you mean 'least'"):
        Inner(leest=3)  # type: ignore[call-arg]


@pytest.mark.parametrize(
    "make", [lambda: Inner(least="a"), lambda: Inner(least=None), lambda: Outer(label="x", inner=3)]
)
def test_a_value_of_a_wrong_type_is_refused_by_field(make: Any) -> None:
    """The message names class and field."""
    with pytest.raises(ConfigurationError, match=r"Inner\.least|Outer\.inner"):
        make()


def test_a_combination_that_cannot_work_is_refused() -> None:
    """check() runs as the spec is made."""
    with pytest.raises(ConfigurationError, match=r"Inner\.least = 5: use a number up to most"):
        Inner(least=5)


def test_a_missing_or_positional_option_is_refused() -> None:
    """Options are keywords, and those without default must be there."""
    with pytest.raises(ConfigurationError, match=r"Outer\.label"):
        Outer()  # type: ignore[call-arg]
    with pytest.raises(ConfigurationError, match=r"write Outer\(label="):
        Outer("x")  # type: ignore[misc]


def test_specs_compare_by_value() -> None:
    """Two equal configurations are one."""
    assert Outer(label="a", inner=Inner(most=2)) == Outer(label="a", inner=Inner(most=2))
    assert Outer(label="a") != Outer(label="b")


def sample(parameter: inspect.Parameter) -> Any:
    """A value for a constructor's parameter, by its annotation."""
    kinds = {"str": "words", "float": 1.5, "object": 3, "Any": "x", "int": 2}
    kinds |= {"tuple[str, ...]": ("a", "b"), "tuple[int, ...]": (3, 4)}
    return kinds[str(parameter.annotation)]


@pytest.mark.parametrize("name", sorted(shoal.errors.__all__))
def test_every_error_survives_pickling(name: str) -> None:
    """Type, sentence, data and notes are the same on the other side."""
    kind = getattr(shoal.errors, name)
    if "__init__" in vars(kind) or any("__init__" in vars(b) for b in kind.__mro__[1:] if issubclass(b, ShoalError)):
        parameters = list(inspect.signature(kind.__init__).parameters.values())[1:]
        error = kind(*(sample(p) for p in parameters))
    else:
        error = kind("a sentence")
    error.add_note("and a note")
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is kind
    assert str(again) == str(error)
    assert again.__notes__ == ["and a note"]
    assert {k: v for k, v in vars(again).items() if k != "_given"} == {
        k: v for k, v in vars(error).items() if k != "_given"
    }


def test_a_configuration_error_about_an_unpicklable_value_survives_too() -> None:
    """Its text stands for the value."""
    error = DuplicateLabel("executors", lambda: None, "rename one")
    assert str(pickle.loads(pickle.dumps(error))) == str(error)


@pytest.mark.parametrize("kind", [Config, HighThroughputExecutor, LocalProvider, ThreadPoolExecutor])
def test_options_known_from_parsl_are_answered(kind: Any) -> None:
    """The error says what to write instead; no hint stands for an option that there is."""
    fields = {field.name for field in msgspec.structs.fields(kind)}
    for option, hint in HINTS[kind.__name__].items():
        assert option not in fields
        with pytest.raises(UnknownOption, match=re.escape(hint)):
            kind(**{option: 1})
