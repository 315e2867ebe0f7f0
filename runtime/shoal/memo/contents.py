"""Digests of files by their content, taken again only when size or times have changed."""

from __future__ import annotations

import hashlib
import os
import stat
import threading
import time

__all__ = ["file_digest"]

_MANY = 10_000
_SETTLED = 2.0
"""Seconds after its last change from when on a file's times vouch for its content: clocks of file systems are coarse."""

_known: dict[str, tuple[tuple[int, ...], bytes]] = {}
_lock = threading.Lock()


def file_digest(path: str) -> bytes | None:
    """The digest of a file's content (32 bytes); None if there is no such file, or it cannot be read.

    Args:
        path: an absolute path; of a folder, all that is in it counts, by its names and contents; of a device or a pipe, only
            that it is one.
    """
    try:
        status = os.stat(path)  # noqa: PTH116 - as hot as it gets
        if stat.S_ISDIR(status.st_mode):
            return _folder_digest(path)
        if not stat.S_ISREG(status.st_mode):
            return b"device".ljust(32)
        mark = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
        known = _known.get(path)
        if known is not None and known[0] == mark:
            return known[1]
        with open(path, "rb") as file:  # noqa: PTH123
            found = hashlib.file_digest(file, _blake).digest()
    except (OSError, ValueError):  # a name that no file can have
        return None
    if time.time() - max(status.st_mtime, status.st_ctime) > _SETTLED:
        with _lock:
            if len(_known) >= _MANY:
                _known.clear()
            _known[path] = (mark, found)
    return found


def _folder_digest(path: str) -> bytes:
    """Links in it count by where they lead, and are not followed: they may lead round."""
    whole = _blake()
    for folder, folders, files in os.walk(path):
        folders.sort()
        for name in [*folders, *sorted(files)]:
            inner = os.path.join(folder, name)  # noqa: PTH118
            if os.path.islink(inner):  # noqa: PTH114
                found = _blake(os.fsencode(os.readlink(inner))).digest()  # noqa: PTH115
            else:
                found = b"folder".ljust(32) if name in folders else file_digest(inner) or bytes(32)
            whole.update(_blake(os.fsencode(os.path.relpath(inner, path))).digest() + found)
    return whole.digest()


def _blake(data: bytes = b"") -> hashlib.blake2b:
    return hashlib.blake2b(data, digest_size=32)
