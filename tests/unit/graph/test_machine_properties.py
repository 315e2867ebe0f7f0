"""Random graphs, failures, cancels and retries in any order."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from shoal.graph.commands import (
    AttemptFailed,
    AttemptStarted,
    AttemptSucceeded,
    CancelRequested,
    Closed,
    Drop,
    End,
    Launch,
    TaskSubmitted,
)
from shoal.graph.machine import TABLE, GraphMachine
from shoal.graph.states import TaskState


class GraphModel(RuleBasedStateMachine):
    """A session in miniature that checks every promise of the machine."""

    def __init__(self) -> None:
        super().__init__()
        self.machine = GraphMachine()
        self.inputs: dict[int, tuple[int, ...]] = {}
        self.ended: dict[int, TaskState] = {}
        self.launched: dict[int, int] = {}
        self.live: set[tuple[int, int]] = set()  # attempts on some executor

    def tell(self, fact: AttemptStarted | AttemptSucceeded | AttemptFailed | CancelRequested) -> None:
        """Hand a fact to the machine, and hold the move against the table."""
        before = self.machine.state(fact.tid)
        self.carry_out(self.machine.handle(fact))
        if before is not None:
            after = self.machine.state(fact.tid) or self.ended[fact.tid]
            assert after in TABLE[before, type(fact)].to

    def carry_out(self, commands: list[object]) -> None:
        for command in commands:
            if isinstance(command, Launch):
                assert command.tid not in self.ended, "launched after its end"
                assert command.attempt == self.launched.get(command.tid, 0) + 1, "attempts are numbered in order"
                for source in self.inputs[command.tid]:
                    assert self.ended.get(source) is TaskState.DONE, "ran before its input was made"
                self.launched[command.tid] = command.attempt
                self.live.add((command.tid, command.attempt))
            elif isinstance(command, End):
                assert command.tid not in self.ended, "ended twice"
                self.ended[command.tid] = command.state
                if command.state is TaskState.SKIPPED:
                    assert command.cause in self.inputs[command.tid]
                    assert self.ended[command.cause] not in (None, TaskState.DONE)
            else:
                assert isinstance(command, Drop)

    @rule(data=st.data(), retries=st.integers(0, 2))
    def submit(self, data: st.DataObject, retries: int) -> None:
        tid = len(self.inputs)
        known = sorted(self.inputs)
        inputs = tuple(data.draw(st.lists(st.sampled_from(known), unique=True, max_size=4))) if known else ()
        self.inputs[tid] = inputs
        bad = [i for i in inputs if self.ended.get(i) not in (None, TaskState.DONE)]
        waiting = tuple(i for i in inputs if i not in self.ended)
        self.carry_out(self.machine.handle(TaskSubmitted(tid, waiting, bad[0] if bad else None, retries)))

    @rule(data=st.data(), how=st.sampled_from(["start", "succeed", "fail", "fail for good"]))
    def report(self, data: st.DataObject, how: str) -> None:
        if not self.live:
            return
        tid, attempt = key = data.draw(st.sampled_from(sorted(self.live)))
        if how == "start":
            self.tell(AttemptStarted(tid, attempt))
            return
        self.live.discard(key)
        if how == "succeed":
            self.tell(AttemptSucceeded(tid, attempt))
            assert tid in self.ended, "a value ends its task"
        else:
            self.tell(AttemptFailed(tid, attempt, how == "fail for good"))

    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        if self.inputs:
            tid = data.draw(st.sampled_from(sorted(self.inputs)))
            self.tell(CancelRequested(tid))

    @rule()
    def close(self) -> None:
        self.carry_out(self.machine.handle(Closed()))
        assert set(self.ended) == set(self.inputs), "closing answers everybody"

    @invariant()
    def it_keeps_exactly_the_unfinished(self) -> None:
        assert len(self.machine) == len(self.inputs) - len(self.ended)

    @invariant()
    def an_unfinished_task_can_still_end(self) -> None:
        """Nothing pends for ever: it has a live attempt, or an unfinished input."""
        for tid, inputs in self.inputs.items():
            if tid not in self.ended:
                alive = (tid, self.launched.get(tid, 0)) in self.live
                assert alive or any(i not in self.ended for i in inputs)

    def teardown(self) -> None:
        self.carry_out(self.machine.handle(Closed()))
        assert set(self.ended) == set(self.inputs)


TestGraph = GraphModel.TestCase
TestGraph.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
