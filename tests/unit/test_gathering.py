"""Waiting for many futures: structures, failures, progress."""

from __future__ import annotations

import io
import signal
import sys
import threading
from collections import namedtuple
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, FIRST_EXCEPTION, CancelledError, Future
from contextlib import redirect_stderr
from threading import Timer
from types import SimpleNamespace
from typing import Any

import pytest

from shoal import gathering
from shoal.futures import TaskFuture
from shoal.futures.stopping import Interrupts, interrupts, use_interrupts
from shoal.gathering import as_completed, gather, wait
from shoal.outcome import Held, Packed, Payload, Raised


class Owner:
    """What futures ask of their session."""

    def load_value(self, value: Packed, task: str) -> Any:
        return bytes(value.payload.head)

    def check_process(self) -> None:
        pass

    def state_of(self, tid: int) -> str | None:
        return "queued"


def make(count: int) -> list[TaskFuture[Any]]:
    """Futures that nothing has settled."""
    return [TaskFuture(Owner(), tid, "f") for tid in range(count)]  # type: ignore[arg-type]


def done(value: Any) -> TaskFuture[Any]:
    """A future that has its value."""
    (future,) = make(1)
    future.settle(Held(value))
    return future


def failed(error: BaseException) -> TaskFuture[Any]:
    """A future that has failed."""
    (future,) = make(1)
    future.settle(Raised(error))
    return future


def foreign(value: Any) -> Future[Any]:
    """A future of the standard library."""
    future: Future[Any] = Future()
    future.set_result(value)
    return future


Pair = namedtuple("Pair", "left right")


def test_values_stand_where_futures_stood():
    """One argument is a structure: lists, tuples, named tuples, sets, dicts, keys too; what is no future stays."""
    one, two = done(1), done(2)
    tree = {"a": [one, (two, "x")], one: {two}, "pair": Pair(one, None)}
    assert gather(tree) == {"a": [1, (2, "x")], 1: {2}, "pair": Pair(1, None)}
    assert gather(one) == 1


def test_several_arguments_are_a_list():
    """Also none at all; a bare value passes through."""
    assert gather(done(1), [done(2)], 3) == [1, [2], 3]
    assert gather() == []
    assert gather([]) == []
    assert gather("text") == "text"


def test_an_iterator_is_a_list():
    """A generator expression of futures can be given as it is."""
    assert gather(done(i) for i in range(3)) == [0, 1, 2]


def test_futures_of_other_libraries_count():
    """Any concurrent.futures.Future, mixed with those of tasks."""
    assert gather([foreign("a"), done("b")]) == ["a", "b"]


def test_values_are_loaded_by_who_asks():
    """A packed value is read once, in the thread that gathers."""
    (future,) = make(1)
    future.settle(Packed(Payload(b"abc")))
    assert gather([future, future]) == [b"abc", b"abc"]


def test_the_first_failure_raises_at_once():
    """Though others, before it in the list, are not over."""
    pending = make(2)
    with pytest.raises(KeyError, match="x"):
        gather([*pending, failed(KeyError("x"))])
    assert not any(future.done() for future in pending)


def test_a_failure_that_comes_while_waiting_raises_then():
    """It is not waited for the others."""
    first, second = make(2)
    threading.Timer(0.05, second.settle, [Raised(ValueError("late"))]).start()
    with pytest.raises(ValueError, match="late"):
        gather([first, second], timeout=30)


def test_a_cancelled_future_is_a_failure():
    """It raises CancelledError, or is one among the values."""
    (future,) = make(1)
    future.settle(None)
    with pytest.raises(CancelledError):
        gather([future, *make(1)])
    (error,) = gather([future], return_exceptions=True)
    assert isinstance(error, CancelledError)


def test_exceptions_can_stand_among_the_values():
    """Each in the place of its future."""
    error = ValueError("no")
    assert gather([done(1), failed(error), foreign(3)], return_exceptions=True) == [1, error, 3]


def test_a_timeout_says_how_many_are_missing():
    """As TimeoutError; the futures stay as they are."""
    pending = make(2)
    with pytest.raises(TimeoutError, match=r"2 \(of 2\)"):
        gather([*pending, done(1)], timeout=0)
    assert not pending[0].cancelled()


