"""What tasks leave behind in their worker is undone for the next one; what is not ends with the worker."""

from __future__ import annotations

import os
import time
from itertools import pairwise

import psutil
import pytest

import shoal
from shoal.errors import WorkerLost
from shoal.node.capture import LIMIT
from shoal.serialize import unpack_failure
from shoal.wire.messages import Output, Trouble
from shoal.wire.starting import NodeRules

CHANGES = {
    "environment": "os.environ['SHOAL_TEST'] = 'x'; os.environ.pop('PATH'); os.environ['HOME'] = '/nowhere'",
    "environment as bytes": "os.environb[b'SHOAL_TEST'] = b'x'; del os.environb[b'PATH']",
    "environment as a whole": "os.environ.clear()",
    "directory": "os.chdir('/')",
    "umask": "os.umask(0o777)",
    "handlers": "signal.signal(signal.SIGUSR1, signal.SIG_IGN); signal.signal(signal.SIGCHLD, signal.SIG_IGN)",
    "mask": "signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1, signal.SIGTERM})",
    "timers": "signal.setitimer(signal.ITIMER_REAL, 0.3)",
    "alarm": "signal.alarm(1)",
    "stdin closed": "os.close(0)",
    "stdin as Python sees it": "sys.stdin.close(); sys.stdin = None",
    "stdin led elsewhere": "n = os.open('/dev/zero', os.O_RDONLY); os.dup2(n, 0); os.close(n)",
    "all streams": "os.close(0); os.close(1); os.close(2)",
}


def change(how):
    import os
    import signal
    import sys

    exec(how, {"os": os, "signal": signal, "sys": sys})


def state():
    """All that is to be as it was."""
    import os
    import signal
    import subprocess
    import sys

    mask = os.umask(0)
    os.umask(mask)
    return {
        "environment": dict(os.environ),
        "directory": os.getcwd(),
        "umask": mask,
        "handlers": [str(signal.getsignal(n)) for n in (signal.SIGUSR1, signal.SIGCHLD, signal.SIGTERM)],
        "mask": sorted(signal.pthread_sigmask(signal.SIG_BLOCK, ())),
        "timer": signal.getitimer(signal.ITIMER_REAL),
        "stdin": (os.readlink("/proc/self/fd/0"), sys.stdin.read(), sys.stdin.closed),
        "below": subprocess.run(["sh", "-c", "env | sort | grep -v ^_; cat"], capture_output=True, check=True).stdout,
    }


@pytest.mark.parametrize("what", CHANGES)
def test_what_a_task_changes_is_undone_for_the_next(pools, what):
    """In the same worker, for Python and for the processes that it starts."""
    client = pools.start(workers=1)
    before = client.value(client.submit(state)[0])
    client.value(client.submit(change, CHANGES[what])[0])
    after = client.value(client.submit(state)[0])
    assert after == before
    if what in ("timers", "alarm"):
        assert client.value(client.submit(time.sleep, 1.2)[0]) is None
    assert len({r.worker for r in client.results.values()}) == 1


