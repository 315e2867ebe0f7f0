"""What one session keeps of results: in memory until they are in the store, and how it finds them again."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

from shoal.memo.contents import file_digest
from shoal.memo.key import PartialKey
from shoal.memo.spec import Memo
from shoal.memo.store import MemoStore, default_folder
from shoal.outcome import Failure, Packed, Payload, Raised, Value
from shoal.serialize import pack, pack_failure
from shoal.wire.frames import outside

__all__ = ["Keeper", "Result", "packed"]

Result = Sequence[Value] | Failure | Raised
"""What a task ended with."""

ROOM = 1 << 30
"""Bytes of results that wait in memory to be written; beyond that the oldest are written early."""


class _Kept:
    """A result that is not in the store.

    Args:
        key: of the task.
        partial: how that began.
        result: what the task ended with.

    Attributes:
        ready: whether the result is bytes, and ``marks`` are taken.
        marks: the digests of the files that the task made; None if one is not there.
    """

    __slots__ = ("key", "marks", "partial", "ready", "result", "size")

    def __init__(self, key: bytes, partial: PartialKey, result: Result) -> None:
        self.key, self.partial, self.result = key, partial, result
        self.ready = False
        self.marks: bytes | None = b""
        self.size = 0


def packed(values: Sequence[Value]) -> list[Payload] | None:
    """Values as bytes; None if one of them cannot be pickled."""
    try:
        return [value.payload if isinstance(value, Packed) else pack(value.object) for value in values]
    except BaseException:  # noqa: BLE001 - runs the users' code, on threads that have others to serve
        return None


class Keeper:
    """The results of one session, and the store behind it.

    Args:
        spec: what is kept, where, when.
        warn: is told, once, what goes wrong.
    """

    def __init__(self, spec: Memo, warn: Callable[[str], None]) -> None:
        self._spec, self._warn = spec, warn
        self._at_once = spec.checkpoint_mode == "task_exit"
        self._store: MemoStore | None = None
        self._lock = threading.Lock()
        self._saving = threading.Lock()
        self._kept: dict[bytes, _Kept] = {}
        self._size = 0
        self._told: set[str] = set()

    def open(self) -> MemoStore:
        """The store, which is opened on first use.

        Raises:
            ConfigurationError: its folder is not safe to read from.
        """
        if self._store is None:
            folder = default_folder() if self._spec.folder is None else Path(self._spec.folder).expanduser().absolute()
            self._store = MemoStore(folder, self._spec.limit(), self._warn)
        return self._store

    def add(self, key: bytes, partial: PartialKey, result: Result) -> bool:
        """Take a result into memory; quick. Returns whether it is kept: then :meth:`ready` shall be called."""
        if isinstance(result, Failure | Raised) and (
            not self._spec.exceptions or (isinstance(result, Failure) and result.lost)
        ):
            return False
        with self._lock:
            self._drop(key)
            self._kept[key] = _Kept(key, partial, result)
        return True

    def ready(self, key: bytes) -> None:
        """Make bytes of a result, and write it if that is to be at once."""
        kept = self._kept.get(key)
        if kept is None:
            return
        with self._saving:
            if not self._make_ready(kept):
                return
            if self._at_once:
                self._save(kept)
            for oldest in list(self._kept.values()) if self._size > ROOM else ():  # others add to it meanwhile
                if self._size > ROOM and self._make_ready(oldest):
                    self._save(oldest)

    def find(self, key: bytes, partial: PartialKey) -> Result | None:
        """The result under a key, as far as the files that the task made are there and as they were."""
        kept = self._kept.get(key)
        if kept is not None:
            if not kept.ready:
                return kept.result if _all_there(partial) else None
            return kept.result if kept.marks == _marks(partial) and _all_there(partial) else None
        found = self.open().get(key)
        if found is None or (isinstance(found, Failure) and not self._spec.exceptions):
            return None
        if isinstance(found, Failure):
            return found
        if partial.files and bytes(found.pop().head) != _marks(partial):
            return None
        return [Packed(outside(payload)) for payload in found] if _all_there(partial) else None

    def save_all(self) -> int:
        """Write what is not in the store yet; returns how many results were written."""
        with self._saving:
            return sum([self._make_ready(kept) and self._save(kept) for kept in list(self._kept.values())])

    # ------------------------------------------------------------------ inside; ``_saving`` is held

    def _make_ready(self, kept: _Kept) -> bool:
        if kept.ready:
            return True
        kept.marks = _marks(kept.partial)
        if isinstance(kept.result, Raised):
            kept.result = pack_failure(kept.result.error)
        elif not isinstance(kept.result, Failure):
            payloads = packed(kept.result)
            if payloads is None:
                self._tell(f"the result of {kept.partial.label} cannot be pickled, so it is not kept")
                with self._lock:
                    self._drop(kept.key, kept)
                return False
            kept.result = [Packed(outside(payload)) for payload in payloads]
            kept.size = sum(payload.nbytes() for payload in payloads)
        kept.ready = True
        with self._lock:
            if self._kept.get(kept.key) is kept:
                self._size += kept.size
        return True

    def _save(self, kept: _Kept) -> bool:
        """Write a result, and let go of it whether or not that went well: a full disk must not fill the memory too."""
        result = kept.result
        stored = False
        if kept.marks is not None:
            if isinstance(result, Failure):
                stored = self.open().put(kept.key, kept.partial.label, result)
            elif not isinstance(result, Raised):
                payloads = [value.payload for value in result if isinstance(value, Packed)]
                if kept.partial.files:
                    payloads.append(Payload(kept.marks))
                stored = self.open().put(kept.key, kept.partial.label, payloads)
        with self._lock:
            self._drop(kept.key, kept)
        return stored

    def _drop(self, key: bytes, kept: _Kept | None = None) -> None:
        known = self._kept.get(key)
        if known is not None and (kept is None or known is kept):
            del self._kept[key]
            if known.ready:
                self._size -= known.size

    def _tell(self, text: str) -> None:
        if text not in self._told:
            self._told.add(text)
            self._warn(text)


def _marks(partial: PartialKey) -> bytes | None:
    """What tells whether the files that a task made are as they were; None if one is not there."""
    digests = [file_digest(path) for path in partial.files]
    return None if None in digests else b"".join(digest for digest in digests if digest)


def _all_there(partial: PartialKey) -> bool:
    return all(os.path.exists(path) for path in (*partial.files, *partial.streams))  # noqa: PTH110 - raises nothing