def test_what_is_over_comes_first():
    """as_completed gives each future once, those that are over before the others."""
    first, second = make(2)
    second.settle(Held(2))
    order = as_completed([first, second, first])
    assert next(order) is second
    first.settle(Held(1))
    assert next(order) is first
    assert list(order) == []


def test_as_completed_counts_time_from_the_call():
    """Not from when the first future is asked for."""
    order = as_completed(make(1), timeout=0.0)
    with pytest.raises(TimeoutError):
        next(order)


def test_wait_tells_what_is_over():
    """As two sets with names; time running out is no error."""
    first, second = make(2)
    first.settle(Held(1))
    both = wait([first, second, first], timeout=0)
    assert both.done == {first}
    assert both.not_done == {second}
    assert wait([first]) == ({first}, set())
    assert wait([]) == (set(), set())


@pytest.mark.parametrize("progress", [False, None, True])
def test_wait_may_end_early(progress: bool | None):
    """With the first that is over, or the first that fails."""
    pending = make(1)
    assert wait([*pending, done(1)], return_when=FIRST_COMPLETED, progress=progress).not_done == set(pending)
    assert wait([*pending, failed(ValueError())], return_when=FIRST_EXCEPTION, progress=progress).not_done == set(
        pending
    )
    with pytest.raises(ValueError, match="return"):
        wait(pending, return_when="SOMETIME", progress=progress)


@pytest.mark.parametrize("call", [as_completed, wait])
def test_what_is_no_future_is_refused(call: Any):
    """With a word about what takes structures; a single future is no collection either."""
    with pytest.raises(TypeError, match=r"found a list; shoal\.gather"):
        call([[done(1)]])
    with pytest.raises(TypeError, match=r"\.result\(\)"):
        call(done(1))


def test_futures_that_end_while_the_waiter_is_placed_are_told_once():
    """The state and its announcement are one step: no future is given twice, none is missed."""
    for _ in range(20):
        futures = make(500)
        threading.Thread(target=lambda futures=futures: [f.settle(Held(None)) for f in futures]).start()
        assert len(list(as_completed(futures, timeout=30))) == 500


# --------------------------------------------------------------------------- progress


