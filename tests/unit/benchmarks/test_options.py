"""The command line, and which runs may write to the page."""

from __future__ import annotations

import pytest

from benchmarks.options import ROUNDS, parse

CASES, PEERS = ["throughput", "latency", "chain"], ["shoal", "pool"]


def options(*arguments):
    return parse(arguments, CASES, PEERS)


def test_the_default_is_everything_and_written():
    """`make bench` needs no options."""
    assert options().complete
    assert options().rounds == ROUNDS


@pytest.mark.parametrize(
    "arguments",
    [
        ["--quick"],
        ["--quick", "--rounds", "9"],
        ["--only", "chain"],
        ["--peers", "shoal"],
        ["--rounds", "2"],
        ["--workers", "4"],
    ],
)
def test_a_part_is_never_written(arguments):
    """The page shows complete runs only."""
    assert not options(*arguments).complete


def test_trying_out_takes_one_round():
    """Unless told otherwise."""
    assert options("--quick").rounds == 1
    assert options("--quick", "--rounds", "3").rounds == 3


def test_names_come_in_the_order_of_the_tables():
    """Whatever the order on the command line."""
    assert options("--only", "chain, throughput").only == ["throughput", "chain"]


@pytest.mark.parametrize("arguments", [["--only", "thruput"], ["--peers", "pol"], ["--rounds", "0"], ["--rounds", "x"]])
def test_a_mistake_is_named(arguments, capsys):
    """With what there is instead."""
    with pytest.raises(SystemExit) as caught:
        options(*arguments)
    assert caught.value.code == 2
    assert arguments[1] in capsys.readouterr().err
