"""What becomes of a session's tasks when the process of its pool is lost: the pool comes back, or everybody is answered."""

from __future__ import annotations

import threading
import time
import uuid
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence

from shoal.errors import PoolLost, ShoalError
from shoal.executors.client import ClientLink
from shoal.executors.embedded import EmbeddedPool
from shoal.executors.executor import Attempt, Ended, Sink
from shoal.executors.lending import Lender
from shoal.executors.returning import wait_for_return
from shoal.outcome import Failure
from shoal.pool.connection import Connection, is_supervised
from shoal.serialize import pack
from shoal.wire.messages import Cancel, Held, PoolStatus, Scale, StatusRequest

__all__ = ["Recovery"]

_MOMENT = 0.02


class Recovery(ABC):
    """The half of a pool's executor that knows what is outstanding, and gets over the loss of the pool's process.

    Args:
        label: its name in the session.
    """

    connection: Connection
    _sink: Sink
    _link: ClientLink
    _lender: Lender
    _ahead: dict[tuple[int, int], Attempt | None]

    def __init__(self, label: str) -> None:
        self.label = label
        self.session = uuid.uuid4().hex
        """By this its pool knows it, also when it connects again."""
        self.keep_on_close = False
        """Whether a lasting pool is to go on with the session's tasks, and keep their results, when this is closed."""
        self._pool: EmbeddedPool | None = None
        # an attempt stays here, with what it needs, until it is answered: the registry of who waits
        self._outstanding: dict[tuple[int, int], Attempt] = {}
        self._doubtful: set[tuple[int, int]] = set()
        """Attempts of which it is not known whether a pool that came back has them."""
        self._unsent: set[tuple[int, int]] = set()
        """Those of them that had not left."""
        self._spoilt: dict[tuple[int, int], ShoalError] = {}
        """Attempts that were sent ahead, and may have begun in a pool that was lost before they were launched here."""
        self._in_packing: set[tuple[int, int]] = set()
        self._sent: set[bytes] = set()
        """Blobs that the pool has had from here."""
        self._turn = threading.Lock()
        """Held while something is given to the link, and while another link takes its place."""
        self._over: ShoalError | None = None
        self._stands = threading.Event()
        """Whether there is a link, or never will be again."""
        self._closed = False

    def held(self, message: Held) -> None:
        """The pool was connected before: what it does not have of ours never came there, unless it remembers nothing."""
        doubtful, self._doubtful = self._doubtful, set()
        doubtful.difference_update((task.tid, task.attempt) for task in message.tasks)
        with self._turn:
            wanted = self._outstanding.keys() | self._ahead.keys()
        unwanted = [(0, t.tid, t.attempt) for t in message.tasks if (t.tid, t.attempt) not in wanted]
        if unwanted:  # cancelled while the pool was away
            self._link.order(Cancel(unwanted))
        if not message.known:
            error = PoolLost(self.connection.name, "it was started again, and does not remember this session")
            begun = doubtful.difference(self._unsent)
            with self._turn:
                self._spoilt.update((key, error) for key in begun if self._ahead.get(key) is not None)
            self._lose(begun, error)
        with self._turn:
            for key in doubtful:  # what never arrived, or came back: it is sent when its values are here
                if self._ahead.get(key) is not None:
                    del self._ahead[key]
            self._put([a for key in doubtful if (a := self._outstanding.get(key)) and key not in self._in_packing])

    def lost(self, error: ShoalError) -> None:
        """The pool is gone. One of our own is started again, one that lasts comes back; else all outstanding is answered."""
        came_back = False
        if not self._closed and not self._link.told:
            try:
                came_back = self._start_again(error) if self._pool is not None else self._come_back(error)
            except (ShoalError, OSError) as failed:  # a full disk, say
                self._sink.reported(self.label, f"its pool cannot be reached again: {failed}")
        if not came_back:
            self._give_up(error)

    def _asked(self, make: Callable[[int], Scale | StatusRequest], timeout: float) -> PoolStatus:
        """Ask the pool, once there is one again.

        Args:
            make: makes the question from its ticket.
            timeout: seconds that all of that may take.

        Raises:
            PoolUnreachable: no answer came.
            PoolLost: the pool is gone.
        """
        deadline = time.monotonic() + timeout
        while True:
            left = max(0.0, deadline - time.monotonic())
            self._stands.wait(left)
            try:
                return self._link.ask(make, left)
            except PoolLost:
                if self._over is not None or not left:
                    raise
                time.sleep(min(left, _MOMENT))  # it was lost just now, and may come back

    def _start_again(self, error: ShoalError) -> bool:
        """Start the pool again, and send what had not begun there; False if that is not to be, or fails."""
        pool, link = self._pool, self._link
        if pool is None or not pool.may_start_again():
            return False
        self._stands.clear()
        begun = pool.begun(link.number)
        if begun is None:
            begun = set(self._outstanding).difference((a.tid, a.attempt) for a, _ in link.unsent())
        lost = begun.intersection(self._outstanding)
        text = f"{error}\nIt is started again: {len(lost)} tasks that may have been running are lost, "
        self._sink.reported(self.label, f"{text}{len(self._outstanding) - len(lost)} others are sent again")
        with self._turn:
            ahead = self._forget_ahead()
            self._spoilt.update((key, error) for key in begun.intersection(ahead) if key not in lost)
        self._lose(lost, error)
        self.connection = pool.start_again()
        with self._turn:
            self._sent.clear()
            self._forget_ahead()  # what was given to the link that has ended
            self._lender.connected()
            self._link = self._dial()
            self._put([a for key, a in self._outstanding.items() if key not in self._in_packing])
            if not self._closed:
                self._link.start()
        if self._closed:
            pool.close(0.0)  # nobody tells it to end
        self._stands.set()
        return True

    def _come_back(self, error: ShoalError) -> bool:
        """Wait for a lasting pool to come back, and connect again; False if it does not."""
        if not isinstance(error, PoolLost) or not is_supervised(self.connection):
            return False
        self._stands.clear()
        self._sink.reported(
            self.label, f"{error}\nIt is connected to again when it answers; its tasks and results are in its ledger"
        )
        found = wait_for_return(self.connection, lambda: self._closed)
        if found is None:
            return False
        with self._turn:
            self._unsent = {(a.tid, a.attempt) for a, _ in self._link.unsent()}
            self.connection = found
            self._link = self._dial(resume=True)
            self._doubtful = {*self._outstanding, *self._ahead}
            if not self._closed:
                self._link.start()
        self._stands.set()
        return True

    def _lose(self, keys: Iterable[tuple[int, int]], error: ShoalError) -> None:
        """These attempts may have been running, and are lost."""
        failure = Failure.of(error, pack(error).head, lost=True)
        gone = [key for key in keys if self._outstanding.pop(key, None) is not None]
        self._sink.attempts_ended([Ended(tid, number, (), failure) for tid, number in gone])

    def _give_up(self, error: ShoalError) -> None:
        """Answer everything outstanding: nothing more will come."""
        first, self._over = self._over is None, error
        self._stands.set()
        while self._outstanding:
            try:
                (tid, number), _ = self._outstanding.popitem()
            except KeyError:
                break
            self._answer(Ended(tid, number, (), Failure.of(error, pack(error).head, lost=True), final=True))
        if first and not self._closed:
            self._sink.reported(self.label, str(error))

    def _forget_ahead(self) -> list[tuple[int, int]]:
        """No pool has what was sent ahead: it is sent when it is launched. ``_turn`` is held."""
        ahead = [key for key, attempt in self._ahead.items() if attempt is not None]
        for key in ahead:
            del self._ahead[key]
        return ahead

    def _unspoilt(self, attempts: Sequence[Attempt]) -> list[Attempt]:
        """Attempts to be launched, without those that may have begun already: these are lost."""
        good = []
        for attempt in attempts:
            key = (attempt.tid, attempt.attempt)
            error = self._spoilt.pop(key, None)
            if error is None:
                good.append(attempt)
            else:
                failure = Failure.of(error, pack(error).head, lost=True)
                self._sink.attempts_ended([Ended(attempt.tid, attempt.attempt, (), failure)])
        return good

    @abstractmethod
    def _dial(self, resume: bool = False) -> ClientLink:
        """A link to the pool as it is now, not yet started."""

    @abstractmethod
    def _put(self, attempts: Iterable[Attempt]) -> None:
        """Give attempts to the link; ``_turn`` is held."""

    @abstractmethod
    def _answer(self, ended: Ended) -> None:
        """An attempt has ended here."""
