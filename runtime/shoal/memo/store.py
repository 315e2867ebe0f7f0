"""The store of results on disk, shared by runs and processes.

One file for each key, in 256 folders: the magic ``SHOALMEM``, the length of the header, the header (msgpack), the parts of the
values one after another, and at the end a checksum over all of it. A file is written beside its place and moved there in one
step, so that readers, writers of the same key and a kill at any moment do no harm; one that is damaged counts as absent.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import stat
import struct
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, NamedTuple

import msgspec

from shoal.errors import ConfigurationError
from shoal.outcome import Failure, Payload
from shoal.serialize import ShoalWarning
from shoal.serialize.pickling import view

__all__ = ["MemoEntry", "MemoStore", "default_folder"]

_MAGIC = b"SHOALMEM"
_START = struct.Struct(">8sI")
_SUM = 32
_LONGEST_HEADER = 16 << 20
_SCRATCH = ".new-"
_LEFT_OVER = 3600.0
"""Seconds after which a file that is still being written has been given up."""

_LOOK_AGAIN = 256
"""After so many results, or a quarter of those that are there, the store looks for what other processes have stored."""

_KEEP = 0.9
"""What is kept of the limit when it is reached."""


class _Header(msgspec.Struct, array_like=True):
    """What a file begins with; ``values`` holds the sizes of each value's parts, empty for a failure."""

    version: int
    label: str
    created: float
    values: list[list[int]]
    failure: Failure | None = None


class MemoEntry(NamedTuple):
    """One result in the store.

    Args:
        key: in hexadecimal digits.
        label: the app.
        bytes: its size on disk.
        created, used: epoch seconds.
    """

    key: str
    label: str
    bytes: int
    created: float
    used: float


class _Seen(NamedTuple):
    used: float
    bytes: int
    path: Path


def default_folder() -> Path:
    """Where results are kept if nothing else is said: ``memo`` in ``$SHOAL_HOME``, or in the user's cache folder."""
    home = os.environ.get("SHOAL_HOME")
    if home:
        return Path(home) / "memo"
    import platformdirs

    return Path(platformdirs.user_cache_path("shoal")) / "memo"


def _warn(text: str) -> None:
    warnings.warn(text, ShoalWarning, stacklevel=2)