class Screen(io.StringIO):
    """A terminal, or a file."""

    def __init__(self, terminal: bool) -> None:
        super().__init__()
        self.terminal = terminal

    def isatty(self) -> bool:
        return self.terminal


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Progress is shown at once."""
    monkeypatch.setattr(gathering, "_PATIENCE", 0.02)
    monkeypatch.setenv("TERM", "xterm")


def settle_soon(futures: list[TaskFuture[Any]], seconds: float = 0.4) -> None:
    """End the futures in a while; the first has failed."""

    def end() -> None:
        futures[0].settle(Raised(ValueError()))
        for future in futures[1:]:
            future.settle(Held(1))

    threading.Timer(seconds, end).start()


def test_progress_is_shown_on_a_terminal_and_then_gone():
    """How many are done, how many failed, how long; the lines are erased and the cursor is back at the end."""
    futures = make(3)
    settle_soon(futures)
    with redirect_stderr(Screen(True)) as screen:
        gather([*futures, done(1)], return_exceptions=True)
    shown = screen.getvalue()
    assert "1/4 done, 0:00:00" in shown
    assert "4/4 done, 1 failed, 0:00:00" in shown
    assert shown.endswith("\x1b[2K")
    assert shown.rindex("\x1b[?25h") > shown.rindex("\x1b[?25l")


@pytest.mark.parametrize("terminal", [True, False])
def test_nothing_is_shown_for_what_is_quick_or_where_nobody_looks(terminal: bool):
    """Nor where it is not wanted."""
    with redirect_stderr(Screen(terminal)) as screen:
        gather([done(1), foreign(2)])
        futures = make(2)
        settle_soon(futures, 0.1)
        wait(futures, progress=False if terminal else None)
    assert screen.getvalue() == ""


def test_progress_in_a_file_is_one_line_at_the_end():
    """Where it is asked for."""
    futures = make(3)
    settle_soon(futures, 0.05)
    with redirect_stderr(Screen(False)) as screen:
        assert len(list(as_completed(futures, progress=True))) == 3
    assert screen.getvalue() == "3/3 done, 1 failed, 0:00:00\n"


def test_progress_in_a_notebook_is_one_output_that_ends_empty(monkeypatch: pytest.MonkeyPatch):
    """It is updated in its place, so that nothing that the cell prints can get into it."""
    shown: list[dict[str, str]] = []

    class Output:
        def update(self, data: dict[str, str], raw: bool) -> None:
            assert raw
            shown.append(data)

    def display(data: dict[str, str], raw: bool, display_id: bool) -> Output:
        assert raw
        assert display_id
        shown.append(data)
        return Output()

    shell = SimpleNamespace(kernel=None)
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell))  # type: ignore[misc]
    monkeypatch.setitem(sys.modules, "IPython.display", SimpleNamespace(display=display))  # type: ignore[misc]
    futures = make(3)
    settle_soon(futures)
    with redirect_stderr(Screen(False)) as screen:
        wait([*futures, done(1)])
    assert screen.getvalue() == ""
    assert shown[0]["text/plain"] == "1/4 done, 0:00:00"
    assert 'value="1" max="4"' in shown[0]["text/html"]
    assert shown[-1] == {"text/plain": "", "text/html": ""}


def interrupt_main() -> None:
    """What Ctrl-C does."""
    signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)


class Recorder(Interrupts):
    """Keeps what it is told of interrupts."""

    def __init__(self) -> None:
        self.told: list[tuple[str, Any]] = []

    def stopped(self, error: BaseException, cancel: Any, what: str) -> None:
        self.told.append((what, cancel))


@pytest.fixture
def recorder() -> Iterator[Recorder]:
    """In the place of a notebook's kernel."""
    recorder = Recorder()
    before = interrupts()
    use_interrupts(recorder)
    yield recorder
    use_interrupts(before)


def test_an_interrupted_wait_leaves_the_terminal_clean(recorder: Recorder):
    """Ctrl-C ends the waiting, not the tasks, and progress is gone; the next wait can show its own."""
    futures = make(2)
    for number in range(2):
        Timer(0.2, interrupt_main).start()
        with redirect_stderr(Screen(True)) as screen, pytest.raises(KeyboardInterrupt):
            gather(futures, progress=True, timeout=30)
        shown = screen.getvalue()
        assert "0/2 done" in shown
        assert shown.rindex("\x1b[?25h") > shown.rindex("\x1b[?25l")
        assert len(recorder.told) == number + 1
    assert not any(future.done() for future in futures)


@pytest.mark.parametrize(
    "waiting",
    [
        lambda futures: gather(futures, timeout=30),
        lambda futures: list(as_completed(futures, timeout=30)),
        lambda futures: wait(futures, timeout=30),
        lambda futures: futures[0].result(30),
    ],
)
def test_an_interrupt_tells_what_was_waited_for(recorder: Recorder, waiting: Any):
    """Whoever looks after interrupts hears of the futures that are not over, and can cancel them."""
    futures = [*make(2), done(1)]
    Timer(0.1, interrupt_main).start()
    with pytest.raises(KeyboardInterrupt):
        waiting(futures)
    ((what, _),) = recorder.told
    assert what.startswith("f (task 0)")
    assert all(future._callbacks == [] for future in futures[:1])


def test_interrupts_at_any_moment_leave_no_future_stuck():
    """Ctrl-C while wakers are placed, or taken back: whoever settles the futures later is not kept waiting."""
    futures = make(3000)
    for number in range(60):
        timer = Timer(0.0003 * (number % 20), interrupt_main)
        try:
            timer.start()
            wait(futures, timeout=0.01)
            timer.join()
        except KeyboardInterrupt:
            pass
        timer.join()
    settling = threading.Thread(target=lambda: [future.settle(Held(1)) for future in futures], daemon=True)
    settling.start()
    settling.join(30)
    assert not settling.is_alive()
    assert gather(futures, timeout=30) == [1] * 3000
