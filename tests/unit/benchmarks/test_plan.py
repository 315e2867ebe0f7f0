"""The order of measurements, and who takes part."""

from __future__ import annotations

from benchmarks.case import Case, Counts, Figure
from benchmarks.cases import CASES
from benchmarks.plan import plan


def case(name, **options):
    figures = (Figure("rate", "rate", "1/s", more_is_better=True),)
    given = {"full": Counts(100, 10), "quick": Counts(4, 2), "run": lambda peer, count: {}, **options}
    return Case(name, figures, **given)


def test_systems_take_turns_within_a_case_and_cases_within_a_round(stub):
    """A, B for the first case, A, B for the second, and again."""
    steps = [(s.round, s.case.name, s.peer.name) for s in plan([case("x"), case("y")], [stub("a"), stub("b")], 2)]
    assert steps == [(r, c, p) for r in (1, 2) for c in "xy" for p in "ab"]


def test_a_start_is_warmed_up_once_and_not_counted(stub):
    """The measurement without a body is the start-up: round 0 reads its files into the page cache."""
    assert [s.round for s in plan([case("x"), case("startup", run=None)], [stub("a")], 1)] == [0, 1, 1]


def test_a_case_may_have_fewer_rounds(stub):
    """Memory does not change from round to round."""
    assert [s.round for s in plan([case("x", rounds=2)], [stub("a")], 5)] == [1, 2]


def test_a_system_may_have_fewer_rounds(stub):
    """Where its start takes seconds."""
    steps = plan([case("x"), case("y", rounds=1)], [stub("a"), stub("b", rounds=2)], 3)
    assert [(s.round, s.case.name, s.peer.name) for s in steps] == [
        (1, "x", "a"),
        (1, "x", "b"),
        (1, "y", "a"),
        (1, "y", "b"),
        (2, "x", "a"),
        (2, "x", "b"),
        (3, "x", "a"),
    ]


def test_systems_without_the_ability_sit_out(stub):
    """Dependencies and processes are needed by some cases; some are about one system."""
    peers = [stub("a", dependencies=False), stub("b", processes=False), stub("c")]
    cases = [case("chain", dependencies=True), case("payload", processes=True), case("own", only=("c",))]
    assert [(s.case.name, s.peer.name) for s in plan(cases, peers, 1)] == [
        ("chain", "b"),
        ("chain", "c"),
        ("payload", "a"),
        ("payload", "c"),
        ("own", "c"),
    ]


def test_slow_systems_get_less_work_and_trying_out_takes_less(stub):
    """The count is stated in each step, so it is in the raw results."""
    peers = [stub("a"), stub("b", slow=True)]
    assert [s.count for s in plan([case("x")], peers, 1)] == [100, 10]
    assert [s.count for s in plan([case("x")], peers, 1, quick=True)] == [4, 2]


def test_names_of_cases_and_keys_of_figures_are_unique():
    """Results are found by them."""
    assert len({case.name for case in CASES}) == len(CASES)
    for each in CASES:
        assert len({figure.key for figure in each.figures}) == len(each.figures)
