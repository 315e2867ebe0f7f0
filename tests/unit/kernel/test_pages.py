"""Pages that look at the graph, as the kernel knows them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from shoal_kernel.views.columns import Message
from shoal_kernel.views.pages import SILENT, Pages, answer_at_once


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

    def say(self, kind: str, **more: Any) -> None:
        self.hear({"header": {"session": "s"}, "content": {"data": {"kind": kind, **more}}})

    def got(self, kind: str) -> list[Any]:
        return [data for data, _ in self.sent if data["kind"] == kind]


class Desk:
    """Pages with a clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 0.0
        self.looks = 0
        self.asked: list[Any] = []
        self.pages = Pages(self.look, lambda: self.now, lambda comm, data: self.asked.append((comm, data["kind"])))

    def look(self) -> None:
        self.looks += 1

    def open(self) -> Comm:
        comm = Comm()
        self.pages.opened(comm, {})
        return comm

    def open_cells(self, session: str, *cells: str) -> Comm:
        comm = Comm()
        self.pages.opened(comm, {"header": {"session": session}, "content": {"data": {"cells": list(cells)}}})
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


def test_a_page_that_shows_cells_gets_answers_alone(desk: Desk) -> None:
    """It gets nothing of the graph before it looks, and nothing after it has left; what it asks is handed on."""
    comm = desk.open_cells("s", "a")
    assert desk.asked == [(comm, "cells")]
    assert not desk.pages.watching()
    desk.pages.send(Message({"kind": "full"}, []))
    comm.say("look")
    assert desk.looks == 1
    desk.pages.send(Message({"kind": "full"}, []))
    comm.say("leave")
    desk.pages.send(Message({"kind": "full"}, []))
    assert len(comm.got("full")) == 1
    comm.say("want", cells=["a"])
    assert desk.asked[-1] == (comm, "want")


def test_pages_that_show_cells_know_each_other(desk: Desk) -> None:
    """Each is told the sessions of all; one that does not answer when another one opens is gone."""
    first = desk.open_cells("s", "a")
    desk.now = 1.0
    second = desk.open_cells("two", "a")
    assert first.got("who") != []
    assert first.got("pages")[-1] == second.got("pages")[-1] == {"kind": "pages", "sessions": ["s", "two"]}
    desk.pages.drop_before(1.0)
    assert second.got("pages")[-1]["sessions"] == ["two"]
    first.say("me", cells=["a"])  # it was only slow
    assert second.got("pages")[-1]["sessions"] == ["two", "s"]
    first.close({})
    assert second.got("pages")[-1]["sessions"] == ["two"]


def test_who_shows_a_cell(desk: Desk) -> None:
    """A page that told its cells a moment ago is believed; later it is asked, and silence is a no."""
    assert not desk.pages.shows("a", 0.0)
    assert not desk.pages.shows("a", 1e9), "nobody was there a moment ago"
    comm = desk.open_cells("s", "a", "b")
    assert desk.pages.shows("b", 0.0)
    assert not desk.pages.shows("c", 0.0)
    desk.now = 60.0
    assert not desk.pages.shows("b", 0.0)
    comm.say("me", cells=["b"])
    assert desk.pages.shows("b", 0.0)
    assert not desk.pages.shows("a", 0.0)


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
