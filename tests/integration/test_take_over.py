"""A client of a lasting pool is gone: its tasks go on, those that wait for others too, and a new session takes them over."""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

import shoal
from shoal.blocks.providers.local import LocalProvider
from shoal.errors import DependencyError, PoolLost, PoolNotFound, PoolUnreachable, SessionClosed, SessionInUse
from shoal.events import PoolJoined
from shoal.executors.claims import Claims
from shoal.pool.connection import read_connection
from shoal.pool.control import pool_status, start_pool, stop_pool
from shoal.record.log import LogReader
from tests.integration.conftest import eventually

SOON = 60.0

SCRIPT = """
import os, signal, sys, time
import shoal
sys.path.insert(0, {here!r})
from test_take_over import step
htex = shoal.HighThroughputExecutor(pool={pool!r})
session = shoal.load(shoal.Config(executors=(htex,), run_dir={folder!r}))
executor = session.executors["htex"]
def task(name, *inputs, gate="", fails=False, prints=""):
    return session.submit(step, ({out!r}, name, gate, fails, prints, *inputs), label=name)
{body}
while executor.status().queued + executor.status().running + executor.status().done < {known}:
    time.sleep(0.01)
print(executor.session, session.run_dir, flush=True)
{end}
"""


def step(out: str, name: str, gate: str, fails: bool, prints: str, *inputs: Any) -> Any:
    """Leave a mark, wait until the gate is open, print, fail if told so; gives the name with what came in."""
    with open(out, "a") as file:
        file.write(name + "\n")
    while gate and not os.path.exists(gate):
        time.sleep(0.01)
    if prints:
        print(prints, flush=True)
    if fails:
        raise ValueError(name)
    return f"{name}({','.join(map(str, inputs))})"


