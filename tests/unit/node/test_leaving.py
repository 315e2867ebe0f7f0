"""When a node leaves its pool, on a clock that the test turns; and what the kernel's counters tell."""

from __future__ import annotations

import pytest

from shoal.blocks.scaling import Scaling, SubmitBlock
from shoal.blocks.states import BlockState
from shoal.node.crew import Exit
from shoal.node.leaving import EVERY, MARGIN, Leaving
from shoal.node.memory import KilledByKernel
from shoal.wire.starting import NodeRules


class FakeEndings:
    def __init__(self):
        self.reasons = []

    def end_all(self, reason, now):
        self.reasons.append((now, reason))


@pytest.fixture
def endings():
    return FakeEndings()


def test_a_node_without_a_walltime_stays(endings):
    """Nothing is ever due."""
    told = []
    leaving = Leaving(NodeRules(), 100.0, endings, told.append)
    assert leaving.wait(1e9) == float("inf")
    assert not leaving.look(1e9)
    assert told == []


def test_a_node_says_so_then_interrupts_then_ends(endings):
    """Once each, in time before the end."""
    told = []
    rules = NodeRules(walltime=1000.0, drain_before=50.0, grace=2.0)
    leaving = Leaving(rules, 100.0, endings, told.append)
    assert leaving.wait(200.0) == 850.0
    assert not leaving.look(1049.0)
    assert told == []
    assert not leaving.look(1050.0)
    assert not leaving.look(1060.0)
    assert told == ["its block reaches its walltime of 1000 s"]
    assert leaving.wait(1060.0) == pytest.approx(1100.0 - 2.0 - MARGIN - 1060.0)
    assert endings.reasons == []
    assert not leaving.look(1097.0)
    assert endings.reasons == [(1097.0, told[0])]
    assert leaving.wait(1097.5) == EVERY
    assert leaving.look(1100.0)


def test_a_short_walltime_is_not_all_spent_on_leaving(endings):
    """Half of it is for work, however long before the end nothing more is to begin."""
    told = []
    leaving = Leaving(NodeRules(walltime=10.0, drain_before=60.0), 0.0, endings, told.append)
    assert not leaving.look(4.9)
    assert told == []
    leaving.look(5.0)
    assert len(told) == 1


def test_a_node_that_is_terminated_leaves_at_once(endings):
    """What runs has as long as before the end of a walltime, and no longer than until that; a second signal changes nothing."""
    told = []
    leaving = Leaving(NodeRules(walltime=1000.0, drain_before=50.0), 0.0, endings, told.append)
    leaving.terminate(10.0)
    leaving.terminate(40.0)
    assert leaving.wait(10.0) == 0.0
    assert not leaving.look(10.0)
    assert "SIGTERM" in told[0]
    assert not leaving.look(59.0)
    assert leaving.look(60.0)


def test_a_block_that_leaves_is_replaced_and_has_not_failed():
    """Another one is asked for at once; the end of the first is as it should be."""
    scaling = Scaling(0, 2)
    scaling.target_set(1, [], 0.0)
    scaling.accepted(0, "job", 0.0)
    assert scaling.arrived(0, 0.0)
    assert [c.block for c in scaling.leaving(0, 5.0) if isinstance(c, SubmitBlock)] == [1]
    assert scaling.leaving(0, 6.0) == []
    assert scaling.leaving(7, 6.0) == []
    scaling.ended(0, "exit code 0", 9.0)
    assert scaling.blocks[0].state is BlockState.ENDED
    assert [b.number for b in scaling.live()] == [1]


# --------------------------------------------------------------------------- counters


def counters(proc, text):
    (proc / "self").mkdir(parents=True, exist_ok=True)
    (proc / "vmstat").write_text(f"nr_free_pages 1\noom_kill {text}\n")


@pytest.mark.parametrize(
    ("line", "file"), [("0::/job/step", "job/step/memory.events"), ("5:memory:/job", "memory/job/memory.oom_control")]
)
def test_the_counter_of_the_own_control_group_tells(tmp_path, line, file):
    """In either version of control groups; what happened elsewhere on the host does not count then."""
    proc, groups = tmp_path / "proc", tmp_path / "groups"
    counters(proc, 5)
    (proc / "self/cgroup").write_text(f"{line}\n")
    path = groups / file
    path.parent.mkdir(parents=True)
    path.write_text("low 0\noom_kill 0\n")
    kernel = KilledByKernel(proc, groups)
    counters(proc, 6)
    assert kernel.explain(Exit(-9, 10**9)) == "signal 9 (SIGKILL)"
    path.write_text("low 0\noom_kill 1\n")
    assert "memory ran out: it had up to 1 GB" in kernel.explain(Exit(-9, 10**9))
    assert kernel.explain(Exit(-9, 10**9)) == "signal 9 (SIGKILL)", "once it is counted"


def test_without_that_the_counter_of_the_host_tells(tmp_path):
    """Where there is none at all, nothing is said."""
    counters(tmp_path, 5)
    kernel = KilledByKernel(tmp_path, tmp_path)
    counters(tmp_path, 6)
    assert "memory ran out" in kernel.explain(Exit(-9, 1))
    assert kernel.explain(Exit(-11, 1, "Fatal Python error")) == "signal 11 (SIGSEGV), it crashed"
    assert "ended the process" in kernel.explain(Exit(3, 1))
    assert KilledByKernel(tmp_path / "none", tmp_path).explain(Exit(-9, 1)) == "signal 9 (SIGKILL)"
