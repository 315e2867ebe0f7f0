"""Join apps, lifted items and maps, as the session carries them out."""

from __future__ import annotations

from concurrent.futures import CancelledError, Future
from typing import Any

import pytest

import shoal
from shoal.errors import DependencyError, JoinError
from shoal.options import TaskOptions
from shoal.serialize import FunctionImage
from shoal.session import Session
from shoal.testing import ManualExecutor

JOIN = TaskOptions(join=True)


def join(session: Session, body: Any, *args: Any) -> Any:
    return session.enter(FunctionImage(body), args, {}, JOIN)


def settled(session: Session, hand: ManualExecutor, future: Any) -> Any:
    """Run what comes until the future is done: bodies run on threads of the session."""
    for _ in range(2000):
        hand.run_all()
        if future.done():
            return future
        session.wait(0.005)
    raise AssertionError(f"{future!r} pends for ever")


def test_a_join_has_the_value_of_the_future_that_its_body_returned(session: Session, hand: ManualExecutor) -> None:
    """And holds no place of an executor while it waits."""
    inner = session.submit(lambda: [1, 2])
    joined = join(session, lambda: inner)
    for _ in range(2000):
        if joined.task_status() == "joining":
            break
        session.wait(0.005)
    assert joined.task_status() == "joining"
    assert len(hand.launched) == 1
    assert settled(session, hand, joined).result(0) == [1, 2]


def test_futures_anywhere_in_a_structure_are_joined(session: Session, hand: ManualExecutor) -> None:
    """Lists, tuples, dicts and sets, with plain values among them, keep their shape."""

    def body() -> Any:
        one, two = session.submit(lambda: 1), session.submit(lambda: 2)
        return {"a": [one, (two, "x")], "b": {one}, "c": 5}

    joined = settled(session, hand, join(session, body))
    assert joined.result(0) == {"a": [1, (2, "x")], "b": {1}, "c": 5}


def test_a_body_may_return_a_plain_value(session: Session, hand: ManualExecutor) -> None:
    """There is nothing to wait for then."""
    assert settled(session, hand, join(session, lambda: 7)).result(0) == 7


def test_a_future_of_another_library_is_joined(session: Session, hand: ManualExecutor) -> None:
    """Any concurrent.futures.Future will do."""
    foreign: Future[int] = Future()
    joined = join(session, lambda: [foreign])
    foreign.set_result(3)
    assert settled(session, hand, joined).result(0) == [3]


def test_a_join_fails_with_its_first_failed_task(session: Session, hand: ManualExecutor) -> None:
    """JoinError names it, and carries the original as its cause; dependents see both."""

    def broken() -> Any:
        raise KeyError("k")

    def body() -> Any:
        return [session.submit(lambda: 1), session.submit(broken, label="broken")]

    joined = session.enter(FunctionImage(body, "grow"), (), {}, JOIN)
    after = session.submit(lambda x: x, (joined,))
    error = settled(session, hand, joined).exception(0)
    assert isinstance(error, JoinError)
    assert "broken" in str(error)
    assert isinstance(error.__cause__, KeyError)
    skipped = settled(session, hand, after).exception(0)
    assert isinstance(skipped, DependencyError)
    assert isinstance(skipped.__cause__, JoinError)
    assert isinstance(skipped.__cause__.__cause__, KeyError)


def test_a_join_of_itself_is_refused(session: Session, hand: ManualExecutor) -> None:
    """It would wait for ever."""
    box: list[Any] = []
    gate: Future[None] = Future()

    def body() -> Any:
        gate.result(10)
        return box[0]

    box.append(join(session, body))
    gate.set_result(None)
    error = settled(session, hand, box[0]).exception(0)
    assert isinstance(error, JoinError)
    assert "waits for it" in str(error)


def test_the_error_of_a_body_is_the_error_of_the_join(session: Session, hand: ManualExecutor) -> None:
    """As of any task."""

    def body() -> Any:
        raise ValueError("no")

    assert isinstance(settled(session, hand, join(session, body)).exception(0), ValueError)


