"""Who is connected to a pool."""

from __future__ import annotations

import msgspec

from shoal.pool.diaries import Diaries

__all__ = ["ClientPeer", "ManagerPeer", "silence_of"]


class ClientPeer(msgspec.Struct):
    """A client that said hello.

    Args:
        number: what the pool calls it.
        identity: its address on the clients' door.
        session: its run id.
        name: for people.
        pid: its process.
        pidfd: watches that process; -1 where it cannot be watched.
        gone: it has ended, or closed its connection; what it sent before may still be on its way in.
        for_good: nobody will come again as this client, only to claim what it has.
    """

    number: int
    identity: bytes
    session: str
    name: str
    pid: int
    pidfd: int = -1
    gone: bool = False
    for_good: bool = False


class ManagerPeer(msgspec.Struct):
    """A manager that registered.

    Args:
        number: what the pool calls it.
        identity: its address on the managers' door.
        block: the block that it belongs to.
        host, pid: where it is.
        slots: how many one-core tasks it runs at once.
        memory: bytes of memory that its tasks may take in all; 0 if unknown.
        gpus: its accelerators.
        workers: how many of its workers are up.
        diaries: those of its workers, where it is on this host.
        messages: of results that it has sent.
    """

    number: int
    identity: bytes
    block: int
    host: str
    pid: int
    slots: int
    memory: int = 0
    gpus: int = 0
    workers: int = 0
    diaries: Diaries | None = None
    messages: int = 0

    def worker_up(self, worker: int, page: int, diary: int) -> None:
        """A worker of it is up, whose diary can be read here."""
        if self.diaries is None:
            self.diaries = Diaries(self.slots, diary)
        self.diaries.add(self.pid, worker, page)

    def begun(self) -> frozenset[tuple[int, int, int]] | None:
        """It is gone: what may have begun there; None where that is not known."""
        diaries, self.diaries = self.diaries, None
        return diaries.begun(self.pid, self.workers) if diaries is not None else None

    @property
    def name(self) -> str:
        """For messages to people."""
        return f"the manager of block {self.block} (pid {self.pid} on {self.host})"


def silence_of(managers: list[tuple[ManagerPeer, float]]) -> str:
    """What people are told of managers that are silent at once: one sentence, however many there are.

    Args:
        managers: at least one, each with the seconds since it was heard.
    """
    (first, seconds), more = managers[0], len(managers) - 1
    if not more:
        return f"{first.name} has been silent for {seconds:.0f} s; it gets no new tasks"
    others = f"{more:,} other managers have" if more > 1 else "another manager have"
    return f"{first.name} and {others} been silent for {seconds:.0f} s; they get no new tasks"
