"""What becomes of what a task prints."""

from __future__ import annotations

import io

import pytest

from shoal.node.capture import LIMIT, TaskStream


@pytest.fixture
def sent():
    return []


@pytest.fixture
def log():
    return io.StringIO()


@pytest.fixture
def stream(sent, log):
    return TaskStream("stdout", log, lambda name, text: sent.append((name, text)))


def test_without_streaming_text_goes_to_the_log(stream, sent, log):
    """A task that does not ask for it prints into the worker's log."""
    stream.begin(live=False)
    stream.write("hello\n")
    stream.end()
    assert (sent, log.getvalue()) == ([], "hello\n")


def test_lines_are_sent_as_they_are_written(stream, sent, log):
    """A line is sent at once, a part of one on flush or at the end of the task."""
    stream.begin(live=True)
    print("one", file=stream)
    stream.write("tw")
    assert [t for _, t in sent] == ["one", "\n"] or [t for _, t in sent] == ["one\n"]
    stream.flush()
    stream.write("o")
    stream.end()
    assert "".join(t for _, t in sent) == "one\ntwo"
    assert log.getvalue() == ""


def test_bytes_take_the_same_way(stream, sent):
    """What is written to ``buffer`` arrives in order with the text, also if it is no UTF-8."""
    stream.begin(live=True)
    stream.write("a")
    stream.buffer.write(b"b\xff")
    stream.end()
    assert "".join(t for _, t in sent) == "ab\ufffd"


def test_after_the_limit_the_rest_goes_to_the_log(stream, sent, log):
    """What is sent is bounded, says that it was cut, and nothing is lost: the rest is in the log."""
    stream.begin(live=True)
    for _ in range(3):
        stream.write("x" * (LIMIT // 2) + "\n")
    stream.end()
    text = "".join(t for _, t in sent)
    assert text.count("x") + text.count("\n") - 2 == LIMIT
    assert "cut here" in text
    assert log.getvalue().count("x") == 3 * (LIMIT // 2) - text.count("x")
    stream.begin(live=True)
    stream.write("next task\n")
    assert sent[-1] == ("stdout", "next task\n")


def test_between_tasks_text_goes_to_the_log(stream, sent, log):
    """A thread that a task left behind prints into the log, not into the next task's output."""
    stream.begin(live=True)
    stream.end()
    stream.write("late\n")
    assert (sent, log.getvalue()) == ([], "late\n")
