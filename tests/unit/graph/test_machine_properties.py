"""Random graphs, failures, cancels, retries and joins in any order."""

from __future__ import annotations

from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from shoal.graph.commands import (
    AttemptFailed,
    AttemptJoined,
    AttemptStarted,
    AttemptSucceeded,
    CancelRequested,
    Closed,
    Delay,
    DelayOver,
    Drop,
    End,
    InputFailed,
    Join,
    Joined,
    Launch,
    TaskSubmitted,
)
from shoal.graph.machine import TABLE, GraphMachine
from shoal.graph.states import TaskState

DONE = TaskState.DONE


class GraphModel(RuleBasedStateMachine):
    """A session in miniature that checks every promise of the machine."""

    def __init__(self) -> None:
        super().__init__()
        self.machine = GraphMachine()
        self.inputs: dict[int, tuple[int, ...]] = {}
        self.joins: dict[int, tuple[int, ...]] = {}  # what a joining task waits for
        self.empty: set[tuple[int, int]] = set()  # (task, dependent): the task ended well, with nothing for this one
        self.ended: dict[int, TaskState] = {}
        self.launched: dict[int, int] = {}
        self.live: set[tuple[int, int]] = set()  # attempts on some executor
        self.timers: set[tuple[int, int]] = set()

    def tell(self, fact: Any) -> None:
        """Hand a fact to the machine, and hold the move against the table."""
        before = self.machine.state(fact.tid)
        commands = self.machine.handle(fact)
        after = self.machine.state(fact.tid)
        if before is not None:
            if after is None:
                after = next(c.state for c in commands if isinstance(c, End) and c.tid == fact.tid)
            assert after in TABLE[before, type(fact)].to
        self.carry_out(commands)

    def valued(self, source: int, dependent: int) -> bool:
        return self.ended.get(source) is DONE and (source, dependent) not in self.empty

    def carry_out(self, commands: list[Any]) -> None:
        for command in commands:
            tid = command.tid
            if isinstance(command, Launch):
                assert tid not in self.ended, "launched after its end"
                assert command.attempt == self.launched.get(tid, 0) + 1, "attempts are numbered in order"
                assert all(self.ended.get(i) is DONE for i in self.inputs[tid]), "ran before its input was made"
                missing = [i for i in self.inputs[tid] if not self.valued(i, tid)]
                if missing:
                    self.tell(InputFailed(tid, missing[0]))
                    continue
                self.launched[tid] = command.attempt
                self.live.add((tid, command.attempt))
            elif isinstance(command, Join):
                assert all(self.ended.get(i) is DONE for i in self.joins[tid]), "joined before its tasks ended"
                missing = [i for i in self.joins[tid] if not self.valued(i, tid)]
                self.tell(Joined(tid, missing[0] if missing else None))
            elif isinstance(command, Delay):
                self.timers.add((tid, command.attempt))
            elif isinstance(command, End):
                assert tid not in self.ended, "ended twice"
                self.ended[tid] = command.state
                if command.state is TaskState.SKIPPED:
                    assert command.cause in self.inputs[tid]
                    assert not self.valued(command.cause, tid)
                elif command.cause is not None:
                    assert command.state is TaskState.FAILED
                    assert command.cause in self.joins[tid]
            else:
                assert isinstance(command, Drop)

    @rule(data=st.data(), retries=st.sampled_from([0, 1, 2, 2.5]))
    def submit(self, data: st.DataObject, retries: float) -> None:
        tid = len(self.inputs)
        inputs = self.choose(data)
        self.inputs[tid] = inputs
        bad = [i for i in inputs if i in self.ended and not self.valued(i, tid)]
        waiting = tuple(i for i in inputs if i not in self.ended)
        self.carry_out(self.machine.handle(TaskSubmitted(tid, waiting, bad[0] if bad else None, retries)))

    def choose(self, data: st.DataObject) -> tuple[int, ...]:
        known = sorted(self.inputs)
        return tuple(data.draw(st.lists(st.sampled_from(known), unique=True, max_size=4))) if known else ()

    @rule(
        data=st.data(),
        how=st.sampled_from(["start", "succeed", "flawed", "fail", "fail for good", "fail and wait", "costly"]),
    )
    def report(self, data: st.DataObject, how: str) -> None:
        if not self.live:
            return
        tid, attempt = key = data.draw(st.sampled_from(sorted(self.live)))
        if how == "start":
            self.tell(AttemptStarted(tid, attempt))
            return
        self.live.discard(key)
        if how == "succeed":
            joining = tid in self.joins
            self.tell(AttemptSucceeded(tid, attempt))
            assert tid in self.ended or joining, "a value ends its task"
        elif how == "flawed":
            if tid not in self.ended:
                self.empty |= {(tid, d) for d in range(tid, tid + 50) if data.draw(st.booleans())}
            self.tell(AttemptSucceeded(tid, attempt, flawed=True))
        else:
            cost = 2.0 if how == "costly" else 1.0
            delay = 1.5 if how == "fail and wait" else 0.0
            self.tell(AttemptFailed(tid, attempt, how == "fail for good", cost, delay))

    @rule(data=st.data())
    def return_futures(self, data: st.DataObject) -> None:
        """An attempt ends as the body of a join app does."""
        if not self.live:
            return
        tid, attempt = key = data.draw(st.sampled_from(sorted(self.live)))
        self.live.discard(key)
        joins = self.choose(data)
        if tid not in self.ended and tid not in self.joins and self.machine.attempt(tid) == attempt:
            self.joins[tid] = joins
        bad = [i for i in joins if i in self.ended and not self.valued(i, tid)]
        waiting = tuple(i for i in joins if i not in self.ended)
        self.tell(AttemptJoined(tid, attempt, waiting, bad[0] if bad else None))

    @rule(data=st.data())
    def time_passes(self, data: st.DataObject) -> None:
        if self.timers:
            timer = data.draw(st.sampled_from(sorted(self.timers)))
            self.timers.discard(timer)
            if self.machine.state(timer[0]) in (None, TaskState.DELAYED):
                self.tell(DelayOver(*timer))

    @rule(data=st.data(), stopped=st.booleans())
    def cancel(self, data: st.DataObject, stopped: bool) -> None:
        if self.inputs:
            tid = data.draw(st.sampled_from(sorted(self.inputs)))
            self.tell(CancelRequested(tid, stopped))
            assert tid in self.ended or not stopped

    @rule()
    def close(self) -> None:
        self.carry_out(self.machine.handle(Closed()))
        assert set(self.ended) == set(self.inputs), "closing answers everybody"

    @invariant()
    def it_keeps_exactly_the_unfinished(self) -> None:
        assert len(self.machine) == len(self.inputs) - len(self.ended)

    @invariant()
    def an_unfinished_task_can_still_end(self) -> None:
        """Nothing pends for ever: what it waits for leads to a live attempt or a timer, and never in a circle."""

        def moves(tid: int, above: frozenset[int]) -> bool:
            if tid in self.ended or (tid, self.launched.get(tid, 0)) in self.live:
                return True
            if self.machine.state(tid) is TaskState.DELAYED:
                return any(timer[0] == tid for timer in self.timers)
            left = [i for i in (*self.inputs[tid], *self.joins.get(tid, ())) if i not in self.ended]
            assert not above.intersection(left), "they wait for each other"
            return bool(left) and all(moves(i, above | {tid}) for i in left)

        for tid in self.inputs:
            assert moves(tid, frozenset())

    def teardown(self) -> None:
        self.carry_out(self.machine.handle(Closed()))
        assert set(self.ended) == set(self.inputs)


TestGraph = GraphModel.TestCase
TestGraph.settings = settings(max_examples=200, stateful_step_count=40, deadline=None)