def test_cancelling_a_join_cancels_what_its_body_made(session: Session, hand: ManualExecutor) -> None:
    """And not what others made: that may be wanted elsewhere."""
    others = session.submit(lambda: 1)

    def body() -> Any:
        return [session.submit(lambda: 2), others]

    joined = join(session, body)
    for _ in range(2000):
        if joined.task_status() == "joining":
            break
        session.wait(0.005)
    assert joined.cancel()
    with pytest.raises(CancelledError):
        joined.result(0)
    assert hand.dropped == [(2, 1)]
    assert settled(session, hand, others).result(0) == 1


def test_the_tasks_of_a_body_name_their_parent(session: Session, hand: ManualExecutor) -> None:
    """The record tells which join made them."""
    joined = join(session, lambda: session.submit(lambda: 1))
    settled(session, hand, joined)
    assert session.view().record(joined.tid).status == "done"
    assert list(session.view().parent) == [-1, 0]


def test_apps_in_a_body_use_the_session_of_the_join(start: Any, hand: ManualExecutor) -> None:
    """Also where another one is current."""
    session = start([hand])
    seen: list[Any] = []
    settled(session, hand, join(session, lambda: seen.append(shoal.current())))
    assert seen == [session]


def test_an_item_of_a_future_is_a_future(session: Session, hand: ManualExecutor) -> None:
    """Of a task of its own, which other tasks can take."""
    whole = session.submit(lambda: {"a": [10, 20]})
    item = whole["a"][1]
    after = session.submit(lambda x: x + 1, (item,))
    assert settled(session, hand, after).result(0) == 21
    assert item.label == "<lambda>['a'][1]"


def test_an_attribute_is_lifted_by_name(session: Session, hand: ManualExecutor) -> None:
    """``shoal.attr`` does it; a plain attribute of a future is an AttributeError and makes no task."""
    number = session.submit(lambda: 3 + 4j)
    assert settled(session, hand, shoal.attr(number, "imag")).result(0) == 4.0
    before = len(session.view())
    with pytest.raises(AttributeError):
        _ = number.imag
    assert len(session.view()) == before


def test_a_missing_item_fails_its_own_task(session: Session, hand: ManualExecutor) -> None:
    """With the error that the value raised."""
    item = session.submit(lambda: [1])[5]
    assert isinstance(settled(session, hand, item).exception(0), IndexError)


def test_an_element_that_failed_fails_only_what_takes_it(session: Session, hand: ManualExecutor) -> None:
    """The other elements of the same task keep their values."""
    options = TaskOptions(each=True, outputs=("0", "1"), retries=0)
    chunk = session.enter(FunctionImage(lambda x: 6 // x), ([(0,), (3,)],), {}, options)
    bad, good = chunk.outputs.values()
    after_bad = session.submit(lambda x: x, (bad,))
    after_good = session.submit(lambda x: x, (good,))
    hand.run_all()
    assert good.result(0) == 2
    assert isinstance(bad.exception(0), ZeroDivisionError)
    assert after_good.result(0) == 2
    assert isinstance(after_bad.exception(0), DependencyError)
    late = session.submit(lambda x: x, (bad,))
    assert isinstance(late.exception(0), DependencyError)
    joined = settled(session, hand, join(session, lambda: [bad]))
    assert isinstance(joined.exception(0), JoinError)


def test_elements_are_tried_again_together(session: Session, hand: ManualExecutor) -> None:
    """A chunk with a failed element is run again while there are retries."""
    calls: list[int] = []

    def flaky(x: int) -> int:
        calls.append(x)
        if len(calls) == 2:
            raise OSError("flaky")
        return x

    options = TaskOptions(each=True, outputs=("0", "1"), retries=1)
    chunk = session.enter(FunctionImage(flaky), ([(1,), (2,)],), {}, options)
    hand.run_all()
    assert [f.result(0) for f in chunk.outputs.values()] == [1, 2]
    assert calls == [1, 2, 1, 2]
