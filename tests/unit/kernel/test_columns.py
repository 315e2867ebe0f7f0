"""The feed's messages: whatever a run does, pages that take every message know what the run's columns say."""

from __future__ import annotations

import base64
import json
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shoal.events import AttemptEnded, AttemptStarted, Event, TaskEnded, TaskSubmitted
from shoal.record.runs import DONE, STATE_NAMES, RunView
from shoal.task import ValueId
from shoal_kernel.views import columns
from shoal_kernel.views.columns import Encoder, Message
from shoal_kernel.views.feed import Feed

RECORDED = Path(__file__).parents[2] / "recorded" / "feed.json"


class Page:
    """What a page does with messages (the Python twin of model.ts, kept as plain as can be)."""

    def __init__(self) -> None:
        self.seq = -1
        self.labels: list[str] = []
        self.workers: list[str] = []
        self.tasks: dict[int, dict[str, Any]] = {}
        self.head: dict[str, Any] = {}
        self.groups: list[tuple[str, list[int]]] = []

    def take(self, message: Message) -> None:
        head = json.loads(json.dumps(message.head))
        if head["kind"] == "full":
            self.labels, self.workers, self.tasks = [], [], {}
        else:
            assert head["seq"] == self.seq + 1
        self.seq, self.head = head["seq"], head
        self.labels[head["labelBase"] :] = head["labels"]
        self.workers[head["workerBase"] :] = head["workers"]
        table = {
            name: array({"u1": "B", "u4": "I", "f8": "d"}[kind], bytes(buffer))
            for (name, kind), buffer in zip(head["columns"], message.buffers, strict=True)
        }
        if head["mode"] == "groups":
            counts = table["counts"].tolist()
            self.groups = [(name, counts[i * 7 : i * 7 + 7]) for i, name in enumerate(self.labels)]
        else:
            self._tasks(table)

    def _tasks(self, table: dict[str, array[Any]]) -> None:
        dep_counts, deps = iter(table.get("dep_count", [])), iter(table.get("dep", []))
        for row, tid in enumerate(table.get("tid", [])):
            if tid >= self.head["firstNew"]:
                taken = [next(deps) for _ in range(next(dep_counts))]
                self.tasks.setdefault(tid, {})["deps"] = taken
            self.tasks[tid].update(
                label=self.labels[table["group"][row]],
                state=STATE_NAMES[table["state"][row]],
                worker=self.workers[table["worker"][row]],
                started=table["started"][row],
                error=self.head["errors"].get(str(tid), self.tasks[tid].get("error", "")),
            )
        assert next(deps, None) is None


def _truth(view: RunView) -> dict[int, dict[str, Any]]:
    return {
        tid: {
            "deps": list(view.deps[tid]),
            "label": view.label[tid],
            "state": STATE_NAMES[view.state[tid]],
            "worker": view.worker[tid],
            "started": view.started[tid],
            "error": view.error[tid],
        }
        for tid in range(len(view))
    }


def _submitted(tid: int, label: str, deps: list[int], waiting: list[int] | None = None) -> TaskSubmitted:
    values = [ValueId(dep) for dep in deps]
    return TaskSubmitted(100.0 + tid, tid, label, "pool", values, waiting or [], (), b"", b"", b"")


@st.composite
def _histories(draw: st.DrawFn) -> list[list[Event]]:
    """Batches of events of one run; each batch is one tick of the feed."""
    batches: list[list[Event]] = []
    total, over = 0, set[int]()
    for _ in range(draw(st.integers(1, 6))):
        batch: list[Event] = []
        for _ in range(draw(st.integers(0, 5))):
            left = sorted(set(range(total)) - over)
            kind = draw(st.sampled_from(["submit", "start", "end", "fail"]))
            if kind == "submit" or not left:
                deps = draw(st.lists(st.integers(0, total - 1), max_size=3, unique=True)) if total else []
                batch.append(_submitted(total, draw(st.sampled_from(["fit", "score", "load"])), deps, deps))
                total += 1
                continue
            tid = draw(st.sampled_from(left))
            worker = draw(st.sampled_from(["a/1", "b/2"]))
            if kind == "start":
                batch.append(AttemptStarted(200.0 + tid, tid, 1, worker))
                continue
            over.add(tid)
            value = kind == "end"
            batch.append(AttemptEnded(tid, 1, "value" if value else "failure", worker, 200.0 + tid, 300.0 + tid))
            if not value:
                batch.append(TaskEnded(300.0 + tid, tid, "failed", "ValueError: no"))
        batches.append(batch)
    return batches


