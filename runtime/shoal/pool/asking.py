"""Asking pools, from any process of their owner."""

from __future__ import annotations

import time
from contextlib import ExitStack, closing
from typing import TypeVar

from shoal.errors import PoolNotFound, PoolUnreachable, ProtocolError
from shoal.links import Poll, dial
from shoal.pool.connection import Connection, is_alive
from shoal.wire.frames import Codec
from shoal.wire.messages import Message

__all__ = ["Asking", "ask", "ask_all"]

_Answer = TypeVar("_Answer")


class Asking:
    """A line to a pool for a question or two.

    Args:
        connection: of the pool.
        poll: which is to be waited with.
    """

    def __init__(self, connection: Connection, poll: Poll) -> None:
        self._codec = Codec()
        self.line = dial(connection.clients)
        poll.add_link(self.line, _nothing)

    def close(self) -> None:
        """End it."""
        self.line.close(0.5)

    def send(self, message: Message) -> None:
        """Send a question."""
        self.line.send(self._codec.encode(message))

    def answer(self, kind: type[_Answer]) -> _Answer | None:
        """The next answer of that kind; None if there is none now."""
        while (frames := self.line.receive()) is not None:
            try:
                message = self._codec.decode(frames)
            except ProtocolError:
                continue
            if isinstance(message, kind):
                return message
        return None


def ask(connection: Connection, question: Message, kind: type[_Answer], timeout: float) -> _Answer:
    """Ask one pool.

    Args:
        connection: of the pool.
        question: that is answered without hello.
        kind: of the answer.
        timeout: seconds to wait for it.

    Raises:
        PoolNotFound: its process has ended.
        PoolUnreachable: it does not answer in time.
    """
    answer = ask_all([connection], question, kind, timeout).get(connection.name)
    if answer is not None:
        return answer
    if not is_alive(connection):
        raise PoolNotFound(connection.name)
    raise PoolUnreachable(connection.name, timeout)


def ask_all(
    connections: list[Connection], question: Message, kind: type[_Answer], timeout: float
) -> dict[str, _Answer]:
    """Ask several pools at once; the answers that came in time, by name."""
    answers: dict[str, _Answer] = {}
    with ExitStack() as stack:
        poll = stack.enter_context(closing(Poll()))
        links = {c.name: stack.enter_context(closing(Asking(c, poll))) for c in connections}
        for link in links.values():
            link.send(question)
        deadline = time.monotonic() + timeout
        while len(answers) < len(links) and (left := deadline - time.monotonic()) > 0:
            poll.once(left)
            for name, link in links.items():
                answer = link.answer(kind)
                if answer is not None:
                    answers[name] = answer
    return answers


def _nothing() -> None:
    """All links are asked after each wait anyway."""
