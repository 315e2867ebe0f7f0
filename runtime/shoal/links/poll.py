"""Waiting for links and file descriptors together."""

from __future__ import annotations

import select
import time
from collections.abc import Callable

from shoal.links.link import Link

__all__ = ["Poll"]


class Poll:
    """Waits for links and file descriptors together, and calls what belongs to each. One thread uses it."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._calls: dict[int, Callable[[], None]] = {}
        self._watched: dict[int, Callable[[int], None]] = {}
        self._links: list[tuple[Link, Callable[[], None]]] = []
        self._mending: list[Link] = []
        """Those that want to be asked to mend now and then."""

    def add_link(self, link: Link, call: Callable[[], None]) -> None:
        """Call ``call`` whenever ``link`` may have something to receive."""
        self._links.append((link, call))
        if link.mends:
            self._mending.append(link)
        link.attach(self)

    def add(self, fd: int, call: Callable[[], None]) -> None:
        """Call ``call`` whenever ``fd`` is readable (or has hung up)."""
        self._calls[fd] = call
        self._epoll.register(fd, select.EPOLLIN)

    def watch(self, fd: int, call: Callable[[int], None]) -> None:
        """For links: call ``call`` with the events (``EPOLLIN`` and others) of ``fd``, before any link's own call."""
        self._watched[fd] = call
        self._epoll.register(fd, select.EPOLLIN)

    def want_room(self, fd: int, wanted: bool) -> None:
        """For links: whether ``fd`` is watched for room to write, as well."""
        self._epoll.modify(fd, select.EPOLLIN | select.EPOLLOUT if wanted else select.EPOLLIN)

    def remove(self, fd: int) -> None:
        """Stop watching ``fd``, before it is closed."""
        if self._calls.pop(fd, None) is not None or self._watched.pop(fd, None) is not None:
            self._epoll.unregister(fd)

    def once(self, timeout: float | None) -> None:
        """Wait up to ``timeout`` seconds (None: for ever) for anything, then call all that is due."""
        pause = -1.0 if timeout is None else timeout
        for link in self._mending:
            rest = link.rest(time.monotonic())
            if rest < _NEVER and (pause < 0.0 or rest < pause):
                pause = max(0.0, rest)  # below it where something is overdue
        for link, _ in self._links:
            if link.ready():
                pause = 0.0
        for fd, events in self._epoll.poll(pause, _MOST):
            watcher = self._watched.get(fd)
            if watcher is not None:
                watcher(events)
            elif (call := self._calls.get(fd)) is not None:
                call()
        for link in self._mending:
            if link.rest(0.0) < _NEVER:
                link.mend(time.monotonic())
        for link, call in self._links:
            if link.ready():
                call()

    def close(self) -> None:
        """Forget everything."""
        self._epoll.close()


_NEVER = float("inf")
_MOST = 256
"""Descriptors looked at in one go; without a limit each wait clears space for a thousand."""
