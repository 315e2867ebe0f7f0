"""The memoizer: found or run, once for all that are the same, and every waiter answered."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from shoal.errors import ConfigurationError, NotMemoizable
from shoal.executors.executor import Attempt, Call, Ended
from shoal.files import File
from shoal.memo import keeping
from shoal.memo.spec import Memo
from shoal.memo.store import MemoStore
from shoal.memoizing import Memoizer
from shoal.outcome import Failure, Held, Packed, Raised
from shoal.serialize import FunctionImage, pack, unpack


class Manual:
    """Runs jobs when it is told to."""

    def __init__(self) -> None:
        self.jobs: deque[tuple[Callable[..., Any], tuple[Any, ...]]] = deque()
        self.again: Callable[[], Any] | None = None
        self.period = 0.0

    def put(self, function: Callable[..., Any], *args: Any) -> None:
        self.jobs.append((function, args))

    def every(self, seconds: float, function: Callable[[], Any]) -> None:
        self.period, self.again = seconds, function

    def step(self) -> None:
        function, args = self.jobs.popleft()
        function(*args)

    def all(self) -> None:
        while self.jobs:
            self.step()

    def close(self, timeout: float) -> bool:
        self.all()
        return True


def work(x: Any, y: Any = 0) -> Any:
    return x, y


class Bench:
    """A memoizer with its surroundings."""

    def __init__(self, folder: Path, **options: Any) -> None:
        self.jobs = Manual()
        self.ran: list[int] = []
        self.ended: list[Ended] = []
        self.warned: list[str] = []
        spec = Memo(folder=str(folder / "memo"), **options)
        self.memo = Memoizer(
            spec, lambda _, attempt: self.ran.append(attempt.tid), self.ended.extend, self.jobs, self.warned.append
        )
        self.next = 0

    def launch(self, *args: Any, inputs: Sequence[Future[Any]] = (), values: Sequence[Any] = (), **kwargs: Any) -> int:
        tid, self.next = self.next, self.next + 1
        call = Call(work, FunctionImage(work), args, kwargs, "work", ())
        partial = self.memo.request(call)
        prepared = SimpleNamespace(inputs=list(inputs))
        self.memo.launch(None, Attempt(tid, 1, prepared, list(values)), partial)  # type: ignore[arg-type]
        return tid

    def end(self, tid: int, outcome: Any) -> list[int]:
        """End a task; returns who got its result."""
        twins = self.memo.task_ended(tid, outcome)
        self.ended.extend(twins)
        return [end.tid for end in twins]

    def value(self, tid: int) -> Any:
        (end,) = [end for end in self.ended if end.tid == tid]
        if end.failure is not None:
            return end.failure
        (value,) = end.values
        return unpack(value.payload) if isinstance(value, Packed) else value.object  # type: ignore[union-attr]


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    """One with the default options."""
    return Bench(tmp_path)


def packed(value: Any) -> list[Packed]:
    return [Packed(pack(value))]


def test_the_first_runs_and_the_next_is_found(bench: Bench) -> None:
    """In this session, and in another one on the same folder."""
    assert bench.launch(1) == 0
    assert bench.ran == []
    bench.jobs.all()
    assert bench.ran == [0]
    bench.end(0, packed("value"))
    bench.jobs.all()
    bench.launch(1)
    bench.jobs.all()
    assert bench.ran == [0]
    assert bench.value(1) == "value"
    assert bench.ended[0].worker == "memo"
    other = Bench(Path(bench.memo._keeper.open().folder).parent)
    other.launch(1)
    other.launch(2)
    other.jobs.all()
    assert other.value(0) == "value"
    assert other.ran == [1]


def test_identical_tasks_in_flight_run_once(bench: Bench) -> None:
    """Those that came before the first was looked up, and those that come while it runs."""
    for _ in range(3):
        bench.launch(1)
    bench.jobs.all()
    bench.launch(1)
    bench.launch(2)
    bench.jobs.all()
    assert bench.ran == [0, 4]
    assert bench.end(0, packed([1])) == [1, 2, 3]
    values = [bench.value(tid) for tid in (1, 2, 3)]
    assert values == [[1]] * 3
    assert values[0] is not values[1]


def test_one_that_comes_right_after_the_end_is_answered_too(bench: Bench) -> None:
    """Its launch was queued before the result was written."""
    bench.launch(1)
    bench.jobs.all()
    bench.launch(1)
    bench.end(0, packed("v"))
    bench.launch(1)
    bench.jobs.all()
    assert bench.ran == [0]
    assert bench.value(1) == bench.value(2) == "v"


@pytest.mark.parametrize("failure", [Failure("ValueError", "bad"), Raised(ValueError("bad"))])
def test_a_failure_is_shared_but_not_kept(bench: Bench, failure: Any) -> None:
    """Followers fail as the leader did, for good; the next one runs."""
    bench.launch(1)
    bench.launch(1)
    bench.jobs.all()
    assert bench.end(0, failure) == [1]
    assert bench.ended[0].failure is failure
    assert bench.ended[0].final
    bench.jobs.all()
    bench.launch(1)
    bench.jobs.all()
    assert bench.ran == [0, 2]


@pytest.mark.parametrize("failure", [Failure("builtins.ValueError", "bad"), Raised(ValueError("bad"))])
def test_failures_are_kept_if_asked_for(tmp_path: Path, failure: Any) -> None:
    """By a session that asks for them; not for one that does not; and never that a worker was lost."""
    bench = Bench(tmp_path, exceptions=True)
    bench.launch(1)
    bench.launch(2)
    bench.jobs.all()
    bench.end(0, failure)
    bench.end(1, Failure("WorkerLost", "gone", lost=True))
    bench.jobs.all()
    other = Bench(tmp_path, exceptions=True)
    other.launch(1)
    other.launch(2)
    other.jobs.all()
    assert "bad" in other.value(0).message
    assert other.ended[0].final
    assert other.ran == [1]
    strict = Bench(tmp_path)
    strict.launch(1)
    strict.jobs.all()
    assert strict.ran == [0]


def test_when_the_leader_is_cancelled_the_next_one_runs(bench: Bench) -> None:
    """And the one after it, if that is cancelled too; the last cancelled leaves nothing behind."""
    for _ in range(4):
        bench.launch(1)
    bench.jobs.all()
    bench.memo.forget(1)
    bench.end(0, None)
    bench.jobs.all()
    assert bench.ran == [0, 2]
    bench.end(2, None)
    bench.jobs.all()
    assert bench.ran == [0, 2, 3]
    assert bench.end(3, packed("v")) == []
    assert not bench.memo._tasks
    assert not bench.memo._flights


def test_a_leader_that_could_not_be_stopped_answers_its_followers(bench: Bench) -> None:
    """Asked to be forgotten while it runs, it still ends."""
    bench.launch(1)
    bench.launch(1)
    bench.jobs.all()
    bench.memo.forget(0)
    assert bench.end(0, packed("v")) == [1]


def test_a_task_that_is_cancelled_before_it_was_looked_up_never_runs(bench: Bench) -> None:
    """However that is said."""
    for _ in range(3):
        bench.launch(1)
    bench.memo.forget(0)
    bench.end(1, None)
    bench.jobs.all()
    assert bench.ran == [2]


def test_a_leader_that_is_cancelled_while_it_is_looked_up(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """The next one runs, or gets what is found."""
    for found, cancel in ((None, "forget"), (None, "end"), (packed("v"), "forget")):
        first, second = bench.launch(found, cancel), bench.launch(found, cancel)

        def find(*_: Any, found: Any = found, cancel: str = cancel, first: int = first) -> Any:
            monkeypatch.undo()
            if cancel == "forget":
                bench.memo.forget(first)
            else:
                assert bench.end(first, None) == []
            return found

        monkeypatch.setattr(bench.memo._keeper, "find", find)
        bench.jobs.all()
        assert first not in bench.ran
        if found is None:
            assert bench.ran[-1] == second
            bench.end(second, packed(0))
            bench.jobs.all()
        else:
            assert first not in [end.tid for end in bench.ended]
            assert second in bench.ran  # nobody was there to take what was found, so it was looked up as the first


def test_values_of_inputs_are_read_for_the_key(bench: Bench) -> None:
    """Equal values by different futures are the same; different ones are not."""

    def source(value: Any) -> Any:
        future = Future[Any]()
        future.set_result(value)
        return future

    given = [Future[Any]() for _ in range(4)]
    for future, value in zip(given, ([1], [1], [2]), strict=False):
        bench.launch(future, inputs=[future], values=[source(value)])
    bench.jobs.all()
    assert bench.ran == [0, 2]
    bench.end(0, packed("v"))
    assert bench.value(1) == "v"


def test_a_value_without_digest_runs_uncached(bench: Bench) -> None:
    """With a warning; nothing waits for ever."""
    given, value = Future[Any](), Future[Any]()
    value.set_result(threading.Lock())
    for _ in range(2):
        bench.launch(given, inputs=[given], values=[value])
    bench.jobs.all()
    assert bench.ran == [0, 1]
    assert len(bench.warned) == 1
    assert "work runs without being cached" in bench.warned[0]
    assert bench.end(0, packed(1)) == []


def test_an_input_that_raises_as_it_is_read_runs_uncached(bench: Bench) -> None:
    """Whatever it raises: the thread goes on."""

    class Bad(Future[Any]):
        def result(self, timeout: float | None = None) -> Any:
            raise SystemExit

    given = Future[Any]()
    bench.launch(given, inputs=[given], values=[Bad()])
    bench.launch(1)
    bench.jobs.all()
    assert bench.ran == [0, 1]


def test_arguments_without_digest_are_refused_at_once(bench: Bench) -> None:
    """In the thread that submits."""
    with pytest.raises(NotMemoizable, match="argument 'x' of work"):
        bench.launch(threading.Lock())


def test_an_unsafe_folder_is_refused_at_once(tmp_path: Path) -> None:
    """When the first cached task is submitted."""
    (tmp_path / "memo").mkdir()
    (tmp_path / "memo").chmod(0o777)
    with pytest.raises(ConfigurationError, match="chmod 700"):
        Bench(tmp_path).launch(1)


def test_objects_of_this_process_are_packed_before_they_can_change(bench: Bench) -> None:
    """What is done to the leader's value afterwards is not seen by followers, nor kept."""
    bench.launch(1)
    bench.launch(1)
    bench.jobs.all()
    value = [1]
    bench.memo.take_in([Ended(0, 1, [Held(value)]), Ended(9, 1, [Held(value)])])
    bench.end(0, [Held(value)])
    value.append(2)
    bench.jobs.all()
    bench.launch(1)
    bench.jobs.all()
    assert bench.value(1) == bench.value(2) == [1]


