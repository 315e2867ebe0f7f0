"""From results to the page."""

from __future__ import annotations

import json
from dataclasses import asdict

import pytest

from benchmarks.case import Case, Counts, Figure
from benchmarks.report import BEGIN, END, Results, render, replace_figures

CASES = [
    Case(
        "throughput",
        (
            Figure("rate", "no-ops", "tasks/s", more_is_better=True),
            Figure("cpu.pool", "CPU time, pool", "µs", table="shoal"),
        ),
        Counts(1, 1),
        Counts(1, 1),
        None,
    ),
    Case("chain", (Figure("link", "chain", "ms a link"),), Counts(1, 1), Counts(1, 1), None, dependencies=True),
]


def record(peer, case, turn, **rest):
    return {"peer": peer, "case": case, "round": turn, **rest}


def results():
    return Results(
        machine=["a machine"],
        descriptions={"shoal": "as it comes", "pool": "two processes"},
        measurements=[
            record("shoal", "throughput", 0, figures={"rate": 1.0}),
            record("shoal", "throughput", 1, figures={"rate": 50_000.0, "cpu.pool": 4.5}),
            record("shoal", "throughput", 2, figures={"rate": 40_000.0, "cpu.pool": 4.1}),
            record("pool", "throughput", 1, figures={"rate": 10_000.0}),
            record("pool", "throughput", 2, figures={"rate": 10_000.0}),
            record("shoal", "chain", 1, figures={"link": 0.3}),
        ],
    )


def test_the_table_has_medians_spreads_and_ratios(stub):
    """One row a figure, one column a system; how many times better Shoal is stands below theirs."""
    page = render(results(), CASES, [stub("shoal"), stub("pool", dependencies=False)])
    assert (
        "| no-ops, tasks/s | 45,000 (40,000 to 50,000) | 10,000 (10,000 to 10,000)<br>**4.50× (4.00 to 5.00)** |"
        in page
    )


def test_what_a_system_cannot_do_is_a_dash(stub):
    """Not offered is something else than failed."""
    page = render(results(), CASES, [stub("shoal"), stub("pool", dependencies=False)])
    assert "| chain, ms a link | 0.300 (0.300 to 0.300) | – |" in page


def test_a_failure_is_named_in_its_cell_and_below(stub):
    """Each way to fail once, with the cases it struck."""
    found = results()
    found.measurements += [record("pool", "chain", turn, error="exit status 1: boom") for turn in (1, 2)]
    page = render(found, CASES, [stub("shoal"), stub("pool")])
    assert "| chain, ms a link | 0.300 (0.300 to 0.300) | failed |" in page
    assert "- pool: chain: exit status 1: boom" in page
    assert page.count("boom") == 1


def test_what_has_no_room_beside_the_first_has_a_second_table_with_the_same_rows(stub):
    """Shoal, Parsl and the pool of the standard library above; rows that only some can do stand in both."""
    found = results()
    names = ["shoal", "dask", "parsl", "processpool", "loky"]
    found.measurements += [record("dask", "throughput", 1, figures={"rate": 1_000.0})]
    page = render(found, CASES, [stub(name, dependencies=name != "loky") for name in names])
    assert "|  | Shoal | Parsl | Processpool |" in page
    first, _, second = page.partition("|  | Dask | Loky |")
    assert "| chain, ms a link | 0.300 (0.300 to 0.300) | failed | failed |" in first
    assert "| no-ops, tasks/s | 1,000 (1,000 to 1,000)<br>**45.0× (50.0 to 50.0)** | failed |" in second
    assert "| chain, ms a link | failed | – |" in second


def test_what_could_not_be_installed_is_said_and_is_no_failure(stub):
    """In its column, and with what was wanted; the run is as good as it was."""
    found = results()
    found.missing.append("other")
    peer = stub("other", dependencies=False)
    peer.requirements = ("other>=2",)
    page = render(found, CASES, [stub("shoal"), peer])
    assert "| no-ops, tasks/s | 45,000 (40,000 to 50,000) | not installed |" in page
    assert "| chain, ms a link | 0.300 (0.300 to 0.300) | – |" in page
    assert "- **Other**: not measured, since `other>=2` could not be installed" in page
    assert not found.failures()


def test_inner_figures_have_a_table_of_their_own(stub):
    """Figures about Shoal alone, and the session on threads."""
    found = results()
    found.measurements.append(record("threads", "throughput", 1, figures={"rate": 90_000.0}))
    page = render(found, CASES, [stub("shoal"), stub("threads", processes=False, project=True)])
    assert "| CPU time, pool, µs | 4.30 (4.10 to 4.50) |" in page
    assert "| no-ops (variant), tasks/s | 90,000 (90,000 to 90,000) |" in page
    assert "Threads" not in page.partition("Shoal alone")[0]


def test_how_each_was_set_up_is_told(stub):
    """Versions and options belong to the figures."""
    page = render(results(), CASES, [stub("shoal"), stub("pool")])
    assert "- **Pool**: two processes" in page
    assert page.startswith("- a machine")


def test_raw_results_make_the_same_table_again(stub):
    """Through JSON and back nothing is lost."""
    again = Results(**json.loads(json.dumps(asdict(results()))))
    peers = [stub("shoal"), stub("pool")]
    assert render(again, CASES, peers) == render(results(), CASES, peers)


def test_only_what_is_between_the_markers_changes():
    """The prose around is written by people."""
    page = f"before\n{BEGIN}\nold\n{END}\nafter\n"
    assert replace_figures(page, "new") == f"before\n{BEGIN}\n\nnew\n\n{END}\nafter\n"
    assert replace_figures(replace_figures(page, "x"), "new") == replace_figures(page, "new")


@pytest.mark.parametrize("page", ["", BEGIN, END, f"{END}{BEGIN}", f"{BEGIN}{END}{BEGIN}{END}", f"{BEGIN}{BEGIN}{END}"])
def test_a_page_without_its_markers_is_refused(page):
    """Rather than writing somewhere else, or losing prose."""
    with pytest.raises(ValueError, match="once each"):
        replace_figures(page, "new")
