"""The spec of blocks on this host."""

from __future__ import annotations

import msgspec
import pytest

from shoal.blocks.providers.local import LocalProvider
from shoal.errors import ConfigurationError, UnknownOption


@pytest.mark.parametrize(
    ("field", "options"),
    [
        ("min_blocks", {"min_blocks": -1}),
        ("min_blocks", {"min_blocks": 3, "max_blocks": 2}),
        ("max_blocks", {"max_blocks": 0}),
        ("init_blocks", {"init_blocks": 2}),
        ("init_blocks", {"init_blocks": 0, "min_blocks": 1}),
        ("init_blocks", {"init_blocks": "two"}),
        ("worker_init", {"worker_init": 7}),
    ],
)
def test_numbers_that_cannot_be_are_refused(field, options):
    """The error names the field and its value, and says what to write."""
    with pytest.raises(ConfigurationError, match=rf"LocalProvider\.{field} = "):
        LocalProvider(**options)


def test_unknown_options_are_refused():
    """A misspelt option is an error that names the right one."""
    with pytest.raises(UnknownOption, match="did you mean 'max_blocks'"):
        LocalProvider(max_block=2)


def test_it_travels_as_json():
    """A spec written to a file and read again is equal."""
    spec = LocalProvider(init_blocks=2, max_blocks=4, worker_init="module load x")
    assert msgspec.json.decode(msgspec.json.encode(spec), type=LocalProvider) == spec
