"""What becomes of what a worker prints, read from pipes by hand."""

from __future__ import annotations

import os

import pytest

from shoal.node.capture import LIMIT, LOG_LIMIT, LONG, Capture, Gathered
from shoal.node.page import CHUNK

ONE, TWO = (1, 1, 1), (1, 2, 1)


class FakeWorker:
    """A worker's pipes without a process."""

    def __init__(self) -> None:
        pairs = [os.pipe() for _ in range(2)]
        self.pipes = tuple(read for read, _ in pairs)
        self.writes = [write for _, write in pairs]
        for pipe in self.pipes:
            os.set_blocking(pipe, False)
        self.running = None
        self.logged = b""
        self.counts = [0, 0]

    def note_read(self, stream):
        self.counts[stream] += 1

    def log(self, data):
        self.logged += data


@pytest.fixture
def worker():
    found = FakeWorker()
    yield found
    for fd in (*found.pipes, *found.writes):
        os.close(fd)


@pytest.fixture
def sent():
    return []


@pytest.fixture
def capture(worker, sent):
    return Capture(worker, lambda *what: sent.append(what))


def test_text_belongs_to_the_attempt_that_runs(capture, worker, sent):
    """What is read while an attempt runs is its own, each stream by name; the worker is told of each reading."""
    worker.running = ONE
    os.write(worker.writes[0], b"out")
    os.write(worker.writes[1], b"error")
    assert capture.read(0)
    assert capture.read(1)
    worker.running = TWO
    os.write(worker.writes[0], b"next")
    assert capture.read(0)
    assert sent == [(ONE, "stdout", "out"), (ONE, "stderr", "error"), (TWO, "stdout", "next")]
    assert worker.counts == [2, 1]
    assert worker.logged == b""


def test_between_attempts_text_goes_to_the_log(capture, worker, sent):
    """What nobody can be said to have printed is in the worker's log, up to a bound that is told."""
    os.write(worker.writes[1], b"late\n")
    capture.read(1)
    assert (sent, worker.logged) == ([], b"late\n")
    for _ in range(LOG_LIMIT // CHUNK + 3):
        os.write(worker.writes[0], b"x" * CHUNK)
        capture.read(0)
    assert LOG_LIMIT <= len(worker.logged) < LOG_LIMIT + 2 * CHUNK
    assert worker.logged.endswith(b"left out]\n")


def test_a_character_that_arrives_in_parts_is_put_together(capture, worker, sent):
    """Reads may end within a character; its rest comes with the next one, of the same stream."""
    worker.running = ONE
    word = "Žluťoučký 🐟".encode()
    for place in range(len(word)):
        os.write(worker.writes[0], word[place : place + 1])
        os.write(worker.writes[1], b".")
        capture.read(0)
        capture.read(1)
    assert "".join(text for _, stream, text in sent if stream == "stdout") == "Žluťoučký 🐟"


def test_half_a_character_at_the_end_is_its_attempts_own(capture, worker, sent):
    """It is sent as a replacement when the attempt ends, and does not spoil the next one's text."""
    worker.running = ONE
    os.write(worker.writes[0], b"a\xf0\x9f")
    capture.read(0)
    capture.settle()
    assert sent == [(ONE, "stdout", "a")]
    worker.running = None
    capture.settle()
    assert sent[1:] == [(ONE, "stdout", "\ufffd")]
    worker.running = TWO
    os.write(worker.writes[0], b"b")
    capture.read(0)
    assert sent[2:] == [(TWO, "stdout", "b")]


def test_what_is_no_utf8_is_replaced(capture, worker, sent):
    """Any bytes may be printed."""
    worker.running = ONE
    os.write(worker.writes[0], b"a\xffb\x80\n")
    capture.read(0)
    assert sent == [(ONE, "stdout", "a\ufffdb\ufffd\n")]


def test_each_stream_of_each_attempt_is_bounded(capture, worker, sent):
    """After the limit one line says that it is cut, and the rest is read and dropped; others are not cut."""
    worker.running = ONE
    for _ in range(3 * LIMIT // CHUNK):
        os.write(worker.writes[0], b"x" * CHUNK)
        capture.read(0)
    text = "".join(text for *_, text in sent)
    assert text == "x" * LIMIT + f"\n[stdout of this task is cut here, after {LIMIT} characters]\n"
    assert worker.counts[0] == 3 * LIMIT // CHUNK
    os.write(worker.writes[1], b"e")
    capture.read(1)
    worker.running = TWO
    os.write(worker.writes[0], b"y")
    capture.read(0)
    assert sent[-2:] == [(ONE, "stderr", "e"), (TWO, "stdout", "y")]
    assert worker.logged == b""


def test_exactly_the_limit_is_not_cut(capture, worker, sent):
    """Nothing is missing, so nothing is said."""
    worker.running = ONE
    for _ in range(LIMIT // CHUNK):
        os.write(worker.writes[0], b"x" * CHUNK)
        capture.read(0)
    worker.running = None
    capture.settle()
    assert "".join(text for *_, text in sent) == "x" * LIMIT


def test_what_a_dead_worker_has_left_is_read(capture, worker, sent):
    """All that was in its pipes when it ended belongs to the attempt that it had begun."""
    worker.running = ONE
    os.write(worker.writes[0], b"last words\xc3")
    capture.finish()
    assert "".join(text for *_, text in sent) == "last words\ufffd"


def test_an_empty_pipe_is_no_end_and_a_closed_one_is(capture, worker):
    """False means that nothing can come any more."""
    assert capture.read(0)
    os.close(worker.writes[0])
    assert not capture.read(0)
    worker.writes[0] = os.dup(worker.writes[1])


def test_text_is_gathered_for_a_moment():
    """The first text is due at once, what comes soon after it together, a moment later."""
    gathered = Gathered()
    assert gathered.wait(10.0) == float("inf")
    gathered.add(ONE, "stdout", "a")
    assert gathered.wait(10.0) == 0.0
    assert [(m.tid, m.stream, m.text) for m in gathered.take(10.0)] == [(1, "stdout", "a")]
    for text in "bcd":
        gathered.add(ONE, "stdout", text)
    gathered.add(ONE, "stderr", "e")
    assert gathered.wait(10.0 + LONG / 2) == pytest.approx(LONG / 2)
    assert [(m.tid, m.stream, m.text) for m in gathered.take(10.1)] == [(1, "stdout", "bcd"), (1, "stderr", "e")]
    assert gathered.take(11.0) == []
