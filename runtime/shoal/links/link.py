"""What doors and lines have in common, however they carry messages."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from shoal.links.poll import Poll

__all__ = ["MAX_FRAME", "MAX_HEADER", "Door", "Line", "Link", "PeerGone"]

MAX_FRAME = 1 << 33
"""No frame may be larger (bytes)."""

MAX_HEADER = 64 << 20
"""Nor may the first frame of a message, which is decoded (bytes)."""


class PeerGone(ConnectionError):
    """Whom a message was for is not connected (any more)."""


class Link(Protocol):
    """What a :class:`Poll` can wait for."""

    mends: bool
    """Whether :meth:`rest` and :meth:`mend` ever have a meaning."""

    def attach(self, poll: Poll) -> None:
        """From now on that poll watches its descriptors."""
        ...

    def ready(self) -> bool:
        """Whether there may be something to receive."""
        ...

    def rest(self, now: float) -> float:
        """Seconds that it can do without being asked to :meth:`mend`; infinite where it needs nothing."""
        ...

    def mend(self, now: float) -> None:
        """Do what is due, such as another attempt to connect."""
        ...


class Line(Link, Protocol):
    """Leads to one door, and connects again when it is cut."""

    connects: int
    """How often it has connected so far, as far as it knows."""

    @property
    def pending(self) -> bool:
        """Whether something that was sent is still in this process, as far as is known: it would be lost with it."""
        ...

    @property
    def unsettled(self) -> bool:
        """Whether ``send_at_once`` has left something over."""
        ...

    def send(self, frames: list[Any]) -> None:
        """Send a message, now or once it is connected; never blocks. The frames must not be changed afterwards."""
        ...

    def send_at_once(self, frame: Any) -> bool:
        """Send a message of one small frame, from another thread than that which does all else.

        The caller sees to it that nobody sends at the same time. An exception may interrupt this anywhere: the message is
        then sent, or will be by :meth:`settle`, or was never begun.

        Returns:
            Whether it was done; if not, the message must take the usual way.
        """
        ...

    def settle(self) -> None:
        """Send what ``send_at_once`` has left over, if anything."""
        ...

    def receive(self) -> list[Any] | None:
        """The frames of the next message; None if there is none now. The first is valid until the next call only."""
        ...

    def close(self, linger: float = 0.0) -> None:
        """End it.

        Args:
            linger: seconds that sending what is under way may take.
        """
        ...


class Door(Link, Protocol):
    """Where a pool listens. Each line that leads here has an identity, which the door's side gives it."""

    malformed: int
    """How often something arrived that was no message; who sends such a thing is cut off where that can be."""

    def send(self, identity: bytes, frames: list[Any]) -> None:
        """Send a message; never blocks. The frames must not be changed afterwards.

        Raises:
            PeerGone: nobody of that identity is connected.
        """
        ...

    def receive(self) -> tuple[bytes, list[Any]] | None:
        """Who sent the next message, and its frames; None if there is none now.

        The first frame is valid until the next call only.
        """
        ...

    def cut(self, identity: bytes) -> None:
        """Hear no more from that peer."""
        ...

    def close(self, linger: float = 0.0) -> None:
        """End it.

        Args:
            linger: seconds that sending what is under way may take.
        """
        ...
