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


def test_what_cannot_be_encoded_is_escaped(stream, sent, log):
    """Lone surrogates never reach the link or the log: both take UTF-8 only."""
    stream.begin(live=True)
    stream.write("a\udcffé\n")
    stream.end()
    stream.write("b\udcfe\n")
    assert (sent, log.getvalue()) == ([("stdout", "a\\udcffé\n")], "b\\udcfe\n")


def test_only_text_is_taken(stream, sent):
    """Bytes are refused where they are written, and do not spoil what comes after."""
    stream.begin(live=True)
    with pytest.raises(TypeError, match="must be str, not bytes"):
        stream.write(b"no\n")
    stream.write("yes\n")
    stream.end()
    assert sent == [("stdout", "yes\n")]


def test_the_end_of_a_task_never_raises(log):
    """If the link is gone when the task ends, that is not the task's failure: the next packet will show it."""

    def broken(name, text):
        raise BrokenPipeError

    stream = TaskStream("stdout", log, broken)
    stream.begin(live=True)
    stream.write("half")
    stream.end()
    stream.write("late\n")
    assert log.getvalue() == "late\n"


def test_closing_closes_nothing(stream, sent):
    """A task that closes stdout, or a wrapper around its buffer, sends what is held; the next one can write."""
    stream.begin(live=True)
    stream.write("half")
    io.TextIOWrapper(stream.buffer).close()
    stream.close()
    assert sent == [("stdout", "half")]
    stream.write("more\n")
    stream.buffer.write(b"bytes\n")
    assert not stream.closed
    assert "".join(t for _, t in sent) == "halfmore\nbytes\n"


def test_a_forked_child_has_nothing_to_send(stream, sent):
    """What was held at the fork is the parent's to send."""
    stream.begin(live=True)
    stream.write("half")
    stream.forked()
    stream.end()
    assert sent == []