def test_what_a_module_sets_while_it_is_imported_stays(pools, tmp_path, monkeypatch):
    """As the module does, which is imported once."""
    (tmp_path / "shoal_test_setting.py").write_text("import os\nos.environ['SHOAL_TEST_SET'] = '1'\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    client = pools.start(workers=1)

    def use():
        import os

        import shoal_test_setting

        os.environ["SHOAL_TEST_OTHER"] = "1"
        return shoal_test_setting.__name__

    assert client.value(client.submit(use)[0]) == "shoal_test_setting"
    (tid,) = client.submit(lambda: (os.environ.get("SHOAL_TEST_SET"), os.environ.get("SHOAL_TEST_OTHER")))
    assert client.value(tid) == ("1", None)


# --------------------------------------------------------------------------- workers that end


def crash(how):
    import ctypes
    import os

    def inner():
        if how == "segfault":
            ctypes.string_at(0)
        elif how == "abort":
            os.abort()
        os._exit(3)

    inner()


@pytest.mark.parametrize(
    ("how", "words"),
    [("segfault", "SIGSEGV"), ("abort", "SIGABRT"), ("_exit", "exit code 3: the task, or a library")],
)
def test_a_crash_is_told_with_its_stack(pools, how, words):
    """How the process ended, and for crashes where in the task that was."""
    client = pools.start(workers=1)
    failure = client.result(client.submit(crash, how)[0]).failure
    error = unpack_failure(failure)
    assert isinstance(error, WorkerLost)
    assert words in str(error)
    if how != "_exit":
        assert "Fatal Python error" in error.trace
        assert "in inner" in str(error)
        assert "in crash" in str(error)
    assert client.value(client.submit(os.getpid)[0]) > 0


def test_the_crash_of_a_child_is_not_taken_for_that_of_its_worker(pools):
    """A forked child that crashes leaves its parent well; a later end by a signal tells no old story."""
    client = pools.start(workers=1)

    def fork():
        import ctypes
        import os

        pid = os.fork()
        if not pid:
            ctypes.string_at(0)
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

    assert client.value(client.submit(fork)[0]) == -11

    def end():
        import os
        import signal

        os.kill(os.getpid(), signal.SIGKILL)

    assert "Fatal" not in client.result(client.submit(end)[0]).failure.message


def test_a_gigabyte_of_prints_is_bounded(pools):
    """It is read and dropped, quickly, and neither pool nor manager grows by it."""
    client = pools.start(workers=1)
    client.value(client.submit(os.getpid)[0])
    (manager,) = pools.roles(client)["shoal.node.manager"]
    before = {p.pid: p.memory_info().rss for p in (manager, psutil.Process(client.connection.pid))}

    def speak(megabytes):
        import sys

        line = "x" * 999 + "\n"
        for _ in range(megabytes):
            sys.stdout.write(line * 1000)

    began = time.monotonic()
    client.value(client.submit(speak, 1000)[0], 120.0)
    took = time.monotonic() - began
    text = "".join(m.text for m in client.of(Output))
    assert LIMIT < len(text) < LIMIT + 200
    assert "is cut here" in text[-100:]
    grown = {pid: psutil.Process(pid).memory_info().rss - rss for pid, rss in before.items()}
    assert max(grown.values()) < 30e6
    assert took < 60


# --------------------------------------------------------------------------- replacement after some tasks


def who(seconds=0.0):
    import os
    import time

    time.sleep(seconds)
    return os.getpid()


@pytest.mark.parametrize("lifetime", [1, 3, 10])
def test_workers_are_replaced_after_some_tasks(pools, lifetime):
    """None runs more than it may, all tasks are done once, and nothing is said of it."""
    client = pools.start(workers=2, rules=NodeRules(max_tasks_per_worker=lifetime))
    count = 5 * lifetime + 3
    tids = client.submit(who, count=count)
    pids = [client.value(tid, 60.0) for tid in tids]
    assert max(pids.count(pid) for pid in pids) <= lifetime
    assert len(set(pids)) >= count // lifetime
    assert not client.of(Trouble)
    (manager,) = pools.roles(client)["shoal.node.manager"]
    assert pools.eventually(lambda: len(manager.children()) <= 4), "those that were replaced have ended"


def test_the_next_worker_is_there_before_the_last_one_ends(pools):
    """It is started while the last task runs, so that there is hardly a pause."""
    client = pools.start(workers=1, rules=NodeRules(max_tasks_per_worker=1))

    def born():
        import psutil

        time.sleep(0.5)
        return psutil.Process().create_time()

    tids = client.submit(born, count=4)
    births = [client.value(tid) for tid in tids]
    for (before, _), (_, birth) in pairwise(zip(tids, births, strict=True)):
        # The clock ticks of process starts are coarse; without a head start it would be later, not about the same.
        assert birth < client.results[before].ended - 0.2


def test_leaked_threads_and_children_end_with_their_worker(pools):
    """Also a thread that would go on for ever, and a process in a session of its own."""
    client = pools.start(workers=1, rules=NodeRules(max_tasks_per_worker=1))

    def leak():
        import os
        import subprocess
        import threading
        import time

        threading.Thread(target=time.sleep, args=(600,)).start()
        return os.getpid(), subprocess.Popen(["sleep", "600"], start_new_session=True).pid

    worker, child = client.value(client.submit(leak)[0])
    assert client.value(client.submit(who)[0], 20.0) != worker
    assert pools.eventually(lambda: not psutil.pid_exists(worker) and not psutil.pid_exists(child), 20.0)


def test_replacement_through_the_public_api(tmp_path):
    """An option of the executor."""
    shoal.clear()
    htex = shoal.HighThroughputExecutor(max_workers_per_node=1, max_tasks_per_worker=1)
    with shoal.load(shoal.Config(executors=(htex,), run_dir=str(tmp_path))) as session:
        pids = [session.submit(who).result(20) for _ in range(3)]
    shoal.clear()
    assert len(set(pids)) == 3
