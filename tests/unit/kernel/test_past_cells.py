"""What is told of a kernel's cells, and what becomes of its tasks when it has ended."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from shoal.events import (
    AttemptEnded,
    CellBegan,
    CellRef,
    HeldName,
    NamesHeld,
    PoolJoined,
    TaskEnded,
    TaskPrinted,
    TaskSubmitted,
    TaskTakenOver,
)
from shoal.futures import TaskFuture
from shoal.record.log import LogWriter
from shoal.record.past import PastRun, find_runs, read_past
from shoal.task import ValueId
from shoal_kernel.book.cellbook import Book, Run
from shoal_kernel.lines.celltext import flow_of
from shoal_kernel.restart.heldnames import filled, held_by, told
from shoal_kernel.restart.pastcells import arrived_names, fates_of

OWNER: Any = type("Owner", (), {})()
POOL = "session-1"


def submitted(tid: int, *inputs: int, executor: str = "pool", parent: int = -1) -> TaskSubmitted:
    """A task that takes the values of others, all of which are being made."""
    values = [ValueId(each, 0) for each in inputs]
    cell = CellRef(f"id-{tid}", tid + 1)
    return TaskSubmitted(0.0, tid, f"task-{tid}", executor, values, list(inputs), (), b"", b"", b"", None, cell, parent)


def past_of(*events: Any) -> PastRun:
    past = PastRun()
    past.apply([PoolJoined(0.0, "pool", "mine", POOL), *events])
    return past


def done(tid: int) -> AttemptEnded:
    return AttemptEnded(tid, 1, "value", "w", 1.0, 2.0, 10)


# --------------------------------------------------------------------------- what variables hold


@given(st.lists(st.sampled_from("abcdef"), unique=True, min_size=1), st.sampled_from([list, tuple, dict, None]))
def test_what_a_variable_held_is_made_again(keys: list[str], kind: type | None) -> None:
    """A future, a list, a tuple and a dict of futures are told, and filled anew with the same shape."""
    futures = [TaskFuture[Any](OWNER, tid, key, ("x", "y")) for tid, key in enumerate(keys)]
    value: Any = futures[0]
    if kind is dict:
        value = dict(zip(keys, futures, strict=True))
    elif kind is not None:
        value = kind(futures)
    held = told("name", value)
    assert filled(held, lambda place: futures[place[0]]) == value
    output = told("part", futures[0].outputs["y"])
    assert output.futures == [(0, 1)]


def test_only_futures_of_this_session_count() -> None:
    """Values, containers with anything else in them, futures of other sessions and hidden names are left out."""
    mine, other = TaskFuture[Any](OWNER, 0, "a"), TaskFuture[Any](object(), 1, "b")  # type: ignore[arg-type]
    notebook = {
        "a": mine,
        "b": other,
        "c": [mine, other],
        "d": [mine, 1],
        "e": [],
        "f": {1: mine},
        "_g": mine,
        "h": (mine,),
    }
    assert sorted(held_by(notebook, OWNER)) == ["a", "h"]


def test_a_list_that_grew_holds_something_else() -> None:
    """What a list holds is compared by the tasks, not by the list."""
    futures = [TaskFuture[Any](OWNER, tid, "t") for tid in range(3)]
    grows = futures[:2]
    before = held_by({"x": grows}, OWNER)
    grows.append(futures[2])
    assert held_by({"x": grows}, OWNER) != before
    assert held_by({"x": futures[:2]}, OWNER) == before


# --------------------------------------------------------------------------- what becomes of tasks


def test_tasks_at_the_pool_go_on_and_others_are_lost() -> None:
    """Where a task is decides; of a lost one it is told what it waited for, by the variable's name where it has one."""
    past = past_of(
        submitted(0),
        submitted(1, 0),
        submitted(2, executor="threads"),
        submitted(3, 2, 0),
        submitted(4),
        done(4),
        NamesHeld(
            0.0, CellRef("c"), [HeldName("local", "future", [(2, -1)]), HeldName("old", "future", [(4, -1)])], []
        ),
    )
    fates = {fate.tid: fate for fate in fates_of(past, {(POOL, 0): "running", (POOL, 1): "waiting"})}
    assert {tid: fate.state for tid, fate in fates.items()} == {0: "running", 1: "waiting", 2: "lost", 3: "lost"}
    assert fates[3].lacked == "'local' of task-2 (task 2), task-0 (task 0)"
    assert arrived_names(past, fates) == ["old"]


def test_the_end_of_the_session_is_no_end_of_a_task() -> None:
    """What the log says of tasks when the kernel ended in good order does not make them ended; what a person cancelled stays so."""
    past = past_of(
        submitted(0),
        submitted(1),
        submitted(2),
        TaskEnded(1.0, 2, "cancelled", ""),
        TaskEnded(2.0, 0, "cancelled", "SessionClosed: the interpreter exited before this task ended"),
        TaskEnded(2.0, 1, "cancelled", "SessionClosed: the interpreter exited before this task ended"),
    )
    assert [(fate.tid, fate.state) for fate in fates_of(past, {(POOL, 0): "sent"})] == [(0, "sent"), (1, "lost")]


