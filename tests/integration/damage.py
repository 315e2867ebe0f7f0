"""What tests break pools with: finding their processes, signals at random from a seed, and looking at what is left."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psutil

from tests.integration.conftest import eventually

__all__ = ["Chaos", "Mark", "descriptors", "eventually", "is_alive", "processes"]

ROLES = {"pool": "shoal.pool", "manager": "shoal.node.manager", "worker": "shoal.node.worker"}


def is_alive(process: psutil.Process) -> bool:
    """Whether it runs; a zombie does not, and it may go between two questions."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def processes(pool: int, role: str) -> list[psutil.Process]:
    """The processes of a pool that are this: ``pool``, ``manager`` or ``worker``; by age.

    Args:
        pool: the pid of the pool.
        role: which.
    """
    found = []
    with suppress(psutil.NoSuchProcess):
        root = psutil.Process(pool)
        for process in [root, *root.children(recursive=True)]:
            with suppress(psutil.NoSuchProcess):
                if ROLES[role] in process.cmdline() and is_alive(process):
                    found.append(process)
    return sorted(found, key=lambda p: p.pid)


def descriptors() -> Counter[str]:
    """The open files of this process, by what they are."""
    found: Counter[str] = Counter()
    for entry in os.listdir("/proc/self/fd"):
        with suppress(OSError):
            found[os.readlink(f"/proc/self/fd/{entry}").partition(":")[0]] += 1
    return found


class Mark:
    """A word in the environment of all that a test starts: whoever still has it afterwards was left behind."""

    NAME = "SHOAL_TEST_MARK"

    def __init__(self) -> None:
        self.word = uuid.uuid4().hex

    def left(self) -> list[str]:
        """The processes with the word that run, as ``pid command``."""
        found = []
        entry = f"{self.NAME}={self.word}".encode()
        for pid in filter(str.isdigit, os.listdir("/proc")):
            with suppress(OSError):
                folder = Path("/proc", pid)
                if entry in folder.joinpath("environ").read_bytes().split(b"\0"):
                    command = folder.joinpath("cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                    found.append(f"{pid} {command}")
        return found


class Chaos:
    """Kills and stops parts of a pool at random, on a thread of its own.

    Managers and blocks are only killed once their workers are up: a pool gives blocks up that die again and again before that.

    Args:
        pool: tells the pid of the pool at the moment.
        working: tells the pids of the managers that have workers.
        seed: what it does, and when, depends on this and on nothing else but what is there to be hit.
        limits: how often at most each act is done; what is not named is not done.
        pause: the longest wait between two acts, in seconds.
    """

    WEIGHTS = {
        "kill worker": 6,
        "kill manager": 2,
        "kill block": 2,
        "kill pool": 1,
        "stop worker": 4,
        "stop manager": 3,
        "stop pool": 3,
    }

    def __init__(
        self,
        pool: Callable[[], int],
        working: Callable[[], list[int]],
        seed: int,
        limits: dict[str, int],
        pause: float = 0.3,
    ) -> None:
        self.done: Counter[str] = Counter()
        self.log: list[str] = []
        """What was done to whom, and when, for people who look for the reason of a failure."""
        self._pool, self._working, self._limits, self._pause = pool, working, limits, pause
        self._random = random.Random(seed)
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, name="chaos", daemon=True)

    def __enter__(self) -> Chaos:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join(30)
        assert not self._thread.is_alive()

    def _run(self) -> None:
        chance = self._random
        while not self._end.wait(chance.uniform(0.0, self._pause)):
            acts = [act for act in self.WEIGHTS if self.done[act] < self._limits.get(act, 0)]
            if not acts:
                return
            act = chance.choices(acts, [self.WEIGHTS[a] for a in acts])[0]
            place, seconds = chance.random(), chance.uniform(0.02, 0.8)
            self.done[act] += self._do(act, place, seconds)

    def _do(self, act: str, place: float, seconds: float) -> bool:
        how, _, role = act.partition(" ")
        victims = processes(self._pool(), "manager" if role == "block" else role)
        if how == "kill" and role in ("manager", "block"):
            working = self._working()
            victims = [victim for victim in victims if victim.pid in working]
        if not victims:
            return False
        victim = victims[int(place * len(victims))]
        self.log.append(f"{time.time():.6f} {act} {victim.pid}" + (f" for {seconds:.3f} s" if how == "stop" else ""))
        with suppress(psutil.NoSuchProcess, ProcessLookupError):
            if how == "stop":
                victim.suspend()
                try:
                    self._end.wait(seconds)
                finally:
                    victim.resume()
            elif role == "block":
                os.killpg(victim.pid, signal.SIGKILL)
            else:
                victim.send_signal(signal.SIGKILL)
            return True
        return False
