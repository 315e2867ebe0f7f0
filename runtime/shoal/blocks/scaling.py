"""How many blocks a pool has: a pure machine that keeps as many alive as are wanted.

A block that dies after it has worked is replaced, after a pause that grows if that keeps happening. One that fails before
a worker of it was ready is not, for the reason would be the same again; only where others have worked before is it tried
a few times more. When none is left and none will come, the machine says so (:class:`CapacityGone`), so that whoever waits
can be told why.
"""

from __future__ import annotations

import msgspec

from shoal.blocks.states import LIVE, BlockEvent, BlockState, moved

__all__ = ["Block", "BlockChange", "CancelBlock", "CapacityGone", "Command", "DrainBlock", "Scaling", "SubmitBlock"]

STEADY = 10.0
"""A block that worked this long (seconds) before it died counts as a sound one."""

STRIKES = 3
"""Blocks that may fail at their start in a row where others have worked before."""

MAX_PAUSE = 30.0
"""Longest pause before a block is replaced (seconds)."""


_EARLY = frozenset({BlockState.REQUESTED, BlockState.PENDING})


class Block(msgspec.Struct):
    """One block.

    Args:
        number: 0, 1, 2 ... within its pool.
        state: see ``states``.
        since: when it came into this state.
        job: the provider's id of it; empty before it has one.
        message: why it is in this state, where there is something to say.
        worked: since when workers of it have been ready; None for not yet.
        draining: it takes no more tasks and ends.
    """

    number: int
    state: BlockState
    since: float
    job: str = ""
    message: str = ""
    worked: float | None = None
    draining: bool = False


class SubmitBlock(msgspec.Struct, frozen=True):
    """Ask the provider for this block."""

    block: int


class CancelBlock(msgspec.Struct, frozen=True):
    """Tell the provider to end this block's job now, if it has one."""

    block: int
    job: str


class DrainBlock(msgspec.Struct, frozen=True):
    """Let this block finish what it runs, then end it."""

    block: int


class BlockChange(msgspec.Struct, frozen=True):
    """A block changed its state: write it down."""

    block: int
    state: BlockState
    job: str
    message: str


class CapacityGone(msgspec.Struct, frozen=True):
    """All blocks have failed and none will be tried: tasks cannot run. ``reason`` is the last failure."""

    reason: str


Command = SubmitBlock | CancelBlock | DrainBlock | BlockChange | CapacityGone