@settings(max_examples=200, deadline=None)
@given(_histories(), st.data())
def test_pages_know_what_the_run_says(batches: list[list[Event]], data: st.DataObject) -> None:
    """After every tick a page that took each message, and one that only took a snapshot, hold the run's columns."""
    view, encoder, old = RunView(), Encoder(), Page()
    for batch in batches:
        view.apply(batch)
        encoder.follow("run", view, False)
        if data.draw(st.booleans()):  # a page that opens between two ticks disturbs nobody
            Page().take(encoder.snapshot(1000.0))
        if encoder.pending:
            old.take(encoder.delta(1000.0))
        new = Page()
        new.take(encoder.snapshot(1000.0))
        assert old.tasks == new.tasks == _truth(view)
        assert old.seq == new.seq
        assert new.head["counts"] == view.counts
        assert encoder.active == (sum(view.counts[:DONE]) > 0)


@settings(max_examples=60, deadline=None)
@given(_histories())
def test_many_tasks_are_counted_by_label(batches: list[list[Event]]) -> None:
    """Above the limit each message holds the number of tasks in each state, by label; nothing is left out unsaid."""
    view, encoder, page = RunView(), Encoder(), Page()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(columns, "MOST_TASKS", 2)
        patch.setattr(columns, "MOST_GROUPS", 2)
        for batch in batches:
            view.apply(batch)
            encoder.follow("run", view, False)
            page.take(encoder.delta(1000.0))
        if page.head["mode"] != "groups":
            assert len(view) <= 2
            return
        for name, counts in page.groups:
            mine = [view.state[tid] for tid in range(len(view)) if view.label[tid] == name]
            assert counts == [mine.count(state) for state in range(7)]
        assert sum(sum(counts) for _, counts in page.groups) + page.head["hiddenTasks"] == len(view)
        assert len(page.groups) + page.head["hiddenGroups"] == len(set(view.label))
        assert page.head["hiddenGroups"] == max(0, len(set(view.label)) - 2)


def test_a_delta_costs_what_changed() -> None:
    """One task of a thousand changes: the message has one row, no strings, and no inputs again."""
    view, encoder = RunView(), Encoder()
    view.apply([_submitted(tid, "fit", [tid - 1] if tid else []) for tid in range(1000)])
    encoder.follow("run", view, False)
    encoder.delta(0.0)
    view.apply([AttemptEnded(0, 1, "value", "", 1.0, 2.0)])
    encoder.follow("run", view, False)
    message = encoder.delta(0.0)
    assert message.head["kind"] == "delta"
    assert sum(map(len, message.buffers)) < 100
    assert message.head["labels"] == message.head["workers"] == []


def test_a_new_run_starts_from_nothing() -> None:
    """Another session's message is a full one, and holds nothing of the old."""
    encoder, page = Encoder(), Page()
    for run, labels in [("one", ["a", "b"]), ("two", ["c"])]:
        view = RunView()
        view.apply([_submitted(tid, label, []) for tid, label in enumerate(labels)])
        encoder.follow(run, view, False)
        page.take(encoder.delta(0.0))
        assert page.head["kind"] == "full"
        assert [task["label"] for task in page.tasks.values()] == labels