class Unwilling:
    def __init__(self, error: type[BaseException]) -> None:
        self.error = error

    def __reduce__(self) -> Any:
        raise self.error


@pytest.mark.parametrize(
    "lock",
    [
        threading.Lock(),
        Unwilling(ValueError),
        Unwilling(SystemExit),
        Unwilling(KeyboardInterrupt),
        Unwilling(MemoryError),
    ],
    ids=["lock", "error", "exit", "interrupt", "memory"],
)
def test_a_value_that_cannot_be_pickled_is_shared_but_not_kept(bench: Bench, lock: Any) -> None:
    """With one warning, whatever pickling it raises: the threads that do it have others to serve."""
    for _ in range(2):
        bench.launch(1)
        tid = bench.launch(1)
        bench.jobs.all()
        leader = bench.ran[-1]
        bench.memo.take_in([Ended(leader, 1, [Held(lock)])])
        bench.end(leader, [Held(lock)])
        assert bench.value(tid) is lock
        bench.jobs.all()
    assert len(bench.ran) == 2
    assert len(bench.warned) == 1


def stored(folder: Path) -> int:
    return len(list(MemoStore(folder / "memo", 1 << 30).entries()))


@pytest.mark.parametrize("mode", ["task_exit", "periodic", "dfk_exit", "manual"])
def test_results_are_written_when_the_mode_says(tmp_path: Path, mode: str) -> None:
    """And found in this session before."""
    bench = Bench(tmp_path, checkpoint_mode=mode, checkpoint_period=5)
    for number in range(3):
        bench.launch(number)
    bench.jobs.all()
    for number in range(3):
        bench.end(number, packed(number))
    bench.jobs.all()
    assert stored(tmp_path) == (3 if mode == "task_exit" else 0)
    bench.launch(1)
    bench.jobs.all()
    assert bench.value(3) == 1
    if mode == "periodic":
        assert bench.jobs.period == 5
        assert bench.jobs.again is not None
        bench.jobs.again()
        assert stored(tmp_path) == 3
    if mode == "manual":
        assert bench.memo.checkpoint() == 3
        assert stored(tmp_path) == 3
        bench.launch(7)
        bench.jobs.all()
        bench.end(4, packed(7))
    assert bench.memo.checkpoint() == (3 if mode == "dfk_exit" else 1 if mode == "manual" else 0)
    assert bench.memo.checkpoint() == 0
    bench.launch(8)
    bench.jobs.all()
    bench.end(bench.next - 1, packed(8))
    before = stored(tmp_path)
    assert bench.memo.close(1)
    assert stored(tmp_path) == before + (mode != "manual")


