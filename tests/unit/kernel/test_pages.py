"""Pages that look at the graph, as the kernel knows them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from shoal_kernel.columns import Message
from shoal_kernel.pages import SILENT, Pages, answer_at_once


class Comm:
    """A comm without a kernel."""

    def __init__(self) -> None:
        self.sent: list[Any] = []
        self.hear: Callable[[Any], None]
        self.close: Callable[[Any], None]

    def on_msg(self, callback: Callable[[Any], None]) -> None:
        self.hear = callback

    def on_close(self, callback: Callable[[Any], None]) -> None:
        self.close = callback

    def send(self, data: Any, buffers: list[bytes]) -> None:
        self.sent.append((data, buffers))

    def say(self, kind: str) -> None:
        self.hear({"content": {"data": {"kind": kind}}})


class Desk:
    """Pages with a clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 0.0
        self.looks = 0
        self.pages = Pages(self.look, lambda: self.now)

    def look(self) -> None:
        self.looks += 1

    def open(self) -> Comm:
        comm = Comm()
        self.pages.opened(comm, {})
        return comm


@pytest.fixture
def desk() -> Desk:
    return Desk()


def test_a_page_that_opens_or_asks_gets_everything(desk: Desk) -> None:
    """Both make the feed send a full message; a sign of life does not."""
    comm = desk.open()
    assert desk.looks == 1
    comm.say("look")
    assert desk.looks == 2
    comm.say("here")
    assert desk.looks == 2


def test_messages_go_to_all_pages_but_closed_ones(desk: Desk) -> None:
    """Each page gets each message once."""
    one, two = desk.open(), desk.open()
    one.close({})
    desk.pages.send(Message({"kind": "full"}, [b"x"]))
    assert one.sent == []
    assert two.sent == [({"kind": "full"}, [b"x"])]


def test_a_silent_page_is_gone_until_it_speaks(desk: Desk) -> None:
    """A page that was reloaded says no good-bye: silence tells; one that was only slow is taken back, and gets everything."""
    comm = desk.open()
    desk.now = SILENT - 1
    comm.say("here")
    desk.now = SILENT + 1
    assert desk.pages.watching()
    desk.now = 2 * SILENT + 1
    assert not desk.pages.watching()
    comm.say("here")
    assert desk.pages.watching()
    assert desk.looks == 2


def test_replies_are_not_routed_to_the_busy_shell() -> None:
    """Where ipykernel routes replies by who sent last, a comm of ours is answered where the page says."""

    class Routed(Comm):
        def _reply_subshell_for(self, data: object, default: str) -> str:
            return "the busy one"

    comm = Routed()
    answer_at_once(comm)
    assert comm._reply_subshell_for({}, "the page's") == "the page's"
    answer_at_once(Comm())  # ipykernel 7.0 has no such method: nothing to do


def test_ipykernel_still_has_what_is_replaced() -> None:
    """The private method that is replaced is called as it was; if this fails, look at pages.answer_at_once."""
    import inspect

    from ipykernel.comm.comm import BaseComm

    if hasattr(BaseComm, "_reply_subshell_for"):
        assert list(inspect.signature(BaseComm._reply_subshell_for).parameters) == ["self", "data", "default"]