class Place:
    """A lasting pool, and the processes that use it."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.out, self.gate = folder, folder / "out", folder / "gate"
        self.name = f"over-{os.getpid()}-{abs(hash(folder)) % 10**6}"
        self.processes: list[subprocess.Popen[str]] = []
        start_pool(self.name, LocalProvider(), 2)

    def client(
        self, body: str, known: int = 1, end: str = "time.sleep(600)"
    ) -> tuple[subprocess.Popen[str], str, Path]:
        """Another process that submits tasks; with its session's id and the folder of its run."""
        here = str(Path(__file__).parent)
        body = body.replace("GATE", repr(str(self.gate)))
        names = {"here": here, "pool": self.name, "folder": str(self.folder), "out": str(self.out)}
        script = SCRIPT.format(body=body, known=known, end=end, **names)
        process = subprocess.Popen(
            [sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        self.processes.append(process)
        assert process.stdout is not None
        words = process.stdout.readline().split()
        assert len(words) == 2, process.communicate()[1]
        return process, words[0], Path(words[1])

    def load(self, retries: int = 0) -> shoal.Session:
        shoal.clear()
        htex = shoal.HighThroughputExecutor(pool=self.name)
        return shoal.load(shoal.Config(executors=(htex,), run_dir=str(self.folder), retries=retries))

    def begun(self) -> Counter[str]:
        return Counter(self.out.read_text().split()) if self.out.exists() else Counter()

    def kill_pool(self) -> None:
        before = read_connection(self.name).pid
        os.kill(before, signal.SIGKILL)
        assert eventually(lambda: read_connection(self.name).pid != before and pool_status(self.name, SOON))

    def away(self, session: str) -> bool:
        return session in {s.session for s in pool_status(self.name).sessions}

    def end(self) -> None:
        shoal.clear()
        for process in self.processes:
            gone(process)
        with suppress(PoolNotFound):
            stop_pool(self.name)


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    found = Place(tmp_path)
    yield found
    found.end()


def gone(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.wait()
    for pipe in (process.stdout, process.stderr):
        if pipe is not None:
            pipe.close()


def by_label(claims: Claims) -> dict[str, int]:
    return {task.label: tid for tid, task in claims.tasks.items()}


CHAIN = """
a = task("a", gate=GATE, prints="a speaks")
b = task("b", a)
c = task("c", b)
d = task("d", a, c, "plain")
"""
VALUES = {"a": "a()", "b": "b(a())", "c": "c(b(a()))", "d": "d(a(),c(b(a())),plain)"}


@pytest.mark.parametrize("killed", ["", "before", "after", "both"])
def test_a_graph_goes_on_and_a_new_session_takes_it_over(place: Place, killed: str) -> None:
    """Each task runs once, whatever happens to the pool in between; the new session's tasks take the values."""
    process, old, run = place.client(CHAIN)
    assert eventually(lambda: place.begun()["a"])
    gone(process)
    joined = [e for e in LogReader(run / "events.log").read() if isinstance(e, PoolJoined)]
    assert [(e.label, e.pool, e.session) for e in joined] == [("htex", place.name, old)]
    assert eventually(lambda: place.away(old))
    if killed in ("before", "both"):
        place.kill_pool()
    session = place.load()
    with Claims(place.name, old) as claims:
        tids = by_label(claims)
        assert set(tids) == set("abcd")
        assert [claims.state(tids[name]) for name in "bcd"] == ["waiting"] * 3
        taken = {
            name: session.take_over(name, claims.future(tid), executor="htex", cancel=lambda t=tid: claims.cancel(t))
            for name, tid in tids.items()
        }
        after = session.submit(step, (str(place.out), "new", "", False, "", taken["d"]))
        if killed in ("after", "both"):
            place.kill_pool()
        place.gate.touch()
        assert {name: future.result(SOON) for name, future in taken.items()} == VALUES
        assert after.result(SOON) == f"new({VALUES['d']})"
        if not killed:  # what a manager hears while it has no pool is not kept
            assert taken["a"].stdout == "a speaks\n"
    assert set(place.begun().values()) == {1}
    assert eventually(lambda: not place.away(old))


@pytest.mark.parametrize("when", ["before the claim", "after the claim", "and the pool is killed"])
def test_what_waits_for_a_failure_ends_by_name(place: Place, when: str) -> None:
    """With nobody left to try again: its dependents and theirs fail, what does not depend on it runs."""
    process, old, _ = place.client(
        "a = task('a', gate=GATE, fails=True)\nb = task('b', a)\nc = task('c', b)\nd = task('d')\ne = task('e', d)"
    )
    assert eventually(lambda: place.begun()["a"] and place.begun()["d"])
    gone(process)
    assert eventually(lambda: place.away(old))
    if when != "after the claim":
        place.gate.touch()
        assert eventually(lambda: pool_status(place.name).running == 0)
    if when == "and the pool is killed":
        place.kill_pool()
    with Claims(place.name, old) as claims:
        tids = by_label(claims)
        place.gate.touch()
        with pytest.raises(ValueError, match="a"):
            claims.result(tids["a"], SOON)
        for name in "bc":
            with pytest.raises(DependencyError, match="did not run"):
                claims.result(tids[name], SOON)
    assert place.begun() == Counter("ade")


def test_what_waits_for_a_cancelled_task_ends_by_name(place: Place) -> None:
    """One that is claimed can be cancelled by its number: it is interrupted, what waits for it fails, and its text is there."""
    process, old, _ = place.client(CHAIN + "x = task('x', gate=GATE)\n")
    assert eventually(lambda: place.begun()["a"] and place.begun()["x"])
    gone(process)
    assert eventually(lambda: place.away(old))
    with Claims(place.name, old) as claims:
        tids = by_label(claims)
        assert eventually(lambda: claims.state(tids["a"]) in ("running", "sent"))
        assert claims.cancel(tids["a"])
        assert claims.future(tids["a"]).result(SOON).failure is not None
        with pytest.raises(DependencyError):
            claims.result(tids["d"], SOON)
        assert not claims.cancel(tids["a"])
        assert not claims.future(tids["x"]).done()
        place.gate.touch()
        assert claims.result(tids["x"], SOON) == "x()"


def test_values_that_the_client_had_already_are_not_missed(place: Place) -> None:
    """A dependent of two: one value the client has taken before it was killed, the other is made after the pool was killed."""
    process, old, _ = place.client(
        "a = task('a')\nb = task('b', gate=GATE)\nc = task('c', b)\nearly = task('early', gate=GATE + '1')\n"
        "late = task('late', early, b)\nopen(GATE + '1', 'w').close()\nearly.result(); a.result()\n"
        "f = task('f', a, b)"
    )
    assert eventually(lambda: place.begun()["b"])
    gone(process)
    assert eventually(lambda: place.away(old))
    place.kill_pool()
    with Claims(place.name, old) as claims:
        tids = by_label(claims)
        assert set(tids) == {"b", "c", "late", "f"}
        place.gate.touch()
        assert claims.result(tids["late"], SOON) == "late(early(),b())"
        assert claims.result(tids["f"], SOON) == "f(a(),b())"
    assert set(place.begun().values()) == {1}


END = {
    "exit": "session.keep_on_exit()",
    "error": "session.keep_on_exit()\nraise SystemExit(3)",
    "SIGTERM": "session.keep_on_exit()\ntime.sleep(600)",
    "SIGKILL": "session.keep_on_exit()\ntime.sleep(600)",
    "script": "",
}


@pytest.mark.parametrize("how", END)
def test_what_an_interpreter_leaves_when_it_ends(place: Place, how: str) -> None:
    """Kept where it said so, or could not say anything; a script takes its tasks with it and says how many."""
    process, old, _ = place.client(CHAIN, end=END[how])
    if how in ("SIGTERM", "SIGKILL"):
        assert eventually(lambda: place.begun()["a"])
        process.send_signal(getattr(signal, how))
    _, said = process.communicate(timeout=SOON)
    if how == "script":
        assert eventually(lambda: not pool_status(place.name).clients)
        assert "4 tasks had not finished" in said
        assert not place.away(old)
        return
    assert "had not finished" not in said
    assert eventually(lambda: place.away(old))
    assert pool_status(place.name).sessions[0].unfinished == 4
    with Claims(place.name, old) as claims:
        place.gate.touch()
        assert {name: claims.result(tid, SOON) for name, tid in by_label(claims).items()} == VALUES
    assert set(place.begun().values()) == {1}


def test_a_session_that_is_closed_in_between_takes_its_tasks_with_it(place: Place) -> None:
    """keep_on_exit is about the end of the interpreter only; and a second end of it does no harm."""
    session = place.load()
    session.keep_on_exit()
    tasks = [session.submit(step, (str(place.out), "one", str(place.gate), False, ""))]
    tasks.append(session.submit(step, (str(place.out), "two", "", False, "", tasks[0])))
    shoal.clear()
    assert all(isinstance(task.exception(0), SessionClosed) for task in tasks)
    assert eventually(lambda: not pool_status(place.name).clients)
    assert not pool_status(place.name).sessions
    assert session.close_on_exit(SessionClosed("again")) == 0


def test_claims_that_are_closed_answer_and_can_be_made_again(place: Place) -> None:
    """Futures of what has not ended fail at once; the pool goes on, and the next claims get the rest, with all of the text."""
    process, old, _ = place.client("a = task('a', gate=GATE, prints='hello ' * 30_000)\nb = task('b', a)")
    assert eventually(lambda: place.begun()["a"])
    gone(process)
    assert eventually(lambda: place.away(old))
    first = Claims(place.name, old)
    futures = [first.future(tid) for tid in first.tasks]
    first.close()
    assert [type(future.exception(SOON)) for future in futures] == [SessionClosed, SessionClosed]
    assert eventually(lambda: place.away(old))
    place.gate.touch()
    assert eventually(lambda: place.begun()["b"] and pool_status(place.name).running == 0)
    heard: list[tuple[int, str, str]] = []
    with Claims(place.name, old, on_output=lambda *args: heard.append(args)) as claims:
        tids = by_label(claims)
        assert claims.result(tids["b"], SOON) == "b(a())"
        text = claims.printed(tids["a"])["stdout"]
        assert eventually(lambda: "".join(piece for _, _, piece in heard) == text)
    assert text.startswith("[what it printed before this was not kept]")
    assert text.endswith("hello \n")
    assert 50_000 < len(text) < 70_000


def test_the_same_process_claims_once_more(place: Place) -> None:
    """The newer claims get everything, the futures of the older ones are answered."""
    process, old, _ = place.client(CHAIN)
    assert eventually(lambda: place.begun()["a"])
    gone(process)
    assert eventually(lambda: place.away(old))
    first = Claims(place.name, old)
    with Claims(place.name, old) as second:
        assert {type(first.future(tid).exception(SOON)) for tid in first.tasks} == {SessionInUse}
        place.gate.touch()
        assert {name: second.result(tid, SOON) for name, tid in by_label(second).items()} == VALUES
    first.close()


def test_claiming_from_a_pool_that_does_not_answer_ends(place: Place) -> None:
    """After the time given; and it can be claimed when the pool answers again."""
    process, old, _ = place.client(CHAIN)
    gone(process)
    pid = read_connection(place.name).pid
    os.kill(pid, signal.SIGSTOP)
    try:
        with pytest.raises(PoolUnreachable):
            Claims(place.name, old, timeout=0.3)
    finally:
        os.kill(pid, signal.SIGCONT)
    place.gate.touch()
    assert eventually(lambda: not pool_status(place.name).clients)
    with Claims(place.name, old) as claims:
        assert claims.result(by_label(claims)["d"], SOON) == VALUES["d"]


def test_claims_of_a_pool_that_is_stopped_are_answered(place: Place) -> None:
    """By name, and at once."""
    process, old, _ = place.client(CHAIN)
    gone(process)
    assert eventually(lambda: place.away(old))
    session = place.load()
    with Claims(place.name, old) as claims:
        futures = [session.take_over("x", claims.future(tid)) for tid in claims.tasks]
        stop_pool(place.name)
        assert all(isinstance(future.exception(SOON), PoolLost) for future in futures)
    assert session.wait(SOON)


def graph_of(seed: int, size: int) -> dict[int, list[int]]:
    chance = random.Random(seed)
    return {n: sorted(chance.sample(range(n), min(n, chance.choice((0, 1, 1, 2, 3))))) for n in range(size)}


def values_of(graph: dict[int, list[int]]) -> dict[int, int]:
    values: dict[int, int] = {}
    for number, sources in graph.items():
        values[number] = number + sum(values[s] for s in sources) % 1000
    return values


def node(out: str, number: int, *inputs: int) -> int:
    """Leave a mark, take a moment; what :func:`values_of` says."""
    fd = os.open(out, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(fd, b"%d\n" % number)
    os.close(fd)
    time.sleep(0.002 * (number % 4))
    return number + sum(inputs) % 1000


def test_graphs_through_cut_connections_and_killed_pools(place: Place) -> None:
    """The client is there all the time: each task runs once and has its value, whatever was sent ahead."""
    session = place.load()
    executor: Any = session.executors["htex"]
    marks = 0
    for seed in range(4):
        graph, futures = graph_of(seed, 80), {}
        for number, sources in graph.items():
            futures[number] = session.submit(node, (str(place.out), number, *[futures[s] for s in sources]))
            if number == 40 and seed in (1, 3):
                os.kill(read_connection(place.name).pid, signal.SIGKILL)
            elif number == 60 and seed in (0, 2):
                with suppress(OSError, AttributeError):  # it may be on its way back
                    executor._link._line._stream.sock.shutdown(socket.SHUT_RDWR)
        assert {number: future.result(SOON) for number, future in futures.items()} == values_of(graph)
        marks += len(graph)
        assert sum(place.begun().values()) == marks
    assert set(place.begun().values()) == {4}
    assert not executor._ahead
    assert not executor.outstanding()


GRAPH = """
from test_take_over import graph_of, node
futures = {{}}
for number, sources in graph_of({seed}, 400).items():
    futures[number] = session.submit(node, ({out!r}, number, *[futures[s] for s in sources]), label=str(number))
    if number == {printed}:
        print(executor.session, session.run_dir, flush=True)
"""


@pytest.mark.parametrize("seed", range(4))
def test_a_client_that_is_killed_at_any_stage(place: Place, seed: int) -> None:
    """All that its pool has ends, with the right value and having run once; the pool is killed, too, now and then."""
    body = GRAPH.format(seed=seed, out=str(place.out), printed=(0, 100, 250, 399)[seed])
    process, old, _ = place.client(body, known=0)
    time.sleep(0.03 * seed)
    gone(process)
    if seed % 2:
        place.kill_pool()
    assert eventually(lambda: not pool_status(place.name).clients)
    values = values_of(graph_of(seed, 400))
    with Claims(place.name, old) as claims:
        for tid, task in claims.tasks.items():
            assert claims.result(tid, SOON) == values[int(task.label)]
    assert set(place.begun().values()) <= {1}


@pytest.mark.parametrize("retries", [0, 1])
def test_what_waited_in_a_pool_that_forgot_everything(place: Place, retries: int) -> None:
    """Its ledger could not be written when it was killed: what was there is lost by name, and tried again as retries allow."""
    session = place.load(retries)
    assert session.submit(step, (str(place.out), "first", "", False, "")).result(SOON) == "first()"
    psutil.Process(read_connection(place.name).pid).rlimit(psutil.RLIMIT_FSIZE, (4096, 4096))
    session.submit(step, (str(place.out), "x" * 10_000, "", False, "")).result(SOON)
    assert eventually(lambda: "cannot write its ledger" in pool_status(place.name).trouble)
    running = session.submit(step, (str(place.out), "a", str(place.gate), False, ""))
    waiting = session.submit(step, (str(place.out), "b", "", False, "", running))
    assert eventually(lambda: place.begun()["a"])
    place.kill_pool()
    place.gate.touch()
    if retries:
        assert waiting.result(SOON) == "b(a())"
    else:
        assert isinstance(running.exception(SOON), PoolLost)
        assert isinstance(waiting.exception(SOON), DependencyError)
    assert session.submit(step, (str(place.out), "later", "", False, "", "y")).result(SOON) == "later(y)"
    assert place.begun()["b"] == bool(retries)
    assert session.wait(SOON)


def test_a_client_that_is_cut_off_hears_of_what_began_meanwhile(place: Place) -> None:
    """It is told of a dependent that runs only after the result that this had waited for; all goes on."""
    session = place.load()
    first = session.submit(step, (str(place.out), "a", str(place.gate), False, "a speaks"))
    second = session.submit(step, (str(place.out), "b", str(place.gate) + "2", False, "b speaks", first))
    assert eventually(lambda: place.begun()["a"])
    link: Any = session.executors["htex"]._link  # type: ignore[attr-defined]
    with link._listener._turn:  # the client's thread waits here, and takes nothing in
        link._line._stream.sock.shutdown(socket.SHUT_RDWR)
        place.gate.touch()
        assert eventually(lambda: place.begun()["b"])
        assert eventually(lambda: place.away(session.executors["htex"].session))  # type: ignore[attr-defined]
        time.sleep(1.5)  # until it counts as running
    assert first.result(SOON) == "a()"
    assert eventually(second.running)
    place.gate.with_name(place.gate.name + "2").touch()
    assert second.result(SOON) == "b(a())"
    assert (first.stdout, second.stdout) == ("a speaks\n", "b speaks\n")
    assert set(place.begun().values()) == {1}