def test_what_waits_to_be_written_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond a number of bytes the oldest are written early."""
    monkeypatch.setattr(keeping, "ROOM", 10_000)
    bench = Bench(tmp_path, checkpoint_mode="manual")
    for number in range(10):
        bench.launch(number)
        bench.jobs.all()
        bench.end(number, packed(bytes(3000)))
        bench.jobs.all()
    assert stored(tmp_path) == 7
    assert bench.memo.checkpoint() == 3


def test_a_task_whose_files_are_gone_or_changed_runs_again(tmp_path: Path) -> None:
    """In this session and in another."""
    out = tmp_path / "out.txt"
    for mode in ("task_exit", "manual"):
        out.unlink(missing_ok=True)
        bench = Bench(tmp_path / mode, checkpoint_mode=mode)

        def ran(bench: Bench) -> bool:
            before = len(bench.ran)
            bench.launch(1, outputs=[File(out)])
            bench.jobs.all()
            if len(bench.ran) == before:
                return False
            out.write_text("made")
            bench.end(bench.ran[-1], packed("v"))
            bench.jobs.all()
            return True

        assert ran(bench)
        assert not ran(bench)
        out.unlink()
        assert ran(bench)
        out.write_text("other")
        assert ran(bench)
        bench.memo.checkpoint()
        assert not ran(Bench(tmp_path / mode))
        out.write_text("another")
        assert ran(Bench(tmp_path / mode))


@pytest.mark.parametrize("name", ["a" * 300, "a\0b"], ids=["too long", "with a zero"])
def test_a_file_that_cannot_be_there_makes_nobody_wait(tmp_path: Path, name: str) -> None:
    """The task runs, and fails by itself."""
    bench = Bench(tmp_path)
    for _ in range(2):
        bench.launch(1, outputs=[File(tmp_path / name)])
        bench.jobs.all()
        bench.end(bench.ran[-1], packed("v"))
        bench.jobs.all()
    assert bench.ran == [0, 1]


def test_after_close_nothing_is_answered(bench: Bench) -> None:
    """Nor run: the session answers all itself."""
    bench.launch(1)
    bench.memo.close(1)
    bench.memo.launch(None, Attempt(5, 1, None, ()), None)  # type: ignore[arg-type]
    bench.jobs.all()
    assert bench.ran == []
    assert bench.end(0, None) == []
    bench.memo.forget(0)


class Interleavings(RuleBasedStateMachine):
    """Tasks of few keys are launched, looked up, ended and cancelled in any order."""

    folder: Path

    def __init__(self) -> None:
        super().__init__()
        import tempfile

        self.bench = Bench(Path(tempfile.mkdtemp(dir=self.folder)))
        self.keys: dict[int, int] = {}
        self.cancelled: set[int] = set()
        self.over: set[int] = set()

    def running(self) -> list[int]:
        return [tid for tid in self.bench.ran if tid not in self.over]

    def answered(self) -> set[int]:
        return {end.tid for end in self.bench.ended}

    @rule(key=st.integers(0, 2))
    def launch(self, key: int) -> None:
        self.keys[self.bench.launch(key)] = key

    @precondition(lambda self: self.bench.jobs.jobs)
    @rule()
    def step(self) -> None:
        self.bench.jobs.step()

    @precondition(lambda self: self.running())
    @rule(data=st.data(), how=st.sampled_from(["value", "failure", "cancel"]))
    def end(self, data: st.DataObject, how: str) -> None:
        tid = data.draw(st.sampled_from(self.running()))
        self.over.add(tid)
        if how == "cancel":
            self.cancelled.add(tid)
        self.bench.end(
            tid, {"value": packed(self.keys[tid]), "failure": Failure("E", str(self.keys[tid])), "cancel": None}[how]
        )

    @precondition(lambda self: set(self.keys) - self.answered() - self.over)
    @rule(data=st.data(), told=st.booleans())
    def cancel_waiting(self, data: st.DataObject, told: bool) -> None:
        waiting = sorted(set(self.keys) - self.answered() - self.over - set(self.bench.ran))
        if waiting:
            tid = data.draw(st.sampled_from(waiting))
            self.over.add(tid)
            self.cancelled.add(tid)
            self.bench.memo.forget(tid)
            if told:
                self.bench.end(tid, None)

    @invariant()
    def one_of_each_key_runs_and_nobody_is_answered_twice(self) -> None:
        running = [self.keys[tid] for tid in self.running()]
        assert len(running) == len(set(running))
        answers = [end.tid for end in self.bench.ended]
        assert len(answers) == len(set(answers))
        assert not set(answers) & self.cancelled
        for end in self.bench.ended:
            value = self.bench.value(end.tid)
            assert (int(value.message) if isinstance(value, Failure) else value) == self.keys[end.tid]

    def teardown(self) -> None:
        """In the end each task was answered, has run, or was cancelled."""
        for _ in range(len(self.keys) + 1):
            self.bench.jobs.all()
            for tid in self.running():
                self.over.add(tid)
                self.bench.end(tid, packed(self.keys[tid]))
        assert set(self.keys) == self.answered() | self.over
        assert not self.bench.memo._tasks
        assert not self.bench.memo._flights


def test_every_interleaving_answers_every_waiter(tmp_path: Path) -> None:
    """Once each, with the value of its key, and never two of one key run at a time."""
    Interleavings.folder = tmp_path
    from hypothesis.stateful import run_state_machine_as_test

    run_state_machine_as_test(
        Interleavings,
        settings=settings(
            max_examples=150, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )
