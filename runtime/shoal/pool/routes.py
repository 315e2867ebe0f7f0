"""Questions of clients that a pool passes on to its managers: whom the answers are for."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["Route", "Routes"]

_MOST = 64
"""Questions remembered; older ones go unanswered."""


class Route(NamedTuple):
    """Whom an answer is for.

    Args:
        identity: the asker's at the clients' door.
        ticket: of its question.
    """

    identity: bytes
    ticket: int


class Routes:
    """Numbers the questions that are passed on."""

    def __init__(self) -> None:
        self._routes: dict[int, Route] = {}
        self._next = 1

    def note(self, identity: bytes, ticket: int) -> int:
        """Remember a question; returns the number under which it is passed on."""
        number, self._next = self._next, self._next + 1
        self._routes[number] = Route(identity, ticket)
        if len(self._routes) > _MOST:
            del self._routes[next(iter(self._routes))]
        return number

    def find(self, number: int) -> Route | None:
        """Whom an answer with this number is for; None if nobody waits for it."""
        return self._routes.get(number)