class Scaling:
    """Keeps the number of blocks at its target.

    Args:
        least, most: the provider's ``min_blocks`` and ``max_blocks``.
    """

    def __init__(self, least: int, most: int) -> None:
        self.least = least
        self.most = most
        self.target = 0
        self.blocks: dict[int, Block] = {}
        self._live: dict[int, Block] = {}
        self._early: dict[int, Block] = {}
        self.reason = ""
        """The last failure; empty while there is hope."""
        self._pause = 0.0
        self._not_before = 0.0
        self._strikes = STRIKES - 1
        self._held = 0
        """Blocks that failed at their start, and are not tried again until somebody asks."""
        self._commands: list[Command] = []

    # ------------------------------------------------------------------ events

    def target_set(self, blocks: int, idle: list[int], now: float) -> list[Command]:
        """Somebody wants this many blocks.

        Args:
            blocks: how many; kept within least and most.
            idle: numbers of the blocks that run nothing now.
            now: seconds of any steady clock.
        """
        self.target = min(max(blocks, self.least), self.most)
        self._held, self.reason, self._not_before, self._pause = 0, "", 0.0, 0.0
        self._strikes = STRIKES - 1
        self._shrink(set(idle), now)
        return self._grow(now)

    def accepted(self, block: int, job: str, now: float) -> list[Command]:
        """The provider gave the block a job."""
        found = self.blocks[block]
        found.job = job
        if found.state in LIVE:
            self._move(found, BlockEvent.ACCEPT, "", now)
        else:
            # It was given up while the provider was still being asked.
            self._commands.append(CancelBlock(block, job))
        return self._flush()

    def arrived(self, block: int, now: float) -> bool:
        """A manager of the block registered; False if the block is not (any more) wanted."""
        found = self.blocks.get(block)
        if found is None or found.state not in LIVE:
            return False
        self._move(found, BlockEvent.ARRIVE, "", now)
        return True

    def worked(self, block: int, now: float) -> None:
        """A worker of the block is ready."""
        found = self.blocks.get(block)
        if found is not None and found.worked is None:
            found.worked = now
            self._strikes = 0

    def ended(self, block: int, message: str, now: float) -> list[Command]:
        """The block's job is over.

        Args:
            block: which.
            message: how, for people; with the tail of its stderr.
            now: as always.
        """
        found = self.blocks.get(block)
        if found is None or found.state not in LIVE:
            return self._flush()
        if found.draining:
            self._move(found, BlockEvent.END, "", now)
            return self._grow(now)
        return self.failed(block, message, now)

    def leaving(self, block: int, now: float) -> list[Command]:
        """The block is about to end by itself, its time being up: it finishes what it runs, another one takes its place."""
        found = self.blocks.get(block)
        if found is not None and found.state in LIVE and not found.draining:
            found.draining = True
            self._live.pop(block, None)
            self._early.pop(block, None)
        return self._grow(now)

    def failed(self, block: int, message: str, now: float) -> list[Command]:
        """The block is of no use: its job ended, its workers do not start, or the provider refused it."""
        found = self.blocks.get(block)
        if found is None or found.state not in LIVE:
            return self._flush()
        self._move(found, BlockEvent.FAIL, message, now)
        self._commands.append(CancelBlock(block, found.job))
        if found.worked is None:
            self._strikes += 1
        if self._strikes >= STRIKES:
            self._held += 1
            self.reason = message
        else:
            sound = found.worked is not None and now - found.worked >= STEADY
            self._pause = 0.0 if sound else min(MAX_PAUSE, self._pause * 2 or 0.1)
            self._not_before = now + (self._pause if self._pause > 0.1 else 0.0)
        commands = self._grow(now)
        if self.reason and not self._live and self.target > 0 and not self._wanted():
            commands.append(CapacityGone(self.reason))
        return commands

    def ticked(self, now: float) -> list[Command]:
        """Time went by."""
        return self._grow(now)

    def wake_at(self) -> float | None:
        """When ``ticked`` is due; None if nothing is."""
        return self._not_before if self._not_before and self._wanted() else None

    # ------------------------------------------------------------------ inside

    def live(self) -> list[Block]:
        """The blocks that serve or will, oldest first."""
        return list(self._live.values())

    def early(self) -> list[Block]:
        """Those of them from which nothing was heard yet."""
        return list(self._early.values())

    def _wanted(self) -> int:
        return max(0, self.target - self._held - len(self._live))

    def _grow(self, now: float) -> list[Command]:
        if now >= self._not_before:
            for _ in range(self._wanted()):
                number = len(self.blocks)
                block = Block(number, BlockState.REQUESTED, now)
                self.blocks[number] = self._live[number] = self._early[number] = block
                self._commands.append(BlockChange(number, BlockState.REQUESTED, "", ""))
                self._commands.append(SubmitBlock(number))
        return self._flush()

    def _shrink(self, idle: set[int], now: float) -> None:
        live = self.live()
        order = {BlockState.REQUESTED: 0, BlockState.PENDING: 1, BlockState.RUNNING: 2}
        live.sort(key=lambda b: (order[b.state], b.number not in idle, -b.number))
        for block in live[: max(0, len(live) - self.target)]:
            if block.state is BlockState.RUNNING:
                block.draining = True
                del self._live[block.number]
                self._commands.append(DrainBlock(block.number))
            else:
                self._move(block, BlockEvent.CANCEL, "", now)
                self._commands.append(CancelBlock(block.number, block.job))

    def _move(self, block: Block, event: BlockEvent, message: str, now: float) -> None:
        before = block.state
        block.state = moved(before, event)
        if block.state is not before:
            if block.state not in _EARLY:
                self._early.pop(block.number, None)
            if block.state not in LIVE:
                self._live.pop(block.number, None)
            block.since, block.message = now, message
            self._commands.append(BlockChange(block.number, block.state, block.job, message))

    def _flush(self) -> list[Command]:
        commands, self._commands = self._commands, []
        return commands
