"""What tasks print, in Python, in C and from below, arrives with the task that printed it."""

from __future__ import annotations

from pathlib import Path

import psutil
import pytest

from shoal.errors import WorkerLost
from shoal.wire.messages import Output, Results


def texts(client, stream="stdout"):
    """What each task has printed so far."""
    found = {}
    for message in client.of(Output):
        if message.stream == stream:
            found[message.tid] = found.get(message.tid, "") + message.text
    return found


def nothing():
    pass


def test_all_ways_to_print_arrive_in_order_with_two_workers_at_once(client, tmp_path):
    """Two tasks that print at the same time, by print, printf, os.write and a subprocess, each get their own lines, in order."""

    def talk(name, folder):
        import ctypes
        import os
        import subprocess
        import time

        open(f"{folder}/{name}", "w").close()
        while len(os.listdir(folder)) < 2:
            time.sleep(0.001)
        libc = ctypes.CDLL(None)
        for n in range(0, 400, 4):
            print(f"{name} {n}")
            libc.printf(f"{name} {n + 1}\n".encode())
            os.write(1, f"{name} {n + 2}\n".encode())
            if n % 40:
                print(f"{name} {n + 3}", flush=True)
            else:
                subprocess.run(["echo", f"{name} {n + 3}"], check=True)
        print(f"{name} to stderr", file=__import__("sys").stderr)

    (tmp_path / "both").mkdir()
    (one,), (two,) = (
        client.submit(talk, "one", str(tmp_path / "both")),
        client.submit(talk, "two", str(tmp_path / "both")),
    )
    assert client.result(one, 30).worker != client.result(two, 30).worker
    for tid, name in ((one, "one"), (two, "two")):
        assert texts(client)[tid].splitlines() == [f"{name} {n}" for n in range(400)]
        assert texts(client, "stderr")[tid] == f"{name} to stderr\n"
        ended = next(
            i for i, m in enumerate(client.inbox) if isinstance(m, Results) and any(r.tid == tid for r in m.results)
        )
        assert not [m for m in client.inbox[ended:] if isinstance(m, Output) and m.tid == tid]


def test_short_tasks_that_share_packets_keep_their_lines_apart(client):
    """Thousands of tasks of some microseconds: each one's lines, without an end of line at that, are its own."""

    def speak(n):
        import ctypes
        import sys

        if n % 3 == 0:
            print("py", n, end="")
        elif n % 3 == 1:
            ctypes.CDLL(None).printf(b"c %d", n)
        else:
            sys.stderr.write(f"err {n}")

    tids = [client.submit(speak, n)[0] for n in range(3000)]
    client.wait(lambda: len(client.results) == 3000, 60)
    out, err = texts(client), texts(client, "stderr")
    for n, tid in enumerate(tids):
        assert (out.get(tid), err.get(tid)) == ((f"py {n}", None), (f"c {n}", None), (None, f"err {n}"))[n % 3]


def test_a_task_in_a_c_call_is_heard(client):
    """Text arrives while the task is in a call that lets no Python run."""

    def hold():
        import ctypes

        return ctypes.PyDLL(None).system(b"echo begun; sleep 1; echo over")

    (tid,) = client.submit(hold)
    client.wait(lambda: "begun" in texts(client).get(tid, ""), 5)
    assert tid not in client.results
    assert client.value(tid) == 0
    assert texts(client)[tid] == "begun\nover\n"


def test_the_last_words_of_a_killed_worker_arrive_before_its_failure(client):
    """What was written until a SIGKILL is sent, and then the loss is told."""

    def die():
        import os
        import signal

        print("x" * 5000)
        os.write(2, b"last words")
        os.kill(os.getpid(), signal.SIGKILL)

    (tid,) = client.submit(die)
    with pytest.raises(WorkerLost):
        client.value(tid)
    assert texts(client)[tid] == "x" * 5000 + "\n"
    assert texts(client, "stderr")[tid] == "last words"


def test_a_gigabyte_is_read_and_cut(pools, client):
    """A task that prints without end is slowed down by no more than reading: it ends, memory stays, the text is cut."""

    def flood():
        import os

        data = b"y" * 65535 + b"\n"
        for _ in range(16384):
            os.write(1, data)
        return "done"

    client.value(client.submit(nothing)[0])
    (manager,) = pools.roles(client)["shoal.node.manager"]
    before = manager.memory_info().rss
    (tid,) = client.submit(flood)
    assert client.value(tid, 60) == "done"
    assert manager.memory_info().rss - before < 50 << 20
    text = texts(client)[tid]
    assert (1 << 20) < len(text) < (1 << 20) + 200
    assert "is cut here" in text[-100:]
    assert client.value(client.submit(nothing)[0]) is None
    logs = Path(client.connection.folder).glob("*-worker-*.log")
    assert sum(log.stat().st_size for log in logs) == 0


def test_characters_may_be_written_in_parts(client):
    """A character of several bytes arrives whole, however it was written."""

    def spell():
        import os

        for byte in "Žluť 🐟\n".encode():
            os.write(1, bytes([byte]))

    (tid,) = client.submit(spell)
    client.value(tid)
    assert texts(client)[tid] == "Žluť 🐟\n"


def test_children_print_for_their_task(client):
    """Text of forked children belongs to the task, and what was held at the fork is there once."""

    def split():
        import os

        print("before", end=" ")
        for n in range(3):
            child = os.fork()
            if child == 0:
                print(f"child {n}", end=" ")
                return
            os.waitpid(child, 0)
        print("after")

    (tid,) = client.submit(split)
    assert client.value(tid) is None
    assert texts(client)[tid] == "before child 0 child 1 child 2 after\n"


def test_a_thread_that_was_left_behind_prints_into_the_log(pools):
    """Between tasks nobody can be said to have printed: the text is in the worker's log."""
    client = pools.start(workers=1)

    def leave(path):
        import threading
        from pathlib import Path

        def late():
            while not Path(path).exists():
                threading.Event().wait(0.01)
            print("late words")

        threading.Thread(target=late).start()

    path = Path(client.connection.folder) / "go"
    client.value(client.submit(leave, str(path))[0])
    path.touch()
    logs = list(Path(client.connection.folder).glob("*-worker-*.log"))
    assert pools.eventually(lambda: any("late words" in log.read_text() for log in logs))
    assert texts(client) == {}


def test_a_child_that_goes_on_printing_holds_nobody_up(pools):
    """A process that a task left behind prints for ever: later tasks end as quickly as before."""
    client = pools.start(workers=1)

    def leave():
        import subprocess

        return subprocess.Popen(["yes"]).pid

    child = psutil.Process(client.value(client.submit(leave)[0]))
    try:
        client.submit(nothing, count=200)
        client.wait(lambda: len(client.results) == 201, 20)
    finally:
        child.kill()
    assert client.value(client.submit(nothing)[0]) is None


def test_a_stream_that_was_set_not_to_block_blocks_again_for_the_next_task(pools):
    """Some programs leave what they inherit so: later tasks could print no more than a pipe holds."""
    client = pools.start(workers=1)

    def spoil():
        import os

        os.set_blocking(1, False)
        os.set_blocking(2, False)

    def talk():
        import sys

        sys.stdout.write("x" * 500_000)
        sys.stderr.write("y" * 500_000)

    (bad,) = client.submit(spoil)
    assert client.value(bad) is None
    (tid,) = client.submit(talk)
    assert client.value(tid) is None
    assert texts(client)[tid] == "x" * 500_000
    assert texts(client, "stderr")[tid] == "y" * 500_000
