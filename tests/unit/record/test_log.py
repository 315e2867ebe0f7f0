"""The event log and the columns made from it."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shoal.events import AttemptEnded, AttemptStarted, Event, TaskEnded, TaskLaunched, TaskSubmitted
from shoal.record.log import LogDamaged, LogReader, LogWriter
from shoal.record.runs import CANCELLED, DONE, FAILED, QUEUED, RUNNING, SKIPPED, WAITING, RunView
from shoal.task import ValueId


def submitted(tid: int, *deps: int, waiting: tuple[int, ...] | None = None) -> TaskSubmitted:
    """A submission with the given inputs, all unfinished unless said."""
    values = [ValueId(dep) for dep in deps]
    return TaskSubmitted(
        1.0 + tid, tid, f"f{tid}", "pool", values, list(deps if waiting is None else waiting), (), b"", b"", b""
    )


def write(path: Path, events: list[Event]) -> None:
    """Write a whole log."""
    log = LogWriter(path)
    for event in events:
        log.append(event)
    log.close()


def test_what_is_appended_is_read_back_in_order(tmp_path: Path) -> None:
    """A reader sees all events, and later only the new ones."""
    log = LogWriter(tmp_path / "run" / "events.log")
    reader = LogReader(log.path)
    log.append(submitted(0))
    log.flush()
    assert reader.read() == [submitted(0)]
    log.append(submitted(1, 0))
    log.flush()
    assert reader.read() == [submitted(1, 0)]
    assert reader.read() == []
    log.close()
    assert log.path.stat().st_mode & 0o777 == 0o600
    assert log.path.parent.stat().st_mode & 0o777 == 0o700


@given(cut=st.integers(1, 400))
def test_a_log_cut_off_at_any_byte_is_read_up_to_its_last_whole_frame(
    tmp_path_factory: pytest.TempPathFactory, cut: int
) -> None:
    """A kill at any byte loses only what was being written."""
    path = tmp_path_factory.mktemp("log") / "events.log"
    log = LogWriter(path)
    for tid in range(3):
        log.append(submitted(tid))
        log.flush()
    log.close()
    data = path.read_bytes()
    path.write_bytes(data[: max(8, len(data) - cut)])
    events = LogReader(path).read()
    assert events == [submitted(tid) for tid in range(len(events))]


def test_a_damaged_frame_ends_the_log(tmp_path: Path) -> None:
    """A checksum that differs is not believed."""
    path = tmp_path / "events.log"
    write(path, [submitted(0)])
    data = bytearray(path.read_bytes())
    data[-1] ^= 0xFF
    path.write_bytes(bytes(data))
    assert LogReader(path).read() == []


def test_a_file_that_is_no_log_is_named(tmp_path: Path) -> None:
    """The error says which file."""
    path = tmp_path / "notes.txt"
    path.write_text("hello, world")
    with pytest.raises(LogDamaged, match=r"notes\.txt"):
        LogReader(path).read()


def test_a_full_disk_stops_the_log_and_not_the_run() -> None:
    """On a device that is always full the first error is kept, and nothing raises."""
    log = LogWriter(Path("/dev/full"))
    log.append(submitted(0))
    log.close()
    assert log.failed is not None


def test_columns_follow_a_chain() -> None:
    """Waiting, then queued when the input is made, running, done."""
    view = RunView()
    view.apply([submitted(0), submitted(1, 0)])
    assert list(view.state) == [QUEUED, WAITING]
    assert view.deps == [(), (0,)]
    view.apply([AttemptStarted(2.0, 0, 1, "host/7")])
    assert view.state[0] == RUNNING
    view.apply([AttemptEnded(0, 1, "value", "host/7", 2.0, 3.0, 10), TaskLaunched(3.0, 1, 1)])
    assert list(view.state) == [DONE, QUEUED]
    assert (view.started[0], view.ended[0], view.worker[0], view.size[0]) == (2.0, 3.0, "host/7", 10)
    assert view.counts == [0, 1, 0, 1, 0, 0, 0]


def test_columns_show_failures_skips_and_cancels() -> None:
    """Each ending without a value has its own state and its line."""
    view = RunView()
    view.apply([submitted(0), submitted(1, 0), submitted(2)])
    view.apply(
        [
            AttemptEnded(0, 1, "failure", "h/1", 1.0, 2.0, 0, "ValueError: no"),
            TaskEnded(2.0, 0, "failed", "ValueError: no"),
        ]
    )
    view.apply([TaskEnded(2.0, 1, "skipped", "input f0 failed"), TaskEnded(2.5, 2, "cancelled", "")])
    assert list(view.state) == [FAILED, SKIPPED, CANCELLED]
    assert view.error[0] == "ValueError: no"


def test_changes_are_told_once() -> None:
    """changed_since gives just the tasks touched after a version."""
    view = RunView()
    view.apply([submitted(0), submitted(1), submitted(2)])
    seen = view.version
    assert view.changed_since(0) == [0, 1, 2]
    view.apply([AttemptStarted(2.0, 1, 1, "h/1")])
    assert view.changed_since(seen) == [1]
    assert view.changed_since(view.version) == []