class MemoStore:
    """Results by key, bounded by size. Threads and processes may share one.

    Args:
        folder: where; made with mode 0700 if it is not there.
        limit_bytes: at most so much is kept; what was not used for longest goes first.
        warn: is told, once, why results cannot be kept; default: a ShoalWarning.

    Raises:
        ConfigurationError: the folder is not the user's own, or others can write to it: they could make whoever reads
            a result run their code.
    """

    def __init__(self, folder: Path, limit_bytes: int, warn: Callable[[str], None] = _warn) -> None:
        self.folder, self.limit = folder, limit_bytes
        self._tell = warn
        self._lock = threading.Lock()
        self._total: int | None = None
        self._due = 0
        self._warned = False
        self._decoder = msgspec.msgpack.Decoder(_Header)
        self._check()

    def _check(self) -> None:
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            found = self.folder.stat()
        except OSError as error:
            self._warn(str(error))
            return
        if found.st_uid != os.geteuid() or found.st_mode & 0o022:
            raise ConfigurationError(
                "Memo.folder", str(self.folder), "results are unpickled from here, so it must be yours and writable by "
                "nobody else: choose another folder, or mend it with chmod 700",
            )  # fmt: skip

    # ------------------------------------------------------------------ results

    def get(self, key: bytes) -> list[Payload] | Failure | None:
        """The values (or the failure) under a key; None if there are none, or none that can be read."""
        path = self._path(key)
        try:
            with _open(path) as file:
                found = self._read(file, path)
            if found is not None:
                with contextlib.suppress(OSError):
                    os.utime(path)
        except OSError:
            return None
        if found is None:
            _remove(path)
        return found

    def put(self, key: bytes, label: str, values: Sequence[Payload] | Failure) -> bool:
        """Keep a result. A disk that is full, or a folder that cannot be written to, gives one warning and no error.

        Args:
            key: 32 bytes.
            label: the app.
            values: one an output; or the failure.

        Returns:
            Whether it is kept.
        """
        parts: list[memoryview] = []
        sizes = []
        for value in () if isinstance(values, Failure) else values:
            its = [memoryview(view(part)).cast("B") for part in (value.head, *value.buffers)]
            sizes.append([part.nbytes for part in its])
            parts += its
        failure = values if isinstance(values, Failure) else None
        header = msgspec.msgpack.encode(_Header(1, label, time.time(), sizes, failure))
        size = _START.size + len(header) + sum(part.nbytes for part in parts) + _SUM
        if size > self.limit * _KEEP:
            self._warn(f"a result of {label} ({size / 1e6:.0f} MB) is too large for it")
            return False
        try:
            self._write(self._path(key), [_START.pack(_MAGIC, len(header)), header, *parts])
        except OSError as error:
            self._warn(str(error))
            return False
        self._grown(size)
        return True

    def _path(self, key: bytes) -> Path:
        name = key.hex()
        return self.folder / name[:2] / name

    def _read(self, file: BinaryIO, path: Path) -> list[Payload] | Failure | None:
        status = os.fstat(file.fileno())
        if status.st_uid != os.geteuid() or not stat.S_ISREG(status.st_mode):
            return None
        header = self._header(file, status.st_size)
        if header is None:
            return None
        decoded, checksum = header
        left = status.st_size - file.tell() - _SUM
        if left != sum(map(sum, decoded.values)):
            return None
        payloads = []
        for sizes in decoded.values:
            parts = []
            for size in sizes:
                part = bytearray(size)
                if file.readinto(part) != size:  # type: ignore[attr-defined]
                    return None
                checksum.update(part)
                parts.append(part)
            if not parts:
                return None
            payloads.append(Payload(bytes(parts[0]), tuple(parts[1:])))
        if file.read() != checksum.digest():
            return None
        return payloads if decoded.failure is None else decoded.failure

    def _header(self, file: BinaryIO, size: int) -> tuple[_Header, hashlib.blake2b] | None:
        start = file.read(_START.size)
        if len(start) < _START.size:
            return None
        magic, length = _START.unpack(start)
        if magic != _MAGIC or length > min(size, _LONGEST_HEADER):
            return None
        text = file.read(length)
        try:
            header = self._decoder.decode(text)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            return None
        if header.version != 1 or any(part < 0 for sizes in header.values for part in sizes):
            return None
        return header, hashlib.blake2b(start + text, digest_size=_SUM)

    def _write(self, path: Path, parts: Sequence[bytes | memoryview]) -> None:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        scratch = path.with_name(f"{_SCRATCH}{os.getpid()}-{secrets.token_hex(6)}")
        checksum = hashlib.blake2b(digest_size=_SUM)
        moved = False
        try:
            fd = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            with os.fdopen(fd, "wb") as file:
                for part in parts:
                    checksum.update(part)
                    file.write(part)
                file.write(checksum.digest())
            scratch.replace(path)
            moved = True
        finally:
            if not moved:
                _remove(scratch)

    # ------------------------------------------------------------------ its size

    def _grown(self, size: int) -> None:
        with self._lock:
            self._due -= 1
            if self._total is not None:
                self._total += size
            if self._total is None or self._total > self.limit or self._due <= 0:
                self._shrink()

    def _shrink(self) -> None:
        """Look at what is there, and remove what was not used for longest if it is too much."""
        seen = list(self._scan())
        total = sum(entry.bytes for entry in seen)
        if total > self.limit:
            for entry in sorted(seen):
                _remove(entry.path)
                total -= entry.bytes
                if total <= self.limit * _KEEP:
                    break
        self._total = total
        self._due = max(_LOOK_AGAIN, len(seen) // 4)

    def _scan(self) -> Iterator[_Seen]:
        """Every file of a result; what others began and gave up is removed on the way."""
        now = time.time()
        for folder in _folder(self.folder):
            if len(folder.name) != 2 or not folder.is_dir(follow_symlinks=False):
                continue
            for item in _folder(folder.path):
                try:
                    status = item.stat(follow_symlinks=False)
                except OSError:
                    continue  # removed meanwhile
                if not item.name.startswith("."):
                    used = status.st_mtime
                    if used > now + _LEFT_OVER:  # the clock was set back: without this it would outlast all that is new
                        used = now
                        with contextlib.suppress(OSError):
                            os.utime(item.path, (now, now), follow_symlinks=False)
                    yield _Seen(used, status.st_size, Path(item.path))
                elif item.name.startswith(_SCRATCH) and now - status.st_mtime > _LEFT_OVER:
                    _remove(Path(item.path))

    # ------------------------------------------------------------------ for people

    def entries(self) -> Iterator[MemoEntry]:
        """Every readable result, in no order; of the files only the headers are read."""
        for seen in self._scan():
            try:
                with _open(seen.path) as file:
                    header = self._header(file, seen.bytes)
            except OSError:
                continue
            if header is not None:
                yield MemoEntry(seen.path.name, header[0].label, seen.bytes, header[0].created, seen.used)

    def clear(self, label: str | None = None, older: float | None = None) -> tuple[int, int]:
        """Remove results.

        Args:
            label: only those of this app.
            older: only those that were not used for so many seconds.

        Returns:
            How many were removed, and their bytes.
        """
        before = None if older is None else time.time() - older
        chosen: Iterator[tuple[str, int, float]]
        if label is None:  # damaged ones too
            chosen = ((seen.path.name, seen.bytes, seen.used) for seen in self._scan())
        else:
            chosen = ((entry.key, entry.bytes, entry.used) for entry in self.entries() if entry.label == label)
        count = size = 0
        for key, its, used in list(chosen):
            if (before is None or used < before) and _remove(self.folder / key[:2] / key):
                count, size = count + 1, size + its
        with self._lock:
            self._total = None
        return count, size

    def _warn(self, reason: str) -> None:
        if not self._warned:
            self._warned = True
            self._tell(f"results cannot be kept in {self.folder}: {reason}. Cached apps run without keeping theirs.")


def _open(path: Path) -> BinaryIO:
    return os.fdopen(os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK), "rb")


def _folder(path: str | Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(path) as items:
            return list(items)
    except OSError:
        return []


def _remove(path: Path) -> bool:
    try:
        path.unlink()
    except OSError:
        return False
    return True
