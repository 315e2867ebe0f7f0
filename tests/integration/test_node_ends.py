"""Tasks that are told to end have a chance to clean up; blocks whose time is up leave in good order."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

import shoal
from shoal.blocks.providers.local import LocalProvider
from shoal.dispatch.failures import CANCELLED
from shoal.errors import AppTimeout, ConfigurationError
from shoal.serialize import unpack_failure
from shoal.wire.messages import Cancel, Running, Scale, Trouble
from shoal.wire.starting import NodeRules


def running(client):
    """The attempts announced as running."""
    return {a.tid for m in client.of(Running) for a in m.attempts}


def work(seconds, mark, own_handler=False):
    """Works, and writes into a file how it ended."""
    import signal
    import time
    from pathlib import Path

    if own_handler:

        def checkpoint(*_):
            Path(mark).write_text("handled")
            raise SystemExit

        signal.signal(signal.SIGTERM, checkpoint)
    try:
        Path(f"{mark}-begun").touch()
        time.sleep(seconds)
    finally:
        if not own_handler:
            Path(mark).write_text("cleaned up")
    return "whole"


# --------------------------------------------------------------------------- one task is told to end


@pytest.mark.parametrize("own_handler", [False, True], ids=["finally", "SIGTERM handler"])
@pytest.mark.parametrize("why", ["walltime", "cancel"])
def test_a_task_that_is_ended_can_clean_up(pools, tmp_path, why, own_handler):
    """By its finally blocks, or by the handler that it has set for SIGTERM; whatever it does then, it has not succeeded."""
    client = pools.start(workers=1)
    mark = tmp_path / "mark"
    options = {"walltime": 3.0} if why == "walltime" else {}
    (tid,) = client.submit(work, 60.0, str(mark), own_handler, **options)
    if why == "cancel":
        client.wait(Path(f"{mark}-begun").exists)
        client.send(Cancel([(0, tid, 1)]))
    failure = client.result(tid).failure
    if why == "walltime":
        assert isinstance(unpack_failure(failure), AppTimeout)
    else:
        assert failure.type_name == CANCELLED
    assert mark.read_text() == ("handled" if own_handler else "cleaned up")


def test_a_handler_that_goes_on_has_only_its_grace(pools):
    """It may finish what it does; after the grace it is killed."""
    client = pools.start(workers=1, rules=NodeRules(grace=1.0))

    def stubborn():
        import signal
        import time

        signal.signal(signal.SIGTERM, lambda *_: None)
        time.sleep(60)

    (tid,) = client.submit(stubborn, walltime=1.5)
    result = client.result(tid)
    assert isinstance(unpack_failure(result.failure), AppTimeout)
    assert 2.4 < result.ended - result.started < 8.0


def test_a_task_that_terminates_itself_is_lost_by_that_signal(pools, tmp_path):
    """As without Shoal, but that its finally blocks run."""
    client = pools.start(workers=1)
    mark = tmp_path / "mark"

    def end(mark):
        import os
        import signal
        import time
        from pathlib import Path

        try:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(60)
        finally:
            Path(mark).touch()

    failure = client.result(client.submit(end, str(mark))[0]).failure
    assert failure.lost
    assert "SIGTERM" in failure.message
    assert mark.exists()


def test_children_die_of_sigterm_as_ever(pools):
    """What a task forks or starts has the default action, whatever its worker does."""
    client = pools.start(workers=1)

    def terminate():
        import os
        import signal
        import subprocess
        import time

        forked = os.fork()
        if not forked:
            time.sleep(60)
            os._exit(0)
        started = subprocess.Popen(["sleep", "60"])
        os.kill(forked, signal.SIGTERM)
        started.terminate()
        return os.waitstatus_to_exitcode(os.waitpid(forked, 0)[1]), started.wait()

    assert client.value(client.submit(terminate)[0]) == (-15, -15)


# --------------------------------------------------------------------------- a block's time is up


def nap(seconds):
    import os
    import time

    time.sleep(seconds)
    return os.getppid()


def test_a_block_leaves_before_its_walltime_and_another_takes_its_place(pools):
    """Nothing is lost, nobody is troubled, and the work goes on in the next block."""
    rules = NodeRules(drain_before=3.0, grace=0.2)
    client = pools.start(workers=2, provider=LocalProvider(walltime=6.0), rules=rules)
    tids = client.submit(nap, 0.2, count=60)
    managers = {client.value(tid, 60.0) for tid in tids}
    assert len(managers) >= 2
    states = [b.state for b in client.status().blocks]
    assert states.count("ended") >= 1
    assert set(states) <= {"ended", "draining", "running", "pending", "requested"}
    assert not client.of(Trouble)


def test_what_runs_at_the_end_of_a_block_is_interrupted_and_lost(pools, tmp_path):
    """By name, with a chance to clean up; the attempt may be run again."""
    mark = tmp_path / "mark"
    rules = NodeRules(drain_before=1.0, grace=0.5)
    client = pools.start(workers=1, provider=LocalProvider(walltime=6.0), rules=rules)
    began = time.monotonic()
    (tid,) = client.submit(work, 60.0, str(mark), True)
    failure = client.result(tid, 20.0).failure
    assert failure.lost
    assert "reaches its walltime of 6 s" in failure.message
    assert mark.read_text() == "handled"
    assert time.monotonic() - began < 15
    assert client.value(client.submit(nap, 0.0)[0], 20.0) > 0
    assert client.status().blocks[0].state == "ended"


def test_a_manager_that_is_terminated_lets_its_tasks_end(pools):
    """As a batch system warns: nothing more begins there, what runs ends by itself, another block takes over."""
    client = pools.start(workers=1)
    (tid,) = client.submit(nap, 2.0)
    client.wait(lambda: tid in running(client))
    waiting = client.submit(nap, 0.0, count=3)
    (manager,) = client.status().managers
    os.kill(manager.pid, signal.SIGTERM)
    assert client.value(tid) == manager.pid
    others = {client.value(tid, 20.0) for tid in waiting}
    assert manager.pid not in others
    assert pools.eventually(lambda: client.status().blocks[0].state == "ended")
    assert not client.of(Trouble)


def test_a_walltime_that_cannot_be_is_refused():
    """When the spec is made, by its name."""
    with pytest.raises(ConfigurationError, match="LocalProvider.walltime"):
        LocalProvider(walltime=0.0)
    assert shoal.HighThroughputExecutor(provider=LocalProvider(walltime=60)).provider.walltime == 60


# --------------------------------------------------------------------------- scaling in


def test_scaling_in_takes_idle_blocks_and_lets_busy_ones_finish(pools):
    """Of a busy and an idle block the idle one goes; when the busy one has to go too, its task ends first."""
    client = pools.start(workers=1, provider=LocalProvider(init_blocks=2, max_blocks=2))
    client.wait(lambda: len([m for m in client.status().managers if m.workers]) == 2)
    (tid,) = client.submit(nap, 5.0)
    client.wait(lambda: tid in running(client))
    client.send(Scale(1, 1))
    assert pools.eventually(lambda: sorted(b.state for b in client.status().blocks) == ["ended", "running"])
    (busy,) = client.status().managers
    assert busy.running == 1
    client.send(Scale(2, 0))
    assert client.value(tid) == busy.pid
    assert pools.eventually(lambda: {b.state for b in client.status().blocks} == {"ended"})
    assert client.of(Trouble) == []