def test_what_a_lost_task_has_made_is_unwanted() -> None:
    """The task that made it makes it again, when its cell runs again."""
    past = past_of(submitted(0, executor="session"), submitted(1, parent=0), submitted(2, 1, parent=0))
    fates = fates_of(past, {(POOL, 1): "running"})
    assert [(fate.tid, fate.state) for fate in fates] == [(0, "lost"), (1, "unwanted")]


def test_tasks_that_were_taken_over_are_found_where_they_are() -> None:
    """The pool knows them by the session that made them."""
    past = past_of(submitted(0), TaskTakenOver(0, "older", 17))
    assert fates_of(past, {("older", 17): "running"})[0].source == ("older", 17)


def test_what_waited_for_a_list_of_elements_says_so_once() -> None:
    """The list is known by its name; its task is called after it."""
    held = HeldName("many", "elements", [(1, -1), (0, -1)])
    gathers = TaskSubmitted(0.0, 1, "many of cell 3", "session", [ValueId(0, 0)], [0], (), b"", b"", b"")
    past = past_of(submitted(0), gathers, submitted(2, 1), NamesHeld(0.0, CellRef(""), [held], []))
    assert fates_of(past, {(POOL, 0): "sent"})[1].lacked == "'many' of cell 3 (task 1)"


def test_what_gathers_elements_is_not_lost() -> None:
    """It is made anew; its elements count."""
    held = HeldName("many", "elements", [(2, -1), (0, -1), (1, -1)])
    past = past_of(
        submitted(0), submitted(1), submitted(2, executor="session"), NamesHeld(0.0, CellRef(""), [held], [])
    )
    assert [fate.tid for fate in fates_of(past, {(POOL, 0): "sent"})] == [0, 1]


# --------------------------------------------------------------------------- the log


def test_the_log_of_a_run_tells_of_its_cells_and_names(tmp_path: Path) -> None:
    """The last text of a cell, what names held in the end, what tasks printed; a run is found by its session."""
    writer = LogWriter(tmp_path / "run-1" / "events.log")
    for event in (
        PoolJoined(0.0, "pool", "mine", POOL),
        CellBegan(0.0, CellRef("a", 1), "x = 1"),
        CellBegan(0.0, CellRef("", 2), "y = 1"),
        submitted(0),
        TaskPrinted(0, 1, "stdout", "hello"),
        NamesHeld(0.0, CellRef("a"), [HeldName("x", "future", [(0, -1)]), HeldName("y", "future", [(0, -1)])], []),
        CellBegan(0.0, CellRef("a", 3), "x = 2"),
        NamesHeld(0.0, CellRef("a"), [], ["x"]),
    ):
        writer.append(event)
    writer.close()
    LogWriter(tmp_path / "run-2" / "events.log").close()
    (tmp_path / "run-3").mkdir()
    (tmp_path / "run-3" / "events.log").write_bytes(b"no log at all")
    assert find_runs([tmp_path, tmp_path / "none"], ["other", POOL]) == {tmp_path / "run-1" / "events.log": [POOL]}
    past = read_past(tmp_path / "run-1" / "events.log")
    assert [(key, began.text) for key, began in past.cells.items()] == [("a", "x = 2"), ("y = 1", "y = 1")]
    assert list(past.names) == ["y"]
    assert past.printed[0].read("stdout") == "hello"
    assert past.pools == {POOL: "mine"}


# --------------------------------------------------------------------------- the book


def run(key: str, count: int, text: str, restored: bool = False) -> Run:
    return Run(key, count, text, flow_of(text, str), restored=restored)


def test_a_spoilt_cell_runs_again_with_what_it_needs() -> None:
    """What a cell was to make has not come about: it is stale, and so is what needs it; its inputs are made where they are gone."""
    book = Book()
    for count, (key, text) in enumerate({"A": "x = 1", "B": "y = x", "C": "z = y", "D": "w = 1"}.items(), 1):
        book.add(run(key, count, text, True))
    book.forget(["x", "w"])
    book.spoil("B", "it was lost")
    book.spoil("nothing", "it is not known")
    assert book.stale() == {"B": "it was lost", "C": "'y' comes from cell [2], which is stale"}
    assert book.lost("B") == {"x": ("A", "is not there any more")}
    assert not book.as_before("B", lambda name, held: True), "also with the same inputs"
    book.add(run("B", 7, "y = x"))
    assert "B" not in book.stale()


def test_the_first_run_of_a_restored_cell_changes_nothing_below() -> None:
    """A kernel that has nothing makes what the one before had; with another text, or other inputs, it is something new."""
    book = Book()
    for count, (key, text) in enumerate({"A": "x = 1", "B": "y = x", "C": "z = y"}.items(), 1):
        book.add(run(key, count, text, True))
    book.forget(["x", "y"])
    book.add(run("A", 5, "x = 1"))
    book.add(run("B", 6, "y = x"))
    assert book.stale() == {}
    book.add(run("A", 7, "x = 2"))
    assert list(book.stale()) == ["B", "C"]
    book.add(run("B", 8, "y = x"))
    assert list(book.stale()) == ["C"]