def test_a_burst_is_timed_from_its_own_begin() -> None:
    """Tasks that come after all others were over start the clock, and the count, again."""
    view, encoder = RunView(), Encoder()
    view.apply([_submitted(0, "a", []), AttemptEnded(0, 1, "value", "", 100.0, 101.0)])
    encoder.follow("run", view, False)
    view.apply([TaskSubmitted(500.0, 1, "a", "pool", [], [], (), b"", b"", b"")])
    encoder.follow("run", view, False)
    head = encoder.delta(501.0).head
    assert (head["began"], head["before"], head["last"]) == (500.0, 1, 101.0)


class _FakeSession:
    """A session of which only the run is there."""

    def __init__(self, run_id: str) -> None:
        self.run_id, self.closed, self.columns = run_id, False, RunView()

    def view(self) -> RunView:
        return self.columns


@pytest.fixture
def fed() -> Iterator[tuple[_FakeSession, Feed, list[Message], list[str]]]:
    """A feed that is ticked by hand, the session that it follows, what it sent, and when it settled."""
    session, sent, settled = _FakeSession("run"), list[Message](), list[str]()
    feed = Feed(sent.append, lambda: settled.append("settled"), session=lambda: session)
    return session, feed, sent, settled


def test_nothing_is_sent_while_nothing_changes(fed: tuple[_FakeSession, Feed, list[Message], list[str]]) -> None:
    """A tick without news sends no message; one with news sends one, whatever the number of tasks."""
    session, feed, sent, _ = fed
    feed.tick()
    sent.clear()
    assert not feed.tick()
    assert sent == []
    session.columns.apply([_submitted(tid, "fit", []) for tid in range(500)])
    assert feed.tick()
    assert not sent[0].head["ended"]
    assert len(sent) == 1


def test_a_page_that_asks_gets_everything(fed: tuple[_FakeSession, Feed, list[Message], list[str]]) -> None:
    """After ``look`` the next tick sends a full message, though nothing changed; the one after sends none."""
    session, feed, sent, _ = fed
    session.columns.apply([_submitted(0, "fit", [])])
    feed.tick()
    sent.clear()
    feed.look()
    feed.tick()
    feed.tick()
    assert [message.head["kind"] for message in sent] == ["full"]
    page = Page()
    page.take(sent[0])
    assert page.tasks[0]["label"] == "fit"


def test_it_tells_when_all_is_over(fed: tuple[_FakeSession, Feed, list[Message], list[str]]) -> None:
    """``settled`` is called once, when the last unfinished task is over; and the end of the session is told."""
    session, feed, sent, settled = fed
    session.columns.apply([_submitted(0, "fit", [])])
    feed.tick()
    session.columns.apply([AttemptEnded(0, 1, "value", "", 1.0, 2.0)])
    feed.tick()
    feed.tick()
    assert settled == ["settled"]
    session.closed = True
    feed.tick()
    assert sent[-1].head["ended"]


def test_recorded_messages_are_still_what_is_sent() -> None:
    """The messages that the page's own tests read are those that the encoder makes today."""
    view, encoder, messages = RunView(), Encoder(), list[Message]()
    steps: list[list[Event]] = [
        [_submitted(0, "load", []), _submitted(1, "fit", [0], [0]), _submitted(2, "fit", [0], [0])],
        [AttemptEnded(0, 1, "value", "host/7", 101.0, 102.0), AttemptStarted(103.0, 1, 1, "host/8")],
        [
            _submitted(3, "best", [1, 2], [1, 2]),
            AttemptEnded(2, 1, "failure", "host/7", 102.0, 104.0),
            TaskEnded(104.0, 2, "failed", "ValueError: no"),
            TaskEnded(104.5, 3, "skipped", "input failed"),
        ],
    ]
    for step in steps:
        view.apply(step)
        encoder.follow("run", view, False)
        messages.append(encoder.delta(105.0))
    messages.append(encoder.snapshot(106.0))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(columns, "MOST_TASKS", 2)
        messages.append(encoder.delta(107.0))
    made = [{"head": m.head, "buffers": [base64.b64encode(b).decode() for b in m.buffers]} for m in messages]
    assert json.loads(json.dumps(made)) == json.loads(RECORDED.read_text())
