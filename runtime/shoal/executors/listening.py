"""What the two sides of a client's link say to each other: the greeting, and what the executor hears."""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

from shoal.errors import ShoalError
from shoal.wire.messages import (
    Blob,
    Held,
    Output,
    Results,
    Returned,
    Running,
    Task,
    Trouble,
)

__all__ = ["Greeting", "Listener"]


class Greeting(NamedTuple):
    """What a pool is told first.

    Args:
        session: the session's id.
        name: the client, for people.
        resume: the session was connected before.
        probe: a loan for the pool to try, whether it can read what this process lends; empty if it lends nothing.
        claims: another process takes over what is left of the session.
    """

    session: str
    name: str
    resume: bool = False
    probe: bytes = b""
    claims: bool = False


class Listener(Protocol):
    """Who hears what arrives. All methods are called on the link's thread."""

    def task_for(self, item: Any) -> tuple[Task, list[Blob]] | None:
        """The message for an outbox item, and the blobs that must go before it; None to send nothing."""
        ...

    def unsendable(self, task: Task, error: Exception) -> None:
        """A task's message cannot be encoded."""
        ...

    def busy(self) -> bool:
        """Whether the pool has so much to do that a moment's delay costs nothing."""
        ...

    def results(self, message: Results) -> None:
        """Attempts ended."""
        ...

    def running(self, message: Running) -> None:
        """Attempts run."""
        ...

    def output(self, message: Output) -> None:
        """A task printed."""
        ...

    def trouble(self, message: Trouble) -> None:
        """The pool has a problem."""
        ...

    def blobs(self, digests: list[bytes]) -> list[Blob]:
        """Blobs that the pool asks for again."""
        ...

    def returned(self, message: Returned) -> None:
        """Attempts lack values that the pool does not have."""
        ...

    def held(self, message: Held) -> None:
        """The pool says what it has of a session that was connected before; results that were kept came before this."""
        ...

    def lost(self, error: ShoalError) -> None:
        """The pool is gone, or never came: nothing more will arrive."""
        ...
